"""The numbers of the noise stream: what each stream is for, and the constants of Philox4x32-10.

Philox: Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011 (Random123).
"""

FORWARD, REVERSE, TERMINAL, DATA = range(4)  # forward process, reverse process, x_T, data and minibatches
STREAM_SHIFT = 24  # the counter's last word is stream << 24 | dimension

MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
KEY_INCREMENTS = (0x9E3779B9, 0xBB67AE85)  # Weyl sequence of the golden ratio and of sqrt(3) - 1
ROUNDS = 10


def signed(word: int) -> int:
    """Return the int32 with the low 32 bits of `word`."""
    return ((word & 0xFFFFFFFF) ^ 0x80000000) - 0x80000000
