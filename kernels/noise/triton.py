"""The noise stream in Triton, written to memory."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from kernels.constants import STREAM_SHIFT
from kernels.place import Place
from kernels.triton import launch, sizes
from kernels.triton.launch import OPTIONS, UNSPECIALIZED
from kernels.triton.noise import normals, sample_words, step_word

BLOCK = 128


@triton.jit(do_not_specialize=UNSPECIALIZED)
def normal_kernel(
    out_ptr, count, dim, steps, first_low, first_high, step, seed_low, seed_high,
    STREAM: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Write out [steps, count, dim]. A program writes BLOCK elements of a group of four steps. STREAM is shifted."""
    size = count * dim
    blocks = tl.cdiv(size, BLOCK)
    group = tl.program_id(0) // blocks
    # Neighbouring lanes store neighbouring elements. Otherwise Triton would give each lane four elements, because it
    # knows one row of the four to be aligned.
    at = tl.max_contiguous(tl.program_id(0) % blocks * BLOCK + tl.arange(0, BLOCK), 1)
    four = normals(
        sample_words(first_low, first_high, at // dim),
        group,
        step_word(step),
        tl.cast(STREAM, tl.uint32) + (at % dim).to(tl.uint32),
        seed_low,
        seed_high,
    )
    for i in tl.static_range(4):
        t = 4 * group + i
        tl.store(out_ptr + t.to(tl.int64) * size + at, four[i], mask=(at < size) & (t < steps))


def normal(count: int, dim: int, steps: int, place: Place, stream: int, device: torch.device) -> Tensor:
    """Return standard normals of the stream, [steps, count, dim] float32: row t - 1 is the noise of step t."""
    sizes.check_elements(count * dim)
    out = torch.empty(steps, count, dim, dtype=torch.float32, device=device)
    if count > 0:
        grid = (triton.cdiv(count * dim, BLOCK) * triton.cdiv(steps, 4),)
        with launch.on(device):
            normal_kernel[grid](
                out, count, dim, steps, **launch.words_at(place), STREAM=stream << STREAM_SHIFT, BLOCK=BLOCK, **OPTIONS
            )
    return out
