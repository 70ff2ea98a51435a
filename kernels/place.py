"""A place in the noise stream: the seed, the training iteration and the index of the first sample."""

from typing import NamedTuple

import torch
from torch import Tensor

from kernels import arguments

# The index of a sample has 48 bits. Its upper 16 bits share a word of the counter with the 16 bits of the group of four
# steps.
MOST_SAMPLES, MOST_STEPS = 2**48, 2**18


class Place(NamedTuple):
    """Where a call draws its noise.

    Attributes:
        seed: a 64-bit integer.
        step: the training iteration, an int or a 0-d integer tensor on the device.
        first: the index of row 0 in the stream. The indices of all rows must be below 2^48.
    """

    seed: int = 0
    step: int | Tensor = 0
    first: int = 0

    def checked(self, count: int, device: torch.device) -> "Place":
        """Check the place for `count` samples on `device`, and return it with plain ints. A tensor `step` is kept.

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
            raise ValueError(f"step is on {step.device}, but the data is on {device}")
        if device.type == "cpu":  # reading it from a GPU would wait for the GPU
            arguments.integer("step", step, 0, 2**32 - 1)
        return Place(seed, step, first)

    def before_carry(self, count: int) -> int:
        """Return how many of `count` samples have the same upper 16 bits of the index as the first."""
        return min(count, 2**32 - self.first % 2**32)

    def after(self, samples: int) -> "Place":
        """Return the place that begins `samples` samples later."""
        return self._replace(first=self.first + samples)
