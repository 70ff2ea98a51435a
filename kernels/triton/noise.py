"""The noise stream in Triton: four normals for each counter, in registers."""

import triton
import triton.language as tl

from kernels import constants
from kernels.triton.elementary import log_fraction, split_exponent

M0, M1 = (tl.constexpr(multiplier) for multiplier in constants.MULTIPLIERS)
K0, K1 = (tl.constexpr(increment) for increment in constants.KEY_INCREMENTS)
ROUNDS = tl.constexpr(constants.ROUNDS)

RADIANS = tl.constexpr(constants.RADIANS)
UNIT = tl.constexpr(2.0**-32)
SIN, COS = tl.constexpr(constants.SIN), tl.constexpr(constants.COS)


@triton.jit
def multiply(multiplier: tl.constexpr, word):
    """High and low 32 bits of the product; as one 64-bit product, which is one instruction (umulhi would be two)."""
    product = word.to(tl.uint64) * multiplier
    return (product >> 32).to(tl.uint32), product.to(tl.uint32)


@triton.jit
def philox(c0, c1, c2, c3, k0, k1):
    """Philox4x32-10: four random words for each counter (uint32)."""
    for _ in tl.static_range(ROUNDS):
        high0, low0 = multiply(M0, c0)
        high1, low1 = multiply(M1, c2)
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0 += K0
        k1 += K1
    return c0, c1, c2, c3


@triton.jit
def radius(word):
    """sqrt(-2 log u) with u = (word + 1/2) 2^-32."""
    f, exponent = split_exponent(word.to(tl.float32) + 0.5)
    # near u = 1 the sum above has lost the digits of 1 - u; the complement of the word still has them
    f = tl.where(exponent == 32, (word ^ 0xFFFFFFFF).to(tl.float32) * -UNIT - 0.5 * UNIT, f)
    return tl.sqrt(-2 * log_fraction(f, exponent - 32))


@triton.jit
def cos_sin(word):
    """cos and sin of 2 pi word 2^-32, by exact reduction to an eighth of a turn on either side of a quadrant."""
    quadrant = (word + (1 << 29)) >> 30
    x = (word - (quadrant << 30)).to(tl.int32, bitcast=True).to(tl.float32) * RADIANS
    square = x * x
    sin = x * square * ((square * SIN[2] + SIN[1]) * square + SIN[0]) + x
    cos = square * square * ((square * COS[2] + COS[1]) * square + COS[0]) + (1 - 0.5 * square)
    swap = (quadrant & 1) != 0
    first, second = tl.where(swap, sin, cos), tl.where(swap, cos, sin)
    return flip_sign(first, quadrant + 1), flip_sign(second, quadrant)


@triton.jit
def flip_sign(x, quadrant):
    """-x in the two quadrants with bit 1 set."""
    return (x.to(tl.uint32, bitcast=True) ^ ((quadrant << 30) & 0x80000000)).to(tl.float32, bitcast=True)


@triton.jit
def normals(sample, group, step, dimension, seed_low, seed_high):
    """The normals of steps 4 group + 1 ... 4 group + 4: four blocks of the common shape of the counters.

    `dimension` has the stream in its highest 8 bits.
    """
    w0, w1, w2, w3 = philox(
        tl.cast(sample, tl.uint32),
        tl.cast(group, tl.uint32),
        tl.cast(step, tl.uint32),
        tl.cast(dimension, tl.uint32),
        tl.cast(seed_low, tl.uint32),
        tl.cast(seed_high, tl.uint32),
    )
    cos0, sin0 = cos_sin(w1)
    cos1, sin1 = cos_sin(w3)
    r0, r1 = radius(w0), radius(w2)
    return r0 * cos0, r0 * sin0, r1 * cos1, r1 * sin1


@triton.jit
def step_word(step):
    """The training iteration, given as a number or as a pointer to one."""
    if step.dtype.is_ptr():
        step = tl.load(step)
    return step
