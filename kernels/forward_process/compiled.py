"""The forward process under torch.compile."""

import functools

from kernels.compiler import Kernel
from kernels.forward_process import vectorized
from kernels.noise.compiled import normal_tile

trajectory_tile = Kernel(vectorized.trajectory_tile)
forward_process = functools.partial(
    vectorized.forward_process, normal_tile=normal_tile, trajectory_tile=trajectory_tile
)
