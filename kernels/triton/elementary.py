"""exp, log, log1p, sqrt and 1 / x for Triton kernels, in few instructions.

The library functions that Triton's own log calls spend a third of their instructions on zero, infinity and denormals,
and its division the same; the kernels never meet those. What one instruction of the multi-function unit gives
(exp2, sqrt, 1 / sqrt, each wrong by at most 2^-22) is taken from there. All take and return float32 blocks.
"""

import triton
import triton.language as tl

from kernels import constants

LOG_FRACTION = tl.constexpr(constants.LOG_FRACTION)
LOG1P_UNIT = tl.constexpr(constants.LOG1P_UNIT)
SQRT_HALF_BITS = tl.constexpr(constants.SQRT_HALF_BITS)
LOG2 = tl.constexpr(constants.LOG2)


@triton.jit
def maximum(x, y):
    """The larger of two, NaN if either is, as in torch: a weight that is NaN must not vanish in a relu."""
    return tl.maximum(x, y, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def polynomial(x, coefficients: tl.constexpr, DEGREE: tl.constexpr):
    """c0 + c1 x + c2 x^2 + ... by Horner's scheme: the fewest instructions, where many warps hide their latency."""
    value = x * coefficients[DEGREE] + coefficients[DEGREE - 1]
    for i in tl.static_range(DEGREE - 1):
        value = value * x + coefficients[DEGREE - 2 - i]
    return value


@triton.jit
def log_fraction(f, exponent):
    """log((1 + f) 2^exponent) for 1 + f in [sqrt(1/2), sqrt(2))."""
    return exponent.to(tl.float32) * LOG2 + (f * f * polynomial(f, LOG_FRACTION, 8) + f)


@triton.jit
def split_exponent(x):
    """x = (1 + f) 2^e with 1 + f in [sqrt(1/2), sqrt(2)), for normal x > 0. Returns f and e (int32)."""
    bits = x.to(tl.int32, bitcast=True)
    exponent = (bits - SQRT_HALF_BITS) >> 23
    return (bits - (exponent << 23)).to(tl.float32, bitcast=True) - 1, exponent


@triton.jit
def log(x):
    """Natural logarithm of normal x > 0."""
    f, exponent = split_exponent(x)
    return log_fraction(f, exponent)


@triton.jit
def log1p_unit(x):
    """log(1 + x) for x in [0, 1]."""
    return x * x * polynomial(x, LOG1P_UNIT, 8) + x


@triton.jit
def exp_negative(x):
    """exp(-x) for x >= 0; 0 where that is below 2^-126."""
    return tl.exp2(x * (-1 / LOG2))


@triton.jit
def reciprocal(x):
    """1 / x for x > 0: the square of 1 / sqrt(x), and one step of Newton's method."""
    root = tl.rsqrt(x)
    guess = root * root
    return guess * (2 - x * guess)
