"""The reverse process of a block of samples in plain torch, with the networks as matrix products.

Only samples can be computed at the same time, because step t needs all of step t + 1. The noise is made a tile at a
time. A group of four steps is the unit that backends iterate over.

In addition to the operations counted below, 4 D bytes (the noise) are read and 4 D written for a (sample, step).
"""

import torch
from torch import Tensor

from kernels.constants import REVERSE, TERMINAL
from kernels.networks import MLPPair
from kernels.place import Place
from kernels.vectorized import gaussian, noise, tiles


def operations(dim: int, hidden: int) -> int:
    """Return the number of operations for a (sample, step)."""
    return dim * noise.OPERATIONS + 4 * hidden * (dim + 1) + 20 * dim


def group(x: Tensor, eps: Tensor, time: Tensor, step_mask: Tensor, *weights: Tensor) -> list[Tensor]:
    """Take four steps back in time.

    Args:
        x: [D, width].
        eps: [4, D, width], in the order of t.
        time, step_mask: [4], in the order of t: t / (T + 1), and whether t <= T. Steps beyond T leave x unchanged.
        weights: those of both networks, then the tables of a network that has some: skip, out and scale, [4].

    Returns:
        The state after each step, [D, width], from the largest t to the smallest.
    """
    dim = len(x)
    states = []
    for i in (3, 2, 1, 0):
        skip_out, scale = ([table[i] for table in tables] for tables in (weights[8:10], weights[10:]))
        f, s = (
            w2 @ torch.relu(w1[:, :dim] @ x + (w1[:, dim:] * time[i] + b1[:, None])) + b2[:, None]
            for w1, b1, w2, b2 in (weights[:4], weights[4:8])
        )
        mean, std = gaussian.mean(x, f, *skip_out), gaussian.std(s, *scale)[0]
        x = torch.where(step_mask[i], mean + std * eps[i], x)
        states.append(x)
    return states


def of_group(weights: tuple[Tensor, ...], k: int) -> tuple[Tensor, ...]:
    """Return the weights, and the tables of group k."""
    return (*weights[:8], *(table[:, k] for table in weights[8:]))


def history_tile(x: Tensor, eps: Tensor, time: Tensor, step_mask: Tensor, *weights: Tensor) -> Tensor:
    """Take all steps of a tile, backwards.

    Args:
        x: [D, width], x at the end of the tile.
        eps: [4, groups, D, width], with the groups in reverse order.
        time, step_mask: [4, groups], with the groups in reverse order: see tiles.clock.
        weights: as in `group`, with tables [4, groups], also with the groups in reverse order.

    Returns:
        The states, [4 * groups, D, width], from the end of the tile to its start.
    """
    history = [x]
    for k in range(eps.shape[1]):
        history += group(history[-1], eps[:, k], time[:, k], step_mask[:, k], *of_group(weights, k))
    return torch.stack(history[1:])


def reverse_tile(x: Tensor, eps: Tensor, time: Tensor, step_mask: Tensor, *weights: Tensor) -> Tensor:
    """Take all steps of a tile as history_tile does, but return only the last state, [1, D, width]."""
    for k in range(eps.shape[1]):
        x = group(x, eps[:, k], time[:, k], step_mask[:, k], *of_group(weights, k))[-1]
    return x[None]


def reverse_process(
    pair: MLPPair,
    steps: int,
    count: int,
    place: Place,
    history: bool,
    normal_tile: tiles.NormalTile = noise.normal_tile,
    reverse_tile: tiles.TileFunction = reverse_tile,
    history_tile: tiles.TileFunction = history_tile,
) -> Tensor:
    """Return x_0 [count, D], or with `history` x_T ... x_0 [T+1, count, D]."""
    walk = history_tile if history else reverse_tile
    weights, device, dim = pair.values, pair.device, pair.dim
    out = torch.empty(steps + 1 if history else 1, count, dim, dtype=torch.float32, device=device)
    terminal = tiles.TimeTile(start=0, steps=1, groups=2)  # with 1 the noise would be compiled again
    for block in tiles.blocks(place.first, count, dim, device, pair.hidden[0][0]):
        x = tiles.noise(normal_tile, block, terminal, place, TERMINAL)[0, 0]
        x = x.view(dim, block.width).clone()  # a compiled scan would be compiled again for a view of another base
        if history:
            out[0, block.rows] = x[:, block.columns].T
        for tile in reversed(tiles.time_tiles(steps)):
            eps = tiles.noise(normal_tile, block, tile, place, REVERSE, backwards=True)
            clock, tables = tiles.constants(pair.tables, tile, steps, True, device)
            states = walk(x, eps.unflatten(2, (dim, block.width)), *clock, *weights, *tables)
            x = states[-1].clone()
            if history:
                rows = slice(steps + 1 - tile.start - tile.steps, steps + 1 - tile.start)
                out[rows, block.rows] = states[-tile.steps :, :, block.columns].transpose(1, 2)
        out[-1, block.rows] = x[:, block.columns].T
    return out if history else out[0]
