"""The forward process under torch.compile."""

import functools

from kernels.compiled.compiler import Kernel
from kernels.compiled.noise import normal_tile
from kernels.forward_process import vectorized
from kernels.vectorized import chain

operations = vectorized.operations
forward_process = functools.partial(
    vectorized.forward_process, normal_tile=normal_tile, trajectory_tile=Kernel(chain.trajectory_tile)
)
