"""The forward process in one launch: a thread makes the noise of one element of a sample and walks through time.

Limits for a (sample, step), compiled for sm_90: 52 instructions, 34 of them for the noise, and 4 bytes written. An H100
issues 132 * 4 warp instructions per cycle, that is 325 (sample, step) pairs. Their 1.3 KB are less than the 1.9 KB that
its memory takes per cycle.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from kernels.place import Place
from kernels.triton import launch, schedules, sizes
from kernels.triton.launch import OPTIONS, UNSPECIALIZED
from kernels.triton.noise import normals, sample_words, step_word

BLOCK = 32


@triton.jit(do_not_specialize=UNSPECIALIZED)
def forward_kernel(
    x0_ptr, out_ptr, scale_ptr, noise_scale_ptr, count, dim, steps, first_low, first_high, step, seed_low, seed_high,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """Write rows 1 ... T of out [T+1, count, dim]."""
    size = count * dim
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    n = at // dim
    d = at % dim
    sample = sample_words(first_low, first_high, n)
    mask = at < size
    step = step_word(step)
    x = tl.load(x0_ptr + at, mask=mask, other=0.0)
    for group in range(0, tl.cdiv(steps, 4)):
        four = normals(sample, group, step, d, seed_low, seed_high)
        for i in tl.static_range(4):
            t = 4 * group + i  # counted from 0
            x = tl.fma(x, tl.load(scale_ptr + t), tl.load(noise_scale_ptr + t) * four[i])
            tl.store(out_ptr + (t + 1).to(tl.int64) * size + at, x, mask=mask & (t < steps))


def forward_process(x0: Tensor, betas: Tensor, place: Place) -> Tensor:
    """Return x_0 ... x_T, [T+1, N, D], for x0 [N, D]."""
    count, dim = x0.shape
    sizes.check_elements(count * dim)
    constants = schedules.steps(betas, x0.device)
    trajectory = torch.empty(len(betas) + 1, count, dim, dtype=torch.float32, device=x0.device)
    trajectory[0] = x0
    with launch.on(x0.device):
        forward_kernel[(triton.cdiv(count * dim, BLOCK),)](
            trajectory, trajectory, constants.scale, constants.noise_scale, count, dim, len(betas),
            **launch.words_at(place), BLOCK=BLOCK, **OPTIONS,
        )  # fmt: skip
    return trajectory
