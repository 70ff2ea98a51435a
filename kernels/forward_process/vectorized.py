"""The forward process in plain torch, a tile at a time."""

import torch
from torch import Tensor

from kernels.constants import FORWARD
from kernels.place import Place
from kernels.vectorized import chain, noise, tiles


def operations(dim: int, hidden: int) -> int:
    """Return the number of operations for a (sample, step), which also writes 4 D bytes."""
    return dim * (noise.OPERATIONS + chain.OPERATIONS)


def forward_process(
    x0: Tensor,
    betas: Tensor,
    place: Place,
    normal_tile: tiles.NormalTile = noise.normal_tile,
    trajectory_tile: tiles.TileFunction = chain.trajectory_tile,
) -> Tensor:
    """Return x_0 ... x_T, [T+1, N, D], for x0 [N, D]."""
    count, dim = x0.shape
    trajectory = torch.empty(len(betas) + 1, count, dim, dtype=torch.float32, device=x0.device)
    trajectory[0] = x0
    chains = chain.chains(betas, x0.device)
    for block in tiles.blocks(place.first, count, dim, x0.device):
        x = tiles.load(x0, block)
        for tile, constants in zip(tiles.time_tiles(len(betas)), chains, strict=True):
            eps = tiles.noise(normal_tile, block, tile, place, FORWARD)
            states = trajectory_tile(x, eps, *constants)
            rows = tiles.time_major(states[1:], dim)[: tile.steps, :, block.columns]
            trajectory[1 + tile.start : 1 + tile.start + tile.steps, block.rows] = rows.transpose(1, 2)
            x = states[4, -1]
    return trajectory
