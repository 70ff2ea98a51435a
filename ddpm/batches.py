"""Minibatches: rows without replacement, in an order that depends on the seed and the epoch alone."""

import functools

import torch
from torch import Tensor

from kernels.constants import ORDER, STREAM_SHIFT
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
