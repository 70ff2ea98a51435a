"""One step of the reverse process, its noise under torch.compile."""

import functools

from kernels.compiled.noise import normal_tile
from kernels.reverse_step import vectorized

reverse_step = functools.partial(vectorized.reverse_step, normal_tile=normal_tile)
