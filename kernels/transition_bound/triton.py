"""One transition's part of the bound and its gradients in Triton: one pass over the elements, and a sum of its parts.

Limits for an element, compiled for sm_90: 12 bytes read and 8 written; 59 instructions. An H100 issues 132 * 4 warp
instructions a cycle, that is 286 elements, whose 5.7 KB are three times what its memory takes in a cycle: the bytes
decide.
"""

import math

import torch
import triton
import triton.language as tl
from torch import Tensor

from kernels import launch
from kernels.device_functions.elementary import log
from kernels.launch import UNSPECIALIZED

BLOCK = 1024


@triton.jit(do_not_specialize=UNSPECIALIZED)
def transition_kernel(
    previous_ptr, mean_ptr, std_ptr, d_mean_ptr, d_std_ptr, partial_ptr, size, weight, BLOCK: tl.constexpr
):
    """`weight` is 1 / size; each program writes its sum of the terms to partial."""
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = at < size
    std = tl.load(std_ptr + at, mask=inside, other=1.0)
    inverse = 1 / std
    z = (tl.load(previous_ptr + at, mask=inside, other=0.0) - tl.load(mean_ptr + at, mask=inside, other=0.0)) * inverse
    tl.store(d_mean_ptr + at, -z * (inverse * weight), mask=inside)
    tl.store(d_std_ptr + at, (1 - z * z) * (inverse * weight), mask=inside)
    log_std = tl.where(std > 0, log(tl.where(std > 0, std, 1.0)), float("nan"))
    tl.store(partial_ptr + tl.program_id(0), tl.sum(tl.where(inside, 0.5 * z * z + log_std, 0.0)))


def bound_and_gradients(previous: Tensor, mean: Tensor, std: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The bound, and its gradients with respect to mean and std; all [n] but the bound, 0-d."""
    size = len(mean)
    launch.check_elements(size)
    programs = triton.cdiv(size, BLOCK)
    d_mean, d_std = torch.empty_like(mean), torch.empty_like(std)
    partial = mean.new_empty(programs)
    with launch.on(mean.device):
        transition_kernel[(programs,)](
            previous, mean, std, d_mean, d_std, partial, size, 1 / size, BLOCK=BLOCK, enable_fp_fusion=True
        )
    bound = partial.double().sum() / size + 0.5 * math.log(2 * math.pi)
    return bound.float(), d_mean, d_std
