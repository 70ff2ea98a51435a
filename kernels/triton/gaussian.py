"""kernels/vectorized/gaussian.py in Triton: the std of a network's output s, and the gradients of a term."""

import triton
import triton.language as tl

from kernels import constants
from kernels.triton.elementary import exp_negative_abs, log1p_unit, maximum, minus, reciprocal

STD_FLOOR = tl.constexpr(constants.STD_FLOOR)


@triton.jit
def std_above_floor(s):
    """Return softplus(s), to which the caller must apply STD_FLOOR, and `exp(-|s|)`."""
    e = exp_negative_abs(s)
    return maximum(s, 0.0) + log1p_unit(e), e


@triton.jit
def load_tables(skip_ptr, out_ptr, scale_ptr, t, TABLES: tl.constexpr):
    """Return skip, out and scale of step t, counted from 0. Without TABLES they are those of the tutorial."""
    if TABLES:
        return tl.load(skip_ptr + t), tl.load(out_ptr + t), tl.load(scale_ptr + t)
    else:
        return 0.0, 1.0, 1.0


@triton.jit
def mean(x, f, tables, TABLES: tl.constexpr):
    """Return the mean from the network's output f at x."""
    if TABLES:
        return tl.fma(x, tables[0], f * tables[1])
    else:
        return f


@triton.jit
def std(s, tables, TABLES: tl.constexpr):
    """Return max(softplus(s), STD_FLOOR). With TABLES the softplus is multiplied by the table's scale."""
    softplus, e = std_above_floor(s)
    if TABLES:
        softplus = softplus * tables[2]
    return maximum(softplus, STD_FLOOR)


@triton.jit
def term(previous, eps, x, f, s, tables, TABLES: tl.constexpr):
    """Return std, the term of the bound without log std, and its gradients with respect to f and to s."""
    softplus, e = std_above_floor(s)
    slope = tl.where(s >= 0, 1.0, e) * reciprocal(1 + e)
    if TABLES:
        softplus = softplus * tables[2]
        slope = slope * tables[2]
    value = maximum(softplus, STD_FLOOR)
    inverse = reciprocal(value)
    z = (mean(x, f, tables, TABLES) - previous) * inverse
    g_mean = z * inverse
    if TABLES:
        g_mean = g_mean * tables[1]
    slope = tl.where(softplus > STD_FLOOR, slope * inverse, 0.0)
    return value, 0.5 * tl.fma(z, z, minus(eps * eps)), g_mean, tl.fma(minus(z * z), slope, slope)
