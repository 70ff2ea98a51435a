"""One step of the reverse process in plain torch, a block of samples at a time.

Limits for an element: 140 operations, nearly all of them for the noise of four steps, although only one is used;
8 bytes read and 4 written.
"""

import torch
from torch import Tensor

from kernels.constants import REVERSE
from kernels.place import Place
from kernels.vectorized import noise, tiles


def reverse_step(
    mean: Tensor, std: Tensor, t: int, place: Place, normal_tile: tiles.NormalTile = noise.normal_tile
) -> Tensor:
    """Return mean + std eps for mean and std [N, D]."""
    count, dim = mean.shape
    group, i = divmod(t - 1, 4)
    out = torch.empty_like(mean)
    tile = tiles.TimeTile(start=4 * group, steps=4, groups=2)  # with 1 the noise would be compiled again
    for block in tiles.blocks(place.first, count, dim, mean.device):
        eps = tiles.noise(normal_tile, block, tile, place, REVERSE)[i, 0]
        out[block.rows] = mean[block.rows] + std[block.rows] * eps.view(dim, -1)[:, block.columns].T
    return out
