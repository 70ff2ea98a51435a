"""Data, and minibatches of it: rows without replacement, in an order that depends on the seed and the epoch alone."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from ddpm.diffusion import Diffusion
from ddpm.recipe import Recipe
from kernels import arguments
from kernels.constants import ORDER, STREAM_SHIFT
from kernels.networks import check_condition
from kernels.reference.noise import key_of, philox


def permutation(count: int, seed: int, epoch: int, stream: int = ORDER) -> Tensor:
    """Return the order of `count` rows in an epoch, [count] int64 on the CPU, from 62 bits of a stream for each."""
    row = torch.arange(count)
    constant = torch.zeros_like(row)
    counter = (row, constant, constant + epoch, constant + (stream << STREAM_SHIFT))
    high, low, *_ = philox(counter, key_of(seed))
    return torch.argsort((high >> 1 << 31) + (low >> 1), stable=True)


class Batches:
    """The rows of each iteration: one epoch's order after the other, cut into batches.

    A batch may end one epoch and begin the next, so that every row is used as often.

    Args:
        count: N, how many rows there are.
        size: rows a batch, from 1 to N.
        seed: of the stream.
    """

    def __init__(self, count: int, size: int, seed: int) -> None:
        self.count, self.size = count, size
        self.order = functools.lru_cache(maxsize=2)(lambda epoch: permutation(count, seed, epoch))

    def rows(self, iteration: int) -> Tensor:
        """Return the rows of an iteration, [size] int64."""
        begin = iteration * self.size
        epoch, at = divmod(begin, self.count)
        rows = self.order(epoch)[at : at + self.size]
        missing = self.size - len(rows)
        return rows if missing == 0 else torch.cat((rows, self.order(epoch + 1)[:missing]))


class Rows(NamedTuple):
    """Data [N, D], and what the network is conditioned on [N, C]."""

    x0: Tensor
    condition: Tensor | None

    def check(self, name: str, diffusion: Diffusion) -> None:
        """Raise unless `diffusion` can take them: before any weights that are kept are touched."""
        diffusion.check_points(name, self.x0)
        arguments.points(name, self.x0)
        dtypes = {p.dtype for p in diffusion.parameters()}
        if len(dtypes) == 1 and self.x0.dtype not in dtypes:
            raise TypeError(f"{name} must be {dtypes.pop()}, the dtype of the network; got {self.x0.dtype}")
        if self.x0.requires_grad:
            raise ValueError(f"{name} requires grad, but training is of the network only: detach it")
        width = 0 if not isinstance(self.condition, Tensor) else self.condition.shape[-1]
        needed = getattr(diffusion.network, "condition_dim", width)
        check_condition(needed, self.condition, len(self.x0), f"condition of {name}")

    def at(self, rows: Tensor) -> "Rows":
        """Return some of them."""
        return Rows(self.x0[rows], None if self.condition is None else self.condition[rows])

    def order(self, recipe: Recipe) -> Callable[[int], Tensor] | None:
        """Return iteration -> the rows of its batch; None where a batch is all of them."""
        if recipe.batch_size is None:
            return None
        return Batches(len(self.x0), recipe.batch_size, recipe.seed).rows
