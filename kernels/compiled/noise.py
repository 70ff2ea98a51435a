"""The noise of a tile under torch.compile: one loop over its counters, compiled once for all sizes."""

from kernels.compiled.compiler import Kernel
from kernels.vectorized import noise

normal_tile = Kernel(noise.normal_tile, dynamic=True)
