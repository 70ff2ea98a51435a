"""Data and its minibatches: rows without replacement, in an order that depends only on the seed and the epoch."""

import bisect
import functools
import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ddpm.diffusion import Diffusion
from ddpm.recipe import Recipe
from kernels import arguments
from kernels.constants import ORDER, STREAM_SHIFT
from kernels.networks import check_condition
from kernels.reference.noise import key_of, philox

# More than GROUP rows are shuffled in two steps: first blocks of BLOCK neighbouring rows, then the rows of each group
# of blocks. A group fits in memory (it needs 100 MB while it is sorted), and its rows lie in few places on a disk.
GROUP, BLOCK = 2**20, 2**12


def permutation(count: int, seed: int, epoch: int, stream: int = ORDER, part: int = 0, first: int = 0) -> Tensor:
    """Return a random order of `count` rows for an epoch, [count] int64 on the CPU.

    The rows are sorted by 62 random bits each. `first` is the index of row 0 in the stream, and each `part` has other
    random bits.
    """
    row = torch.arange(first, first + count)
    constant = torch.zeros_like(row)
    counter = (row, constant + part, constant + epoch, constant + (stream << STREAM_SHIFT))
    high, low, *_ = philox(counter, key_of(seed))
    return torch.argsort((high >> 1 << 31) + (low >> 1), stable=True)


class Batches:
    """The rows of each iteration: the orders of all epochs, one after the other, cut into batches.

    A batch may end one epoch and begin the next, so that all rows are used equally often.

    Args:
        count: N, the number of rows.
        size: rows per batch, from 1 to N.
        seed: seed of the stream.
        first: index of row 0 in the stream, so that each shard of a table has a different order.
    """

    def __init__(self, count: int, size: int, seed: int, first: int = 0) -> None:
        self.count, self.size, self.seed, self.first = count, size, seed, first
        self.groups = functools.lru_cache(maxsize=2)(self._groups)
        self.group = functools.lru_cache(maxsize=2)(self._group)

    def rows(self, iteration: int) -> Tensor:
        """Return the row indices of an iteration, [size] int64."""
        epoch, at = divmod(iteration * self.size, self.count)
        found, missing = [], self.size
        while missing > 0:
            starts, _ = self.groups(epoch)
            group = bisect.bisect_right(starts, at) - 1
            begin = at - starts[group]
            found.append(self.group(epoch, group)[begin : begin + missing])
            missing -= len(found[-1])
            at += len(found[-1])
            if at == self.count:
                epoch, at = epoch + 1, 0
        return found[0] if len(found) == 1 else torch.cat(found)

    def _groups(self, epoch: int) -> tuple[list[int], Sequence[Tensor]]:
        """Return where the groups of an epoch begin, and the blocks of each group."""
        if self.count <= GROUP:
            return [0], []
        blocks = self._permutation(-(-self.count // BLOCK), epoch, part=1)
        groups = blocks.split(GROUP // BLOCK)
        lengths = [int((self.count - BLOCK * group).clamp(max=BLOCK).sum()) for group in groups]
        return [0, *itertools.accumulate(lengths[:-1])], groups

    def _group(self, epoch: int, group: int) -> Tensor:
        """Return the row indices of a group in the order of an epoch."""
        if self.count <= GROUP:
            return self._permutation(self.count, epoch)
        rows = (BLOCK * self.groups(epoch)[1][group].unsqueeze(1) + torch.arange(BLOCK)).flatten()
        rows = rows[rows < self.count]
        return rows[self._permutation(len(rows), epoch, part=2 + group)]

    def _permutation(self, count: int, epoch: int, part: int = 0) -> Tensor:
        return permutation(count, self.seed, epoch, part=part, first=self.first)


class Rows(NamedTuple):
    """Data [N, D], and the condition [N, C] if the network is conditioned."""

    x0: Tensor
    condition: Tensor | None

    def check(self, name: str, diffusion: Diffusion) -> None:
        """Raise an error if `diffusion` cannot use these rows. Call this before any kept weights are changed."""
        diffusion.check_points(name, self.x0)
        arguments.points(name, self.x0)
        dtypes = {p.dtype for p in diffusion.parameters()}
        if len(dtypes) == 1 and self.x0.dtype not in dtypes:
            raise TypeError(f"{name} must be {dtypes.pop()}, the dtype of the network; got {self.x0.dtype}")
        if self.x0.requires_grad:
            raise ValueError(f"{name} requires grad, but only the network is trained: detach it")
        width = 0 if not isinstance(self.condition, Tensor) else self.condition.shape[-1]
        needed = getattr(diffusion.network, "condition_dim", width)
        check_condition(needed, self.condition, len(self.x0), f"condition of {name}")

    def at(self, rows: Tensor | slice) -> "Rows":
        """Return some of the rows."""
        return Rows(self.x0[rows], None if self.condition is None else self.condition[rows])

    def backward(self, diffusion: Diffusion, recipe: Recipe, step: int | Tensor, first: int = 0) -> Tensor:
        """Return the loss of a training iteration, and add its gradients to those of the parameters.

        `first` is the index of row 0 in the noise stream.
        """
        return diffusion.backward(
            self.x0,
            seed=recipe.seed,
            step=step,
            first=first,
            closed_form=recipe.closed_form,
            draws=recipe.draws,
            condition=self.condition,
        )

    def order(self, recipe: Recipe) -> Callable[[int], Tensor] | None:
        """Return a function from an iteration to the row indices of its batch, or None if a batch is all rows."""
        if recipe.batch_size is None:
            return None
        return Batches(len(self.x0), recipe.batch_size, recipe.seed).rows
