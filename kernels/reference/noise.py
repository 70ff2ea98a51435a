"""Philox4x32-10 and Box-Muller as the papers write them: the specification of the noise stream.

Everything is 64-bit here: integers hold unsigned 32-bit words, normals are computed in float64.
"""

import math
from typing import TypeVar

import torch
from torch import Tensor

from kernels.constants import KEY_INCREMENTS, MULTIPLIERS, ROUNDS, STREAM_SHIFT
from kernels.place import Place

MASK = 0xFFFFFFFF

Word = TypeVar("Word", int, Tensor)


def key_of(seed: int) -> tuple[int, int]:
    """Return the two 32-bit words of a 64-bit seed."""
    return seed & MASK, seed >> 32 & MASK


def multiply(multiplier: int, word: Word) -> tuple[Word, Word]:
    """Return the high and low 32 bits of the 64-bit product. An int64 product wraps around, which keeps its bits."""
    product = multiplier * word
    return (product >> 32) & MASK, product & MASK


def philox(counter: tuple[Word, Word, Word, Word], key: tuple[int, int]) -> tuple[Word, Word, Word, Word]:
    """Return four random 32-bit words for each counter: ints or int64 tensors with values in [0, 2^32)."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(ROUNDS):
        high0, low0 = multiply(MULTIPLIERS[0], c0)
        high1, low1 = multiply(MULTIPLIERS[1], c2)
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0, k1 = (k0 + KEY_INCREMENTS[0]) & MASK, (k1 + KEY_INCREMENTS[1]) & MASK
    return c0, c1, c2, c3


def box_muller(radius_word: Tensor, angle_word: Tensor) -> tuple[Tensor, Tensor]:
    """Return two standard normals, float64, from two words: cos first, sin second."""
    radius = torch.sqrt(-2 * torch.log((radius_word.double() + 0.5) * 2.0**-32))
    angle = angle_word.double() * (2 * math.pi * 2.0**-32)
    return radius * torch.cos(angle), radius * torch.sin(angle)


def group_normals(count: int, dim: int, groups: range, place: Place, stream: int, device: torch.device) -> Tensor:
    """Return the normals of steps 4 k + 1 ... 4 k + 4 for every k in `groups`, [4 * groups, count, dim] float32."""
    counter = torch.meshgrid(
        torch.arange(groups.start, groups.stop, device=device),
        torch.arange(place.first, place.first + count, device=device),
        torch.arange(dim, device=device) + (stream << STREAM_SHIFT),
        indexing="ij",
    )
    group, sample, dimension = counter
    low, high = sample & MASK, sample >> 32
    words = philox((low, group | high << 16, torch.full_like(group, int(place.step)), dimension), key_of(place.seed))
    normals = torch.stack(box_muller(*words[:2]) + box_muller(*words[2:]), dim=1)
    return normals.reshape(4 * len(groups), count, dim).float()
