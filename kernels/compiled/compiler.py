"""torch.compile as the kernels need it: once for each combination of shapes, and never again."""

import contextlib
import functools
import hashlib
import math
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch._inductor.exc import CppCompileError, InvalidCxxCompiler
from torch._inductor.runtime.cache_dir_utils import cache_dir

from kernels.backends import BackendUnavailable

# Each of these changed a measurement, on two AVX2 cores at the tutorial's size.
OPTIONS: dict[str, Any] = {
    # one loop for all sums over a row, and for all four rows of normals
    "cpp.max_horizontal_fusion_size": 128,
    "max_fusion_size": 1000,
    # multiply-adds, and sums in vector order: what a hand-written kernel would do
    "cpp.enable_unsafe_math_opt_flag": True,
    "cpp.enable_floating_point_contract_flag": "fast",
    # skips building and running a test program at the first compilation: 4 instead of 9 s
    "cpp.vec_isa_ok": True,
    # An intermediate that is used twice is traced twice, at every level again, unless it is made a buffer. Without a
    # limit, ten rounds of Philox take minutes to compile. Buffers that one loop both writes and reads are removed.
    "realize_opcount_threshold": 15,
    "realize_acc_reads_threshold": 100,
}

# Every operation is rounded on its own, in the order in which it is written. Two kernels that do the same to an element
# then give the same bits, whatever else they do. Sampling with history and without are two such kernels. Neither has
# sums over a row. The price is 1 to 3 % of sampling's time (7 to 10 % with five dimensions).
EXACT: dict[str, Any] = {"cpp.enable_unsafe_math_opt_flag": False, "cpp.enable_floating_point_contract_flag": "off"}

# torch 2.11 can compile ahead of time too, but not everything that the kernels do, and this option is off or missing
# there. On CUDA it has never been tried.
AHEAD_OF_TIME = getattr(torch._dynamo.config, "enable_aot_compile", False)


class Kernel:
    """A compiled `function` of contiguous float32 and int32 tensors.

    It is compiled at its first call for a combination of shapes, device, number of threads and default dtype. Each
    combination is compiled as a function of its own, because torch.compile stops after 8 recompilations of one
    function. With `dynamic`, one compilation serves all calls in which the same tensors have equal shapes, if no size
    is 1.
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
        with torch.no_grad():  # always: a kernel called with and without gradients would be compiled twice
            if kernel is not None:
                return kernel(*tensors)
            with broken_compiler_in_a_line(), subnormals_kept():
                kernel = self._ready(key, tensors)
                found = kernel(*tensors)
            self.compiled[key] = kernel
            return found

    def _ready(self, key: tuple[Any, ...], tensors: tuple[Tensor, ...]) -> Callable[..., Any]:
        options = self.options | vector_width()
        if key[0].type != "cpu" or not AHEAD_OF_TIME:
            return self._compile(options)
        # A kernel that is loaded from disk may be built again, with the options that are set here. Without
        # specialize_float, floats of a module would become arguments of a dynamic kernel, at 6 us each.
        with torch._inductor.config.patch(options), torch._dynamo.config.patch(specialize_float=True):
            compile_now = functools.partial(self._compile, options)
            return kept_on_disk(self.function, (key, options), compile_now, tensors)

    def _compile(self, options: dict[str, Any]) -> Any:
        source = self.function
        code = source.__code__.replace(co_name=f"{source.__name__}_{len(self.compiled)}")
        copy = types.FunctionType(code, source.__globals__, code.co_name, source.__defaults__, source.__closure__)
        # the key covers everything that guards would check, and guards on 20 tensors take 30 us
        unguarded = options | {"guard_filter_fn": torch.compiler.skip_all_guards_unsafe}
        return torch.compile(copy, fullgraph=True, dynamic=self.dynamic, options=unguarded)


@contextlib.contextmanager
def broken_compiler_in_a_line() -> Iterator[None]:
    """Report a failure of the C++ compiler in one line instead of the hundred lines of torch."""
    try:
        yield
    except torch._dynamo.exc.BackendCompilerFailed as error:
        inner = error.inner_exception
        if not isinstance(inner, CppCompileError | InvalidCxxCompiler):
            raise
        lines = str(inner).splitlines()
        said = next((line for line in lines if "error:" in line), lines[0]).strip()
        message = f"backend 'compiled' is not available: {said}: install a C++ compiler that works, or set CXX"
        raise BackendUnavailable(message) from None


@contextlib.contextmanager
def subnormals_kept() -> Iterator[None]:
    """Keep this thread's treatment of subnormal numbers: loading a library of GCC before 13 makes it flush them."""
    flushed = flushes_subnormals()
    try:
        yield
    finally:
        torch.set_flush_denormal(flushed)


def flushes_subnormals() -> bool:
    """Return whether this thread flushes subnormal numbers to 0."""
    return math.ldexp(1.0, -1074) * math.ldexp(1.0, 0) == 0


def kept_on_disk(
    function: Callable[..., Any], key: tuple[Any, ...], compile_now: Callable[[], Any], tensors: tuple[Tensor, ...]
) -> Callable[..., Any]:
    """Return the result of compile_now() for `function` and tensors like these, cached on disk beside torch's cache.

    Torch's own cache saves the compiler's work but not the tracing before it, which takes 5 s for the three kernels of
    the tutorial. Whole functions load in 0.1 s.
    """
    march = getattr(torch._inductor.config.cpp, "march", None)  # not in torch 2.11
    what = (key, source_of_kernels(), torch.__version__, torch.backends.cpu.get_cpu_capability(), march)
    digest = hashlib.sha256(repr(what).encode()).hexdigest()
    path = Path(cache_dir()) / "fused_ddpm" / f"{function.__name__}_{digest[:32]}"
    try:
        with path.open("rb") as file:
            ready: Any = torch.compiler.load_compiled_function(file, f_globals=function.__globals__ | {"torch": torch})
    except Exception:  # missing, damaged, or from another Python: compile in every case
        path.parent.mkdir(parents=True, exist_ok=True)
        ready = compile_now().aot_compile((tensors, {}))
        ready.save_compiled_function(str(path))
    ready.disable_guard_check()
    return ready


@functools.cache
def source_of_kernels() -> str:
    """Return a digest of all code of `kernels`, because a kernel's function calls other functions of it."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parents[1].rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def vector_width() -> dict[str, str]:
    """Return the option that keeps GCC on AVX-512 from moving 64-byte vectors in halves, as it prefers to.

    In the generated code, a float that is viewed as an int32 goes through memory. If it is stored in halves and loaded
    whole, the load waits until both halves are written: the bound takes 1.5 times as long.
    """
    known = "cpp.march" in torch._inductor.list_options()  # not in torch 2.11
    if not known or torch.backends.cpu.get_cpu_capability() != "AVX512":
        return {}
    return {"cpp.march": "native -mprefer-vector-width=512"}
