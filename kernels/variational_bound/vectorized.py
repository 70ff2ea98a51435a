"""The variational bound and every gradient, a tile at a time, with the networks as matrix products.

For one network with z = W1 [x, t] + b1, h = relu(z), out = W2 h + b2, and g = d loss / d out:

    d W2 = g h^T,   d b2 = sum g,   a = [z > 0] W2^T g,   d W1 = a [x, t]^T,   d b1 = sum a

No part of a trajectory is kept after its tile. This works for any dimension and any width.

In addition to the operations counted below, each of 4 passes over the H hidden values takes 12 bytes.
"""

import torch
from torch import Tensor

from kernels.constants import FORWARD
from kernels.networks import MLPPair
from kernels.place import Place
from kernels.schedules import bound_constant
from kernels.vectorized import chain, gaussian, noise, tiles


def operations(dim: int, hidden: int) -> int:
    """Return the number of operations for a (sample, step)."""
    return dim * (noise.OPERATIONS + chain.OPERATIONS) + 8 * hidden * (dim + 1) + 60 * dim


def bound_tile(
    x: Tensor,
    eps: Tensor,
    scale: Tensor,
    noise_scale: Tensor,
    factor: Tensor,
    decay: Tensor,
    time: Tensor,
    step_mask: Tensor,
    sample_mask: Tensor,
    *weights: Tensor,
) -> tuple[Tensor, Tensor]:
    """Return sums over a tile: all gradients, flat in the order of `weights`, the bound's terms, x^2 / 2 at the end.

    Args:
        x: [C], x at the start of the tile.
        eps: [4, groups, C].
        scale, noise_scale, factor, decay: see chain.Chain.
        time, step_mask: [4, groups], see tiles.clock.
        sample_mask: [width], False where the block is padded.
        weights: W1 [H, D + 1], b1 [H], W2 [D, H], b2 [D] of the mean, then of the std; then the tables of a network
            that has some: skip, out and scale, [4, groups].

    Returns:
        The sums, [P + 2], and x at the end of the tile, [C].
    """
    states = chain.trajectory_tile(x, eps, scale, noise_scale, factor, decay)
    width = len(sample_mask)
    dim = len(x) // width
    t = time.reshape(1, -1)
    mask = (step_mask.reshape(-1, 1) & sample_mask).reshape(-1)

    def features(tile: Tensor) -> Tensor:  # [4, groups, C] -> [D, E], E elements (step, sample)
        return tile.reshape(-1, dim, width).transpose(0, 1).reshape(dim, -1)

    def outer(p: Tensor, q: Tensor) -> Tensor:
        # p @ q.T, but a step at a time: one product over all elements would add a quarter of a million numbers in
        # order, and lose a digit
        by_step = (m.unflatten(1, (-1, width)).transpose(0, 1) for m in (p, q))
        return torch.matmul(next(by_step), next(by_step).transpose(1, 2)).sum(0)

    inputs = features(states[1:])
    networks, tables = (weights[:4], weights[4:8]), weights[8:]
    hidden, outputs = [], []
    for w1, b1, w2, b2 in networks:
        at_time = w1[:, dim:] * t + b1[:, None]
        z = (w1[:, :dim] @ inputs).unflatten(1, (-1, width)) + at_time[:, :, None]
        hidden.append(torch.relu(z).flatten(1))
        outputs.append(w2 @ hidden[-1] + b2[:, None])

    f, s = outputs
    by_element = (table.reshape(-1, 1).expand(-1, width).reshape(-1) for table in tables)
    term, *slopes = gaussian.term(features(states[:4]), features(eps), inputs, f, s, gaussian.std, *by_element)
    packed = []
    for (_, _, w2, _), h, slope in zip(networks, hidden, slopes, strict=True):
        g = torch.where(mask, slope, 0.0)
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
    squares = torch.where(sample_mask, last.view(dim, width), 0.0).square()
    packed += [torch.where(mask, term, 0.0).sum().reshape(1), 0.5 * squares.sum().reshape(1)]
    return torch.cat(packed), last


def bound_and_gradients(
    pair: MLPPair,
    x0: Tensor,
    betas: Tensor,
    place: Place,
    normal_tile: tiles.NormalTile = noise.normal_tile,
    bound_tile: tiles.BoundTile = bound_tile,
) -> Tensor:
    """Return all gradients, flat in the order of the tensors, then the bound in nats divided by T + 1: [P + 1]."""
    count, dim = x0.shape
    weights, (width, *_), device = pair.values, pair.hidden[0], x0.device
    totals = torch.zeros(sum(w.numel() for w in weights) + 1, dtype=torch.float64, device=device)
    totals[-1] = count * dim * bound_constant(betas, device)
    chains, time_tiles = chain.chains(betas, device), tiles.time_tiles(len(betas))
    for block in tiles.blocks(place.first, count, dim, device, hidden=width):
        x, sample_mask = tiles.load(x0, block), tiles.sample_mask(block)
        for tile, constants in zip(time_tiles, chains, strict=True):
            eps = tiles.noise(normal_tile, block, tile, place, FORWARD)
            clock, tables = tiles.constants(pair.tables, tile, len(betas), False, device)
            sums, x = bound_tile(x, eps, *constants, *clock, sample_mask, *weights, *tables)
            totals += sums[:-1]
        totals[-1] += sums[-1]
    # the mean over points and dimensions
    return (totals / (count * dim * (len(betas) + 1))).float()
