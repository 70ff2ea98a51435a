"""The noise stream in Triton: four normals for each counter, in registers. Box-Muller as in kernels/native/noise.h."""

import triton
import triton.language as tl

from kernels import constants
from kernels.triton.elementary import LOG2, polynomial, sqrt

M0, M1 = (tl.constexpr(multiplier) for multiplier in constants.MULTIPLIERS)
K0, K1 = (tl.constexpr(increment) for increment in constants.KEY_INCREMENTS)
ROUNDS = tl.constexpr(constants.ROUNDS)

RADIANS = tl.constexpr(constants.RADIANS)
UNIT = tl.constexpr(2.0**-32)
RADIUS, SIN, COS = (tl.constexpr(coefficients) for coefficients in (constants.RADIUS, constants.SIN, constants.COS))


@triton.jit
def multiply(multiplier: tl.constexpr, word):
    """Return the high and low 32 bits of the product. A 64-bit product is one instruction; umulhi would need two."""
    product = word.to(tl.uint64) * multiplier
    return (product >> 32).to(tl.uint32), product.to(tl.uint32)


@triton.jit
def philox(c0, c1, c2, c3, k0, k1):
    """Return four random words for each counter (uint32), from Philox4x32-10."""
    for _ in tl.static_range(ROUNDS):
        high0, low0 = multiply(M0, c0)
        high1, low1 = multiply(M1, c2)
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0 += K0
        k1 += K1
    return c0, c1, c2, c3


@triton.jit
def radius(word):
    """Return sqrt(-2 log u) for u = (word + 1/2) 2^-32. u is 1 + f or, below 1/2, (1 + f) 2^e, f in [-1/2, 0)."""
    word = word.to(tl.int32, bitcast=True)
    below = word >= 0
    u = tl.fma(word.to(tl.float32), UNIT, 0.5 * UNIT)  # u - 1 for a negative word, which keeps the digits of 1 - u
    bits = u.to(tl.int32, bitcast=True)
    exponent = tl.where(below, (bits >> 23) - 126, 0)
    fraction = (bits - (exponent << 23)).to(tl.float32, bitcast=True)
    f = tl.where(below, fraction - 1, fraction)
    return sqrt(tl.fma(f, tl.fma(f, polynomial(f, RADIUS, 7), -2.0), exponent.to(tl.float32) * (-2 * LOG2)))


@triton.jit
def box_muller(radius_word, angle_word):
    """Return two normals: radius times cos and sin of the angle, from the nearest quarter of a turn."""
    r = radius(radius_word)
    x = (angle_word << 2).to(tl.int32, bitcast=True).to(tl.float32) * (RADIANS / 4)
    q = x * x
    sin = tl.fma(x * q, polynomial(q, SIN, 2), x)
    cos = tl.fma(q, tl.fma(q, polynomial(q, COS, 2), -0.5), 1.0)
    turn = angle_word + (1 << 29)
    swap = (turn & (1 << 30)) != 0
    first, second = tl.where(swap, sin, cos), tl.where(swap, cos, sin)
    return with_sign(r * first, turn + (1 << 30)), with_sign(r * second, turn)


@triton.jit
def with_sign(x, word):
    """Return -x where the highest bit of the word is set, otherwise x."""
    return (x.to(tl.uint32, bitcast=True) ^ (word & 0x80000000)).to(tl.float32, bitcast=True)


@triton.jit
def sample_words(first_low, first_high, n):
    """Return the index of sample n of a launch as in the counter: a word, and the upper half of the next word."""
    first = tl.cast(first_low, tl.uint32)
    low = first + tl.cast(n, tl.uint32)
    return low, (tl.cast(first_high, tl.uint32) + (low < first).to(tl.uint32)) << 16


@triton.jit
def normals(sample, group, step, dimension, seed_low, seed_high):
    """Return the normals of steps 4 group + 1 ... 4 group + 4: four blocks of the common shape of the counters.

    `sample` is from sample_words; `dimension` has the stream in its highest 8 bits.
    """
    low, high = sample
    w0, w1, w2, w3 = philox(
        low,
        high ^ tl.cast(group, tl.uint32),
        tl.cast(step, tl.uint32),
        tl.cast(dimension, tl.uint32),
        tl.cast(seed_low, tl.uint32),
        tl.cast(seed_high, tl.uint32),
    )
    cos0, sin0 = box_muller(w0, w1)
    cos1, sin1 = box_muller(w2, w3)
    return cos0, sin0, cos1, sin1


@triton.jit
def step_word(step):
    """Return the training iteration, which is given as a number or as a pointer to one."""
    if step.dtype.is_ptr():
        step = tl.load(step)
    return step


@triton.jit
def pick(four, i):
    """Return normal i of four, for a loop over steps that is not unrolled: such a loop keeps the code short."""
    return tl.where(i == 0, four[0], tl.where(i == 1, four[1], tl.where(i == 2, four[2], four[3])))
