"""One transition's part of the bound and its gradients in Triton: one pass over the elements, then a sum of its parts.

Limits for an element, compiled for sm_90: 12 bytes read and 8 written; 77 instructions. An H100 issues 132 * 4 warp
instructions per cycle, that is 219 elements. Their 4.4 KB are more than twice what its memory takes per cycle, so the
bytes decide.
"""

import math

import triton
import triton.language as tl
from torch import Tensor

from kernels.triton import launch, sizes
from kernels.triton.elementary import log, minus
from kernels.triton.launch import AS_WRITTEN, UNSPECIALIZED

BLOCK = 1024


@triton.jit(do_not_specialize=UNSPECIALIZED)
def transition_kernel(
    previous_ptr, mean_ptr, std_ptr, variance_ptr, d_mean_ptr, d_std_ptr, partial_ptr, size, weight,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """Write the gradients, and the sum of each program's terms to partial. `weight` is 1 / size."""
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = at < size
    std = tl.load(std_ptr + at, mask=mask, other=1.0)
    inverse = tl.div_rn(1.0, std)
    z = (tl.load(mean_ptr + at, mask=mask, other=0.0) - tl.load(previous_ptr + at, mask=mask, other=0.0)) * inverse
    tl.store(d_mean_ptr + at, z * (inverse * weight), mask=mask)
    spread = 0.0
    if variance_ptr is not None:
        spread = tl.load(variance_ptr + at, mask=mask, other=0.0) * inverse * inverse
    tl.store(d_std_ptr + at, tl.fma(minus(z), z, 1.0 - spread) * (inverse * weight), mask=mask)
    log_std = tl.where(std > 0, log(tl.where(std > 0, std, 1.0)), float("nan"))
    term = tl.fma(0.5 * z, z, log_std)
    if variance_ptr is not None:
        term = tl.fma(spread, 0.5, term)
    tl.store(partial_ptr + tl.program_id(0), tl.sum(tl.where(mask, term, 0.0)))


def bound_and_gradients(previous: Tensor, mean: Tensor, std: Tensor, variance: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return the bound of tensors [n], 0-d, and its gradients with respect to mean and std, [2, n]."""
    size = len(mean)
    sizes.check_elements(size)
    programs = triton.cdiv(size, BLOCK)
    gradients = mean.new_empty(2, size)
    partial = mean.new_empty(programs)
    with launch.on(mean.device):
        transition_kernel[(programs,)](
            previous, mean, std, variance, *gradients, partial, size, 1 / size,
            BLOCK=BLOCK, **AS_WRITTEN
        )  # fmt: skip
    bound = partial.double().sum() / size + 0.5 * math.log(2 * math.pi)
    return bound.float(), gradients
