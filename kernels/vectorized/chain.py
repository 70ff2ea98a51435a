"""The chain x_t = sqrt(1 - beta_t) x_{t-1} + sqrt(beta_t) eps_t over a tile of time, in plain torch.

x_t = a_t x_{t-1} + b_t eps_t is a recurrence, so its steps are cut into runs. First all runs are computed from zero at
the same time, which gives what each run adds. Then a small triangular sum over the runs gives the x at which each
really starts. Last, the runs are computed from there. Every product of a's is at most 1, so nothing overflows however
small it is.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from kernels import schedules
from kernels.vectorized import tiles

OPERATIONS = 5  # for a (sample, step), which also reads 4 bytes (the noise) and writes 4


class Chain(NamedTuple):
    """The constants of one time tile of the forward process, float32. Padded steps leave x unchanged.

    Attributes:
        scale, noise_scale: sqrt(1 - beta) and sqrt(beta), [4, groups, 1].
        factor: the product of the four scales of a group, [groups, 1].
        decay: [groups / SCAN, groups / SCAN + 1]. Row s gives x at the start of run s: it has the factors of x at the
            start of the tile (column 0) and of what each run of SCAN groups adds (the other columns).
    """

    scale: Tensor
    noise_scale: Tensor
    factor: Tensor
    decay: Tensor


@schedules.per_schedule
def chains(betas: Tensor, device: torch.device) -> tuple[Chain, ...]:
    """Return the constants of every time tile."""
    time_tiles = tiles.time_tiles(len(betas))
    groups = time_tiles[0].groups
    steps = schedules.steps(betas, 4 * groups * len(time_tiles))
    scale, noise_scale, factor = (values.view(len(time_tiles), -1) for values in steps)
    return tuple(_chain(*of_tile, device) for of_tile in zip(scale, noise_scale, factor, strict=True))


def _chain(scale: Tensor, noise_scale: Tensor, factor: Tensor, device: torch.device) -> Chain:
    runs = factor.double().view(-1, tiles.SCAN).prod(dim=1)
    decay = torch.zeros(len(runs), len(runs) + 1, dtype=torch.float64)
    for s in range(len(runs)):
        for r in range(s + 1):
            decay[s, r] = runs[r:s].prod()

    def by_place(values: Tensor) -> Tensor:
        return values.view(-1, 4, 1).transpose(0, 1).contiguous().to(device)

    return Chain(by_place(scale), by_place(noise_scale), factor.view(-1, 1).to(device), decay.float().to(device))


def trajectory_tile(
    x: Tensor, eps: Tensor, scale: Tensor, noise_scale: Tensor, factor: Tensor, decay: Tensor
) -> Tensor:
    """Return [5, groups, C]: x before each group of four steps, then after each of the four.

    Args:
        x: [C], x at the start of the tile.
        eps: [4, groups, C].
        scale, noise_scale, factor, decay: see Chain.
    """
    # a group of four steps does x -> factor x + drive, and so does a run of SCAN groups
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
