"""A place in the noise stream: which seed, which training iteration, and which sample is the first."""

from typing import NamedTuple

import torch
from torch import Tensor

from kernels import arguments

# An index of a sample has 48 bits. The upper 16 share a word of the counter with the group of four steps, which has 16.
MOST_SAMPLES, MOST_STEPS = 2**48, 2**18


class Place(NamedTuple):
    """Where a call draws its noise.

    Attributes:
        seed: 64-bit integer.
        step: training iteration, an int or a 0-d integer tensor on the device.
        first: the stream's index of row 0; those of all rows are below 2^48.
    """

    seed: int = 0
    step: int | Tensor = 0
    first: int = 0

    def checked(self, count: int, device: torch.device) -> "Place":
        """Return the place with plain ints, if `count` samples on `device` can draw there.

        Raises:
            TypeError, ValueError: seed, step or first is of the wrong type or out of range.
        """
        seed = arguments.integer("seed", self.seed, -(2**63), 2**64 - 1)
        first = arguments.integer("first", self.first, 0, MOST_SAMPLES - count)
        step = self.step
        if not isinstance(step, Tensor):
            return Place(seed, arguments.integer("step", step, 0, 2**32 - 1), first)
        if step.dim() != 0 or step.dtype not in (torch.int32, torch.int64):
            raise TypeError(f"step must be an int or a 0-d int tensor; got {step.dtype} of shape {list(step.shape)}")
        if step.device != device:
            raise ValueError(f"step is on {step.device}, but the data on {device}")
        if device.type == "cpu":  # to ask a GPU would be to wait for it
            arguments.integer("step", step, 0, 2**32 - 1)
        return Place(seed, step, first)

    def before_carry(self, count: int) -> int:
        """Return how many of `count` samples have the upper bits of their index in common with the first."""
        return min(count, 2**32 - self.first % 2**32)

    def after(self, samples: int) -> "Place":
        """Return the place of the sample that comes `samples` later."""
        return self._replace(first=self.first + samples)
