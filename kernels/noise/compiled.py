"""The noise stream under torch.compile."""

import functools

from kernels.compiled.noise import normal_tile
from kernels.noise import vectorized

operations = vectorized.operations
normal = functools.partial(vectorized.normal, normal_tile=normal_tile)
