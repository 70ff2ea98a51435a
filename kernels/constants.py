"""Numbers that all backends share. Imports no torch, so that the C++ compiler can start before torch is imported."""

import math

# The streams of noise. The last word of the counter is stream << STREAM_SHIFT | dimension.
# They are, in order, for: the forward process, the reverse process, x_T, data, the noise of drawn terms, the steps of
# drawn terms, the order of minibatches, what a network draws itself, the trajectories of a likelihood, and the class of
# a sample.
FORWARD, REVERSE, TERMINAL, DATA, DRAWS, TIMES, ORDER, NETWORK, SCORE, CLASSES = range(10)
STREAM_SHIFT = 24

# Philox4x32-10: Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011 (Random123)
MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
KEY_INCREMENTS = (0x9E3779B9, 0xBB67AE85)  # Weyl sequence of the golden ratio and of sqrt(3) - 1
ROUNDS = 10

GOLDEN = 0x9E3779B9  # 2^32 over the golden ratio: consecutive multiples, modulo 2^32, are spread evenly

STD_FLOOR = 1e-6  # keeps log std finite; softplus falls below it only for s < -13.8

LOG2 = math.log(2)
LOG2_HIGH = 0.693359375  # with few bits, so that small multiples are exact
LOG2_LOW = LOG2 - LOG2_HIGH
RADIANS = 2 * math.pi * 2.0**-32  # for each unit of a 32-bit word that is an angle

# Coefficients of minimax polynomials, lowest first.
# sin x = x + x^3 (...) and cos x = 1 - x^2 / 2 + x^4 (...) on [-pi/4, pi/4], both in powers of x^2
SIN = (-1.6666654611e-1, 8.3321608736e-3, -1.9515295891e-4)
COS = (4.166664568298827e-2, -1.388731625493765e-3, 2.443315711809948e-5)

TWO_OVER_PI = 2 / math.pi
QUARTER_HIGH = 1.5707855224609375  # a quarter of a turn, with few bits, so that small multiples are exact
QUARTER_LOW = math.pi / 2 - QUARTER_HIGH

# log(1 + x) = x + x^2 (...) on [0, 1]: wrong by at most a tenth of a unit in the last place
LOG1P_UNIT = (
    *(-0.499999328, 0.333305113, -0.249585875, 0.196954007, -0.153553968),
    *(0.106805562, -0.0576644511, 0.0202045886, -0.00331847334),
)

# log(1 + f) = f + f^2 (...) on [sqrt(1/2) - 1, sqrt(2) - 1]: wrong by 0.07 units in the last place before rounding
LOG_FRACTION = (
    *(-0.49999988079, 0.33333325386, -0.25001582503, 0.20001974702, -0.16609081626),
    *(0.14181822538, -0.13242988288, 0.12904448807, -0.07621795684),
)
SQRT_HALF_BITS = 0x3F3504F3  # the bits of sqrt(1/2) as a float32: the fraction 1 + f of a logarithm begins there

# exp(r) = 1 + r + r^2 (...) on [-log(2) / 2, log(2) / 2]
EXP = (0.49999993, 0.16666521, 0.041668387, 0.0083687098, 0.0013814613)

# -2 log(1 + f) = -2 f + f^2 (...) on [-1/2, 0], for the radius of Box-Muller
RADIUS = (
    *(0.9999904633, -0.6672642231, 0.4873651266, -0.5273826718),
    *(-0.3619081378, -2.4174368382, -3.2791907787, -2.8291015625),
)


def signed(word: int) -> int:
    """Return the int32 with the low 32 bits of `word`."""
    return ((word & 0xFFFFFFFF) ^ 0x80000000) - 0x80000000
