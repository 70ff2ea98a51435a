"""The variational bound and every gradient, a tile at a time, with the networks as matrix products.

For one network with z = W1 [x, t] + b1, h = relu(z), out = W2 h + b2, and g = d loss / d out:

    d W2 = g h^T,   d b2 = sum g,   a = [z > 0] W2^T g,   d W1 = a [x, t]^T,   d b1 = sum a

Nothing of a trajectory outlives its tile. Works for any dimension and any width.

Limits for a (sample, step): 8 H (D + 1) + 60 operations; 12 bytes for each of 4 passes over the H hidden values.
"""

import torch
from torch import Tensor

from kernels import gaussian, tiles
from kernels.forward_process.vectorized import trajectory_tile
from kernels.noise.vectorized import normal_tile
from kernels.schedules import constants

Weights = tuple[Tensor, ...]  # W1 [H, D + 1], b1 [H], W2 [D, H], b2 [D] of the mean, then of the std


def bound_tile(
    x: Tensor,
    eps: Tensor,
    scale: Tensor,
    noise_scale: Tensor,
    factor: Tensor,
    decay: Tensor,
    time: Tensor,
    exists: Tensor,
    valid: Tensor,
    *weights: Tensor,
) -> tuple[Tensor, Tensor]:
    """Sums over a tile: every gradient, flat in the order of `weights`, the terms of the bound, and x^2 / 2 at its end.

    Args:
        x: [C], x at the start of the tile.
        eps: [4, groups, C].
        scale, noise_scale, factor, decay: see kernels.tiles.Chain.
        time, exists: [4, groups], see kernels.tiles.clock.
        valid: [width], False where the block is padded.

    Returns:
        The sums, [P + 2], and x at the end of the tile, [C].
    """
    states = trajectory_tile(x, eps, scale, noise_scale, factor, decay)
    width = len(valid)
    dim = len(x) // width
    t = time.reshape(1, -1)
    counts = (exists.reshape(-1, 1) & valid).reshape(-1)

    def features(tile: Tensor) -> Tensor:  # [4, groups, C] -> [D, E], E elements (step, sample)
        return tile.reshape(-1, dim, width).transpose(0, 1).reshape(dim, -1)

    def outer(p: Tensor, q: Tensor) -> Tensor:
        # p @ q.T, but a step at a time: one product over all elements would add a quarter of a million numbers in
        # order, and lose a digit
        by_step = (m.unflatten(1, (-1, width)).transpose(0, 1) for m in (p, q))
        return torch.matmul(next(by_step), next(by_step).transpose(1, 2)).sum(0)

    inputs = features(states[1:])
    networks = (weights[:4], weights[4:])
    hidden, outputs = [], []
    for w1, b1, w2, b2 in networks:
        at_time = w1[:, dim:] * t + b1[:, None]
        z = (w1[:, :dim] @ inputs).unflatten(1, (-1, width)) + at_time[:, :, None]
        hidden.append(torch.relu(z).flatten(1))
        outputs.append(w2 @ hidden[-1] + b2[:, None])

    mean, s = outputs
    term, *slopes = gaussian.term(features(states[:4]), features(eps), mean, s, gaussian.std)
    packed = []
    for (_, _, w2, _), h, slope in zip(networks, hidden, slopes, strict=True):
        g = torch.where(counts, slope, 0.0)
        a = torch.where(h > 0, w2.T @ g, 0.0)
        a_sum = a.unflatten(1, (-1, width)).sum(2)
        d_w1 = torch.cat((outer(a, inputs), (a_sum * t).sum(1, keepdim=True)), 1)
        packed += [
            d_w1.flatten(),
            a_sum.sum(1),
            outer(g, h).flatten(),
            g.unflatten(1, (-1, width)).sum(2).sum(1),
        ]
    last = states[4, -1]
    squares = torch.where(valid, last.view(dim, width), 0.0).square()
    packed += [torch.where(counts, term, 0.0).sum().reshape(1), 0.5 * squares.sum().reshape(1)]
    return torch.cat(packed), last


def bound_and_gradients(
    x0: Tensor,
    weights: Weights,
    betas: Tensor,
    *,
    seed: int,
    step: int | Tensor,
    first: int,
    normal_tile: tiles.NormalTile = normal_tile,
    bound_tile: tiles.BoundTile = bound_tile,
) -> Tensor:
    """Every gradient, flat in the order of `weights`, then the bound in nats divided by T + 1: [P + 1]."""
    count, dim = x0.shape
    size = sum(w.numel() for w in weights)
    totals = torch.zeros(size + 1, dtype=torch.float64, device=x0.device)
    totals[-1] = count * dim * constants(betas, x0.device)
    chains, time_tiles = tiles.chains(betas, x0.device), tiles.time_tiles(len(betas))
    for block in tiles.blocks(first, count, dim, x0.device, hidden=len(weights[1])):
        x, valid = tiles.load(x0, block), tiles.valid(block)
        for tile, chain in zip(time_tiles, chains, strict=True):
            eps = tiles.noise(normal_tile, block, tile, seed=seed, step=step, stream=tiles.FORWARD)
            clock = tiles.clock(tile, len(betas), False, x0.device)
            sums, x = bound_tile(x, eps, *chain, *clock, valid, *weights)
            totals += sums[:-1]
        totals[-1] += sums[-1]
    # the mean over points and dimensions
    return (totals / (count * dim * (len(betas) + 1))).float()
