"""The noise stream under torch.compile: one loop over the counters of a tile, compiled once for all sizes."""

import functools

from kernels.compiler import Kernel
from kernels.noise import vectorized

normal_tile = Kernel(vectorized.normal_tile, dynamic=True)
normal = functools.partial(vectorized.normal, normal_tile=normal_tile)
