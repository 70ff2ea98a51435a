"""The noise stream in signed integers, written for a compiler that has no unsigned vectors.

One call makes the normals of a tile (see tiles.py), four steps for each counter.
"""

import torch
from torch import Tensor

from kernels.constants import COS, KEY_INCREMENTS, MULTIPLIERS, RADIANS, ROUNDS, SIN, signed
from kernels.vectorized.elementary import log_fraction, split_exponent

OPERATIONS = 88  # for a normal; an operation on a 64-bit integer counts as two


def multiply(multiplier: int, word: Tensor) -> tuple[Tensor, Tensor]:
    """Return the high and low 32 bits of the unsigned product, the high ones from 64-bit integers.

    Four 16-bit products in int32 would also do. On AVX2, which cannot multiply 64-bit integers, they take 0.75 of the
    time (on AVX-512 the same). But they are 7 more operations in each of 20 products. With them compilation takes 4 s
    longer. Without a compiler each operation is a pass over memory, and they cost a third of the noise's time.
    """
    product = (word.to(torch.int64) & 0xFFFFFFFF) * multiplier
    return (product >> 32).to(torch.int32), word * signed(multiplier)


def philox(counter: tuple[Tensor, Tensor, Tensor, Tensor], key: tuple[Tensor, Tensor]) -> tuple[Tensor, ...]:
    """Return the words of Philox4x32-10 on int32 tensors, equal to those of the reference bit for bit."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(ROUNDS):
        high0, low0 = multiply(MULTIPLIERS[0], c0)
        high1, low1 = multiply(MULTIPLIERS[1], c2)
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0, k1 = k0 + signed(KEY_INCREMENTS[0]), k1 + signed(KEY_INCREMENTS[1])
    return c0, c1, c2, c3


def radius(word: Tensor) -> Tensor:
    """Return sqrt(-2 log u) with u = (word + 1/2) 2^-32, the word unsigned."""
    value = word.float()
    f, exponent = split_exponent(torch.where(word < 0, value + 2.0**32, value) + 0.5)
    # near u = 1 the sum above has lost the digits of 1 - u, but the complement of the word still has them
    f = torch.where(exponent == 32, ((~word).float() + 0.5) * -(2.0**-32), f)
    return torch.sqrt(-2 * log_fraction(f, exponent - 32))


def cos_sin(word: Tensor) -> tuple[Tensor, Tensor]:
    """Return cos and sin of 2 pi word 2^-32, by exact reduction to an eighth of a turn on either side of a quadrant."""
    quadrant = (word + (1 << 29)) >> 30
    x = (word - (quadrant << 30)).float() * RADIANS
    square = x * x
    sin = x + x * square * (SIN[0] + square * (SIN[1] + square * SIN[2]))
    cos = COS[0] + square * (COS[1] + square * COS[2])
    cos = 1 - 0.5 * square + square * square * cos
    swap = (quadrant & 1) != 0
    first, second = torch.where(swap, sin, cos), torch.where(swap, cos, sin)
    return (
        torch.where(((quadrant + 1) & 2) != 0, -first, first),
        torch.where((quadrant & 2) != 0, -second, second),
    )


def box_muller(radius_word: Tensor, angle_word: Tensor) -> tuple[Tensor, Tensor]:
    """Return two standard normals from two words: cos first, sin second."""
    r = radius(radius_word)
    cos, sin = cos_sin(angle_word)
    return r * cos, r * sin


def normal_tile(sample: Tensor, dimension: Tensor, group: Tensor, launch: Tensor) -> Tensor:
    """Return the normals of a tile, [4, groups, columns] float32: row (i, k) is step 4 group[k] + i + 1.

    Args:
        sample, dimension: [columns] int32, relative to the tile's corner.
        group: [groups] int32, relative to the tile's corner.
        launch: [6] int32: the words of the counter at the tile's corner, and the two of the seed.
    """
    counter = (sample + launch[0], group[:, None] + launch[1], launch[2], dimension + launch[3])
    words = philox(counter, (launch[4], launch[5]))
    return torch.stack(box_muller(*words[:2]) + box_muller(*words[2:]))
