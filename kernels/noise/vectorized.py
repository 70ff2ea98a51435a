"""The noise stream in plain torch, a tile at a time."""

import torch
from torch import Tensor

from kernels.place import Place
from kernels.vectorized import noise, tiles


def operations(dim: int, hidden: int) -> int:
    """Return the number of operations for a (sample, step), which also writes 4 D bytes."""
    return dim * noise.OPERATIONS


def normal(
    count: int,
    dim: int,
    steps: int,
    place: Place,
    stream: int,
    device: torch.device,
    normal_tile: tiles.NormalTile = noise.normal_tile,
) -> Tensor:
    """Return standard normals of the stream, [steps, count, dim] float32: row t - 1 is the noise of step t."""
    out = torch.empty(steps, count, dim, dtype=torch.float32, device=device)
    for block in tiles.blocks(place.first, count, dim, device):
        for tile in tiles.time_tiles(steps):
            eps = tiles.noise(normal_tile, block, tile, place, stream)
            rows = tiles.time_major(eps, dim)[: tile.steps]
            out[tile.start : tile.start + tile.steps, block.rows] = rows[:, :, block.columns].transpose(1, 2)
    return out
