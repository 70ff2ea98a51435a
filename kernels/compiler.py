"""torch.compile as the kernels need it: once for each combination of shapes, and never again."""

import types
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

# Each of these moved a measurement, on two AVX2 cores at the tutorial's size.
OPTIONS: dict[str, Any] = {
    # one loop for all sums over a row, and for all four rows of normals
    "cpp.max_horizontal_fusion_size": 128,
    "max_fusion_size": 1000,
    # multiply-adds, and sums in vector order: what a hand-written kernel would do
    "cpp.enable_unsafe_math_opt_flag": True,
    "cpp.enable_floating_point_contract_flag": "fast",
    # skips building and running a test program at the first compilation: 4 instead of 9 s
    "cpp.vec_isa_ok": True,
    # An intermediate that is used twice is traced twice unless it is made a buffer, at every level again: without a
    # limit, ten rounds of Philox take minutes to compile. Buffers that one loop both writes and reads vanish.
    "realize_opcount_threshold": 15,
    "realize_acc_reads_threshold": 100,
}


class Kernel:
    """`function` of float32 and int32 tensors, all contiguous, compiled at its first call for their shapes and device.

    Every combination gets a code object of its own: torch.compile stops after 8 recompilations of one.
    With `dynamic`, one compilation serves all shapes with the same sizes equal to each other, and none equal to 1.
    """

    def __init__(self, function: Callable[..., Any], *, dynamic: bool = False, **options: Any) -> None:
        self.function = function
        self.dynamic = dynamic
        self.options = OPTIONS | options
        self.compiled: dict[tuple[Any, ...], Callable[..., Any]] = {}

    def __call__(self, *tensors: Tensor) -> Any:
        shapes = tuple(tensor.shape for tensor in tensors)
        pattern = tuple(map(shapes.index, shapes)) if self.dynamic else shapes
        key = (tensors[0].device, torch.get_num_threads(), torch.get_default_dtype(), pattern)
        kernel = self.compiled.get(key)
        if kernel is None:
            kernel = self.compiled[key] = self._compile()
        with torch.no_grad():  # always: a kernel called with and without gradients would be compiled twice
            return kernel(*tensors)

    def _compile(self) -> Callable[..., Any]:
        source = self.function
        code = source.__code__.replace(co_name=f"{source.__name__}_{len(self.compiled)}")
        copy = types.FunctionType(code, source.__globals__, code.co_name, source.__defaults__, source.__closure__)
        # the key says all that a guard would, and guards on 20 tensors take 30 us
        options = self.options | vector_width() | {"guard_filter_fn": torch.compiler.skip_all_guards_unsafe}
        return torch.compile(copy, fullgraph=True, dynamic=self.dynamic, options=options)


def vector_width() -> dict[str, str]:
    """On AVX-512, keep GCC from moving 64-byte vectors in halves, as it prefers to.

    A float seen as an int32 goes through memory in the generated code. Stored in halves and loaded whole, it waits
    until both are written: 1.5 times the time of the bound.
    """
    known = "cpp.march" in torch._inductor.list_options()  # not in torch 2.11
    if not known or torch.backends.cpu.get_cpu_capability() != "AVX512":
        return {}
    return {"cpp.march": "native -mprefer-vector-width=512"}
