"""exp, log, log1p, sqrt and 1 / x for Triton kernels, in few instructions.

The kernels are launched with enable_fp_fusion=False: a product and a sum are rounded as one only where the code says
fma. So every operation is fixed. sqrt, exp_negative_abs and log1p_unit do what kernels/native/elementary.h does, in the
same order, and give the same bits.

Triton's own functions spend instructions on zero, infinity and subnormal numbers, which do not occur in the kernels.
reciprocal and sqrt begin with 1 / sqrt(x) from the multi-function unit, whose error is at most 2^-22. All functions
take and return float32 blocks.
"""

import triton
import triton.language as tl

from kernels import constants

EXP = tl.constexpr(constants.EXP)
LOG_FRACTION = tl.constexpr(constants.LOG_FRACTION)
LOG1P_UNIT = tl.constexpr(constants.LOG1P_UNIT)
SQRT_HALF_BITS = tl.constexpr(constants.SQRT_HALF_BITS)
LOG2 = tl.constexpr(constants.LOG2)
ROUND = tl.constexpr(1.5 * 2.0**23)  # a sum with it is rounded to a whole number, which is then in its low bits


@triton.jit
def maximum(x, y):
    """Return the larger of two, or NaN if either is NaN, as in torch: a relu must not hide a weight that is NaN."""
    return tl.maximum(x, y, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def minus(x):
    """Return -x. Triton compiles -x to the addition 0 - x, but this product to the sign of an operand."""
    return x * -1.0


@triton.jit
def polynomial(x, coefficients: tl.constexpr, DEGREE: tl.constexpr):
    """Return c0 + c1 x + c2 x^2 + ... by Horner's scheme: the fewest instructions; many warps hide their latency."""
    value = tl.fma(x, coefficients[DEGREE], coefficients[DEGREE - 1])
    for i in tl.static_range(DEGREE - 1):
        value = tl.fma(value, x, coefficients[DEGREE - 2 - i])
    return value


@triton.jit
def log(x):
    """Return the natural logarithm of normal x > 0."""
    bits = x.to(tl.int32, bitcast=True)
    exponent = (bits - SQRT_HALF_BITS) >> 23
    f = (bits - (exponent << 23)).to(tl.float32, bitcast=True) - 1
    return tl.fma(exponent.to(tl.float32), LOG2, tl.fma(f * f, polynomial(f, LOG_FRACTION, 8), f))


@triton.jit
def log1p_unit(x):
    """Return log(1 + x) for x in [0, 1]."""
    return tl.fma(x * x, polynomial(x, LOG1P_UNIT, 8), x)


@triton.jit
def exp_negative_abs(s):
    """Return `exp(-|s|)`, with an error of 1.2 units in the last place for `|s|` < 14, and constant for `|s|` > 87."""
    y = maximum(minus(tl.abs(s)), -87.0)
    t = tl.fma(y, 1 / LOG2, ROUND)
    n = t - ROUND
    r = tl.fma(n, -LOG2, y)
    fraction = tl.fma(tl.fma(polynomial(r, EXP, 4), r, 1.0), r, 1.0)
    return (fraction.to(tl.int32, bitcast=True) + (t.to(tl.int32, bitcast=True) << 23)).to(tl.float32, bitcast=True)


@triton.jit
def sqrt(x):
    """Return the correctly rounded square root of normal x > 0, for any error of tl.rsqrt up to 2^-22.

    This was checked for every x in [1, 4) and errors of 0, 2^-23 and 2^-22 to either side. A shorter sequence fails.
    """
    guess = tl.rsqrt(x)
    root = x * guess
    slope = -0.5 * guess  # -1 / (2 sqrt(x))
    error = tl.fma(root, slope, 0.5)
    root = tl.fma(root, error, root)
    slope = tl.fma(slope, error, slope)
    return tl.fma(tl.fma(root, root, minus(x)), slope, root)


@triton.jit
def reciprocal(x):
    """Return 1 / x for x > 0: the square of 1 / sqrt(x), and one step of Newton's method."""
    root = tl.rsqrt(x)
    guess = root * root
    return guess * tl.fma(minus(x), guess, 2.0)
