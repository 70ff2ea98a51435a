"""One step of the reverse process in plain torch, a block of samples at a time.

Limits for an element: 140 operations, nearly all of them for the noise of four steps, of which one is used; 8 bytes
read and 4 written.
"""

import torch
from torch import Tensor

from kernels import tiles
from kernels.noise.vectorized import normal_tile


def reverse_step(
    mean: Tensor, std: Tensor, t: int, *, seed: int, first: int, normal_tile: tiles.NormalTile = normal_tile
) -> Tensor:
    """mean + std eps for mean, std [N, D]."""
    count, dim = mean.shape
    out = torch.empty_like(mean)
    tile = tiles.TimeTile(start=(t - 1) // 4 * 4, steps=4, groups=2)  # not 1, for which the noise is compiled anew
    for block in tiles.blocks(first, count, dim, mean.device):
        eps = tiles.noise(normal_tile, block, tile, seed=seed, step=0, stream=tiles.REVERSE)[(t - 1) % 4, 0]
        out[block.rows] = mean[block.rows] + std[block.rows] * eps.view(dim, -1)[:, block.columns].T
    return out
