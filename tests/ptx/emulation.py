"""Make Triton compile for a GPU that is not there, and run the compiled kernels on CPU tensors, in this process.

Everything up to the PTX is Triton's own: the front end, the specialisation of arguments, the cache, the launch. Only
the driver is replaced, and the initialisation of a compiled kernel, which would load its machine code.
"""

import ctypes
import functools
import sys
from collections.abc import Callable
from typing import Any

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler.compiler import CompiledKernel
from triton.runtime import driver

from ptx import memory, parser
from ptx.machine import Machine

KNOWN = ("3.6", "3.7")
"""The versions of Triton whose launch this file knows."""

limit = 10**7
"""The number of instructions after which a kernel counts as endless."""

transform: Callable[[parser.Kernel], parser.Kernel] = lambda kernel: kernel  # noqa: E731
"""A function that may change a kernel before it runs: by default it does not; ptx.mutants makes mutants with it."""


class Driver:
    """The driver of a GPU with a compute capability: only the methods that a launch calls."""

    def __init__(self, capability: int) -> None:
        self.capability = capability

    def get_current_target(self) -> GPUTarget:
        return GPUTarget("cuda", self.capability, 32)

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: int) -> int:
        return 0

    def get_active_torch_device(self) -> torch.device:
        return torch.device("cpu")


def start(capability: int) -> None:
    """Emulate a GPU with a compute capability (90 is sm_90) from now on.

    Raises:
        RuntimeError: this version of Triton is not one of KNOWN.
    """
    if not triton.__version__.startswith(tuple(f"{version}." for version in KNOWN)):
        raise RuntimeError(f"the emulation knows Triton {' and '.join(KNOWN)}; {triton.__version__} is installed")
    triton.knobs.runtime.interpret = False
    driver.set_active(Driver(capability))

    def initialise(compiled: CompiledKernel) -> None:
        compiled._run = functools.partial(_launch, compiled)
        compiled.function = compiled.module = compiled

    CompiledKernel._init_handles = initialise


def _launch(
    compiled: CompiledKernel,
    x: int,
    y: int,
    z: int,
    stream: int,
    function: Any,
    packed: Any,
    metadata: Any,
    enter: Any,
    leave: Any,
    *values: Any,
) -> None:
    """Run a compiled kernel, instead of Triton's launcher."""
    kernel = transform(_parsed(compiled.asm["ptx"]))
    tensors = memory.Tensors()
    kinds = compiled.src.signature.values()
    arguments = [_bits(value, kind, tensors) for kind, value in zip(kinds, values, strict=True) if kind != "constexpr"]
    # Triton then passes scratch memory, which no kernel here uses: its address is 0, where an access is an error
    arguments += [0] * (len(kernel.parameters) - len(arguments))
    Machine(kernel, (x, y, z), arguments, tensors, compiled.metadata.shared, limit).run()


@functools.cache
def _parsed(text: str) -> parser.Kernel:
    return parser.parse(text)


def _bits(value: Any, kind: str, tensors: memory.Tensors) -> int:
    """Return an argument as the bits of its parameter."""
    if isinstance(value, torch.Tensor):
        return tensors.add(value)
    if kind.startswith("fp"):
        number = {"fp32": ctypes.c_float, "fp64": ctypes.c_double}[kind](value)
        return int.from_bytes(bytes(number), sys.byteorder)
    return int(value)
