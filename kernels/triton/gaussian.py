"""kernels/vectorized/gaussian.py in Triton: the std of a network's output s, and the gradients of a term."""

import triton
import triton.language as tl

from kernels import constants
from kernels.triton.elementary import exp_negative_abs, log1p_unit, maximum, minus, reciprocal

STD_FLOOR = tl.constexpr(constants.STD_FLOOR)


@triton.jit
def std_above_floor(s):
    """softplus(s), which the caller raises to STD_FLOOR, and exp(-|s|)."""
    e = exp_negative_abs(s)
    return maximum(s, 0.0) + log1p_unit(e), e


@triton.jit
def std(s):
    """max(softplus(s), STD_FLOOR)."""
    softplus, e = std_above_floor(s)
    return maximum(softplus, STD_FLOOR)


@triton.jit
def term(previous, eps, mean, s):
    """std, the term of the bound without log std, and its gradients with respect to the mean and to s."""
    softplus, e = std_above_floor(s)
    value = maximum(softplus, STD_FLOOR)
    slope = tl.where(s >= 0, 1.0, e) * reciprocal(1 + e)
    inverse = reciprocal(value)
    z = (mean - previous) * inverse
    slope = tl.where(softplus > STD_FLOOR, slope * inverse, 0.0)
    return value, 0.5 * tl.fma(z, z, minus(eps * eps)), z * inverse, tl.fma(minus(z * z), slope, slope)
