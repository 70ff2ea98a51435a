"""The reverse process under torch.compile: a scan over the groups of a tile, whose body is one loop over samples.

The scan is a loop in the generated wrapper, so that code size and compile time do not grow with T. Each of its
iterations costs 4 us, whatever it does. For small networks the units are therefore unrolled, as in the variational
bound, and so are GROUPS groups: a state stays in registers for 8 steps. (Two vectors of samples side by side, which
hide each other's latency, were slower: 0.69 instead of 0.44 ms. The loop no longer fits a core's cache of decoded
instructions.)

In addition to the operations counted below, 4 D bytes (the noise) are read for a (sample, step).
"""

import functools
import itertools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch._higher_order_ops import scan

from kernels.compiled.compiler import EXACT, Kernel
from kernels.compiled.noise import normal_tile
from kernels.compiled.unrolling import is_unrolled
from kernels.reverse_process import vectorized
from kernels.vectorized import gaussian, noise

GROUPS = 2  # 1, 2, 4: 0.56, 0.44 and 0.39 ms at the tutorial's size, and 5, 9 and 17 s to compile


def operations(dim: int, hidden: int) -> int:
    """Return the number of operations for a (sample, step); for an unrolled network, counted in the machine code."""
    if not is_unrolled(dim, hidden):
        return vectorized.operations(dim, hidden)
    return dim * noise.OPERATIONS + 4 * hidden * (dim + 1) + 38 * dim


def groups_unrolled(
    x: Tensor, eps: Tensor, step_mask: Tensor, at_mean: Tensor, at_std: Tensor, *weights: Tensor
) -> list[Tensor]:
    """Compute vectorized.group for GROUPS groups: eps [4, GROUPS, D, width], step_mask and tables [4, GROUPS].

    at_mean, at_std: [4, GROUPS, H], what the time and the biases add to the hidden units. In the loop over samples it
    would be computed again for every vector of samples.
    """
    dim = len(x)
    states = []
    for k, i in itertools.product(range(GROUPS), (3, 2, 1, 0)):
        outputs = []
        for (w1, _, w2, b2), at_time in ((weights[:4], at_mean), (weights[4:8], at_std)):
            # the sums have so few terms that the compiler unrolls them
            z = (w1[:, :dim, None] * x).sum(1) + at_time[i, k][:, None]  # [H, width]
            outputs.append((w2[:, :, None] * torch.relu(z)).sum(1) + b2[:, None])
        f, s = outputs
        skip_out, scale = ([table[i, k] for table in tables] for tables in (weights[8:10], weights[10:]))
        mean, std = gaussian.mean(x, f, *skip_out), gaussian.std_inlined(s, *scale)[0]
        x = torch.where(step_mask[i, k], mean + std * eps[i, k], x)
        states.append(x)
    return states


def walk(history: bool, x: Tensor, eps: Tensor, time: Tensor, step_mask: Tensor, *weights: Tensor) -> Tensor:
    """Return all states of a tile, or only the last: to keep them all takes a third of the time."""
    weights, tables = weights[:8], weights[8:]
    constants: tuple[Tensor, ...] = (eps, time, step_mask, *tables)
    step: Callable[..., list[Tensor]] = vectorized.group
    if is_unrolled(len(x), len(weights[1])):
        step = groups_unrolled
        at_times = (time[:, :, None] * w1[:, len(x)] + b1 for w1, b1 in (weights[:2], weights[4:6]))
        constants = tuple(tile.unflatten(1, (-1, GROUPS)) for tile in (eps, step_mask, *at_times, *tables))

    def body(x: Tensor, constants: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        given, tables_of_step = constants[: len(constants) - len(tables)], constants[len(constants) - len(tables) :]
        states = step(x, *given, *weights, *tables_of_step)
        return states[-1].clone(), torch.stack(states) if history else states[-1][:1, :1].clone()

    last, states = scan(body, x, tuple(tile.transpose(0, 1) for tile in constants))
    return states.flatten(0, 1) if history else last[None]


def history_tile(*tensors: Tensor) -> Tensor:
    """Compute vectorized.history_tile."""
    return walk(True, *tensors)


def reverse_tile(*tensors: Tensor) -> Tensor:
    """Compute vectorized.reverse_tile."""
    return walk(False, *tensors)


OPTIONS: dict[str, Any] = EXACT | {
    "size_asserts": False,
    # Torch caches compiled scans on disk only if told that this is safe. It is safe, because the body is part of the
    # graph and so of the key.
    "unsafe_marked_cacheable_functions": {"torch.ops.higher_order.scan": torch.__version__},
}

reverse_process = functools.partial(
    vectorized.reverse_process,
    normal_tile=normal_tile,
    reverse_tile=Kernel(reverse_tile, **OPTIONS),
    history_tile=Kernel(history_tile, **OPTIONS),
)
