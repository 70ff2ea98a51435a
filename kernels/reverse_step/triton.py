"""One step of the reverse process in one launch, its noise made in registers.

Limits for an element, compiled for sm_90: 8 bytes read and 4 written; 139 instructions, most of them for the noise. An
H100 issues 132 * 4 warp instructions per cycle, that is 121 elements. Their 1.5 KB are less than the 1.9 KB that its
memory takes per cycle.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from kernels import constants
from kernels.place import Place
from kernels.triton import launch, sizes
from kernels.triton.launch import AS_WRITTEN, UNSPECIALIZED
from kernels.triton.noise import normals, sample_words

BLOCK = 256
REVERSE = tl.constexpr(constants.REVERSE << constants.STREAM_SHIFT)


@triton.jit(do_not_specialize=UNSPECIALIZED)
def step_kernel(
    mean_ptr, std_ptr, out_ptr, count, dim, group, first_low, first_high, seed_low, seed_high,
    LANE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Write out [count, dim]. LANE is the place of the step in its group of four. Only its normals are computed."""
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = at < count * dim
    sample = sample_words(first_low, first_high, at // dim)
    four = normals(sample, group, 0, at % dim + REVERSE, seed_low, seed_high)
    mean = tl.load(mean_ptr + at, mask=mask)
    std = tl.load(std_ptr + at, mask=mask)
    tl.store(out_ptr + at, tl.fma(std, four[LANE], mean), mask=mask)


def reverse_step(mean: Tensor, std: Tensor, t: int, place: Place) -> Tensor:
    """Return mean + std eps for mean and std [N, D]."""
    count, dim = mean.shape
    sizes.check_elements(count * dim)
    out = torch.empty_like(mean)
    with launch.on(mean.device):
        step_kernel[(triton.cdiv(count * dim, BLOCK),)](
            mean,
            std,
            out,
            count,
            dim,
            (t - 1) // 4,
            **launch.words(place),
            LANE=(t - 1) % 4,
            BLOCK=BLOCK,
            **AS_WRITTEN,
        )
    return out
