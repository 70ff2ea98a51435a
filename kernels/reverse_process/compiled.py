"""The reverse process under torch.compile: a scan over the groups of a tile, whose body is one loop over samples.

The scan is a loop in the generated wrapper, so that code size and compile time do not grow with T. Each of its
iterations costs 6 us, whatever it does. Small networks therefore have their units unrolled, as in the variational
bound, and GROUPS groups too: a state stays in registers for 8 steps. What remains is latency: each step waits for the
one before, some 130 cycles by the latencies of its operations, and a core looks ahead over little more than one vector
of samples.

Limits for a (sample, step): 4 H (D + 1) + 60 operations, 4 D bytes read (the noise) and 4 D written.
"""

import functools
import itertools

import torch
from torch import Tensor
from torch._higher_order_ops import scan

from kernels import gaussian
from kernels.compiler import Kernel
from kernels.noise.compiled import normal_tile
from kernels.reverse_process import vectorized
from kernels.tiles import is_small

GROUPS = 2  # 1, 2, 4: 0.79, 0.64 and 0.60 ms at the tutorial's size, and 4, 8 and 13 s to compile


def groups_unrolled(x: Tensor, eps: Tensor, time: Tensor, exists: Tensor, *weights: Tensor) -> tuple[Tensor, Tensor]:
    """As vectorized.group, for eps [4, GROUPS, D, width] and time, exists [4, GROUPS]."""
    dim = len(x)
    states = []
    for k, i in itertools.product(range(GROUPS), (3, 2, 1, 0)):
        outputs = []
        for w1, b1, w2, b2 in (weights[:4], weights[4:]):
            at_time = w1[:, dim] * time[i, k] + b1
            # sums of so few terms that the compiler unrolls them
            z = (w1[:, :dim, None] * x).sum(1) + at_time[:, None]  # [H, width]
            outputs.append((w2[:, :, None] * torch.relu(z)).sum(1) + b2[:, None])
        mean, s = outputs
        x = torch.where(exists[i, k], mean + gaussian.std_inlined(s)[0] * eps[i, k], x)
        states.append(x)
    return x.clone(), torch.stack(states)


def reverse_tile(x: Tensor, eps: Tensor, time: Tensor, exists: Tensor, *weights: Tensor) -> Tensor:
    """As vectorized.reverse_tile."""
    small = is_small(len(x), len(weights[1]))

    def body(x: Tensor, constants: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        return (groups_unrolled if small else vectorized.group)(x, *constants, *weights)

    def iterations(tile: Tensor) -> Tensor:
        return (tile.unflatten(1, (-1, GROUPS)) if small else tile).transpose(0, 1)

    return scan(body, x, tuple(iterations(tile) for tile in (eps, time, exists)))[1]


# torch does not keep compiled scans on disk unless told that it may: the body is part of the graph, hence of the key
CACHED = {"torch.ops.higher_order.scan": torch.__version__}

reverse_process = functools.partial(
    vectorized.reverse_process,
    normal_tile=normal_tile,
    reverse_tile=Kernel(reverse_tile, size_asserts=False, unsafe_marked_cacheable_functions=CACHED),
)
