"""The variational bound under torch.compile. The units of small networks are unrolled, in one loop over a row.

One loop reads x_{t-1}, x_t and eps of a step, keeps both networks in registers, and adds up a row of samples: the
term, and for each unit the sums that give d W1, d b1 and d W2. Sums over a row are short enough for plain vector sums.
A second, tiny sum runs over the steps, with weight t for the time column.

With one dimension, d W2 needs no sum of its own: relu is homogeneous, h = [z > 0] (w x + v t + b), so that
sum g h = w sum a x + v sum a t + b sum a with a = [z > 0] g.

In addition to the operations counted below, 12 D bytes are read for a (sample, step).
"""

import functools

import torch
from torch import Tensor

from kernels.compiled.compiler import Kernel
from kernels.compiled.noise import normal_tile
from kernels.compiled.unrolling import is_unrolled
from kernels.variational_bound import vectorized
from kernels.vectorized import chain, gaussian, noise


def operations(dim: int, hidden: int) -> int:
    """Return the number of operations for a (sample, step)."""
    if not is_unrolled(dim, hidden):
        return vectorized.operations(dim, hidden)
    return dim * (noise.OPERATIONS + chain.OPERATIONS) + 10 * hidden * (dim + 1) + 80 * dim


def bound_tile_unrolled(
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
    """Compute vectorized.bound_tile with the units unrolled."""
    states = chain.trajectory_tile(x, eps, scale, noise_scale, factor, decay)
    width = len(sample_mask)
    dim = len(x) // width
    t, mask = time.reshape(-1, 1), sample_mask.float()

    def elements(tile: Tensor) -> list[Tensor]:  # [4, groups, C] -> D times [steps, width]
        rows = tile.reshape(len(t), dim, width)
        return [rows[:, d] for d in range(dim)]

    inputs = elements(states[1:])
    networks = (weights[:4], weights[4:8])
    tables = [table.reshape(-1, 1) for table in weights[8:]]
    active: list[list[Tensor]] = []
    outputs: list[list[Tensor]] = []
    for w1, b1, w2, b2 in networks:
        zs, out = [], [b2[d] for d in range(dim)]
        for j in range(len(b1)):
            z = t * w1[j, dim] + b1[j]
            for d in range(dim):
                z = z + inputs[d] * w1[j, d]
            h = torch.relu(z)
            out = [out[d] + h * w2[d, j] for d in range(dim)]
            zs.append(z)
        active.append(zs)
        outputs.append(out)

    terms, slopes = [], []
    for d, (previous, drawn) in enumerate(zip(elements(states[:4]), elements(eps), strict=True)):
        f, s = (out[d] for out in outputs)
        term, *slope = gaussian.term(previous, drawn, inputs[d], f, s, gaussian.std_inlined, *tables)
        terms.append(term * mask)
        slopes.append([g * mask for g in slope])

    rows = [term.sum(1) for term in terms]
    for (_, _, w2, _), zs, g in zip(networks, active, zip(*slopes, strict=True), strict=True):
        rows += [g[d].sum(1) for d in range(dim)]
        for j, z in enumerate(zs):
            a = g[0] if dim == 1 else sum(g[d] * w2[d, j] for d in range(dim))
            a = torch.where(z > 0, a, 0.0)
            rows += [a.sum(1)] + [(a * inputs[d]).sum(1) for d in range(dim)]
            if dim > 1:
                rows += [(g[d] * torch.relu(z)).sum(1) for d in range(dim)]

    by_row = torch.where(step_mask.reshape(1, -1), torch.stack(rows), 0.0)
    sums, timed = by_row.sum(1), (by_row * t.reshape(1, -1)).sum(1)
    packed = []
    for n, (w1, b1, w2, _) in enumerate(networks):
        per_unit = 2 if dim == 1 else 1 + 2 * dim
        at = dim + n * (dim + len(b1) * per_unit)
        d_b2 = sums[at : at + dim]
        unit = sums[at + dim : at + dim + len(b1) * per_unit].reshape(len(b1), per_unit)
        a_t = timed[at + dim : at + dim + len(b1) * per_unit].reshape(len(b1), per_unit)[:, :1]
        a, a_x = unit[:, :1], unit[:, 1 : 1 + dim]
        if dim == 1:
            d_w2 = (w1 * torch.cat((a_x, a_t), 1)).sum(1) + b1 * a[:, 0]
            a, a_x, a_t = (w2.T * sums_of_a for sums_of_a in (a, a_x, a_t))
        else:
            d_w2 = unit[:, 1 + dim :].T
        packed += [torch.cat((a_x, a_t), 1).flatten(), a[:, 0], d_w2.flatten(), d_b2]
    last = states[4, -1]
    squares = last.view(dim, width).square() * mask
    packed += [sums[:dim].sum().reshape(1), 0.5 * squares.sum().reshape(1)]
    return torch.cat(packed), last


unrolled = Kernel(bound_tile_unrolled, realize_opcount_threshold=60, realize_reads_threshold=100)
matrix = Kernel(vectorized.bound_tile)


def bound_tile(*arguments: Tensor) -> tuple[Tensor, Tensor]:
    """Compute vectorized.bound_tile, unrolled if the network is small."""
    x, sample_mask, b1 = arguments[0], arguments[8], arguments[10]
    return (unrolled if is_unrolled(len(x) // len(sample_mask), len(b1)) else matrix)(*arguments)


bound_and_gradients = functools.partial(vectorized.bound_and_gradients, normal_tile=normal_tile, bound_tile=bound_tile)
