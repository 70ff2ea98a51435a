"""The forward process of a tile, in plain torch.

x_t = a_t x_{t-1} + b_t eps_t is a recurrence, so its steps are cut into runs: every run is walked from zero at the
same time, which says what it adds; a small triangular sum over the runs gives where each really starts; and the walk
from there is the answer. Every product of a's is at most 1, so nothing overflows however small their product is.

Limits: 5 operations for a (sample, step), and 4 bytes read (the noise) and 4 written.
"""

import torch
from torch import Tensor

from kernels import tiles
from kernels.noise.vectorized import normal_tile


def trajectory_tile(
    x: Tensor, eps: Tensor, scale: Tensor, noise_scale: Tensor, factor: Tensor, decay: Tensor
) -> Tensor:
    """[5, groups, C]: x before each group of four steps, then after each of the four.

    Args:
        x: [C], x at the start of the tile.
        eps: [4, groups, C].
        scale, noise_scale, factor, decay: see kernels.tiles.Chain.
    """
    # what a group of four steps, and then a run of SCAN groups, does: x -> factor x + drive
    drive = noise_scale[0] * eps[0]
    for i in range(1, 4):
        drive = scale[i] * drive + noise_scale[i] * eps[i]
    drive, factor = drive.unflatten(0, (-1, tiles.SCAN)), factor.unflatten(0, (-1, tiles.SCAN))
    added = drive[:, 0]
    for j in range(1, tiles.SCAN):
        added = factor[:, j] * added + drive[:, j]

    start = decay[:, :1] * x + (decay[:, 1:, None] * added).sum(1)
    starts = [start]
    for j in range(tiles.SCAN - 1):
        starts.append(factor[:, j] * starts[-1] + drive[:, j])
    states = [torch.stack(starts, 1).flatten(0, 1)]
    for i in range(4):
        states.append(scale[i] * states[-1] + noise_scale[i] * eps[i])
    return torch.stack(states)


def forward_process(
    x0: Tensor,
    betas: Tensor,
    *,
    seed: int,
    step: int | Tensor,
    first: int,
    normal_tile: tiles.NormalTile = normal_tile,
    trajectory_tile: tiles.TileFunction = trajectory_tile,
) -> Tensor:
    """x_0 ... x_T of x0 [N, D], [T+1, N, D]."""
    count, dim = x0.shape
    trajectory = torch.empty(len(betas) + 1, count, dim, dtype=torch.float32, device=x0.device)
    trajectory[0] = x0
    chains = tiles.chains(betas, x0.device)
    for block in tiles.blocks(first, count, dim, x0.device):
        x = tiles.load(x0, block)
        for tile, chain in zip(tiles.time_tiles(len(betas)), chains, strict=True):
            eps = tiles.noise(normal_tile, block, tile, seed=seed, step=step, stream=tiles.FORWARD)
            states = trajectory_tile(x, eps, *chain)
            rows = tiles.time_major(states[1:], dim)[: tile.steps, :, block.columns]
            trajectory[1 + tile.start : 1 + tile.start + tile.steps, block.rows] = rows.transpose(1, 2)
            x = states[4, -1]
    return trajectory
