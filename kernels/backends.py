"""The backends, one object for each, and how one of them is chosen."""

import functools
import importlib
import importlib.metadata
import importlib.util
import itertools
import os
import shutil
import sys
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

import torch

from kernels.native.library import problem
from kernels.networks import MLPPair
from kernels.triton import sizes

TRITON = (3, 6)  # the oldest version that has what the kernels use
# The largest D and D times H that `native` holds: a thread needs 256 bytes times D H, and 3 kB times D.
NATIVE_DIM, NATIVE_SIZE = 2**14, 2**20
# The largest layer and the most inputs of its kernel for drawn terms. For wider layers a library's matrix products are
# faster, because their blocks fit the caches (measured with two layers of 512 and of 1024 units). A thread needs 3 kB
# for each unit and each input.
NATIVE_WIDTH, NATIVE_INPUTS = 512, 2**12


# Passed to `refuses` as the op: the kernel for drawn terms of the bound may hold other networks than that for all terms
DRAWN = "drawn terms"


class BackendUnavailable(RuntimeError):
    """Raised when a backend exists but cannot run here. The message says why and what would make it available."""


@dataclass(frozen=True, eq=False)
class Backend:
    """One way to compute the ops.

    A kernel *holds* a network if the kernel itself computes it. Any other network is called, as a Python function.

    Attributes:
        name: the name that users give, and the name of its files: kernels/<op>/<name>.py.
        missing: takes a type of device. Returns why the backend cannot run on it and what would make it available, or
            None if it can run.
        refuses: takes a pair of perceptrons and an op. Returns why the kernel for the op cannot hold the pair, or None
            if it can.
        default_on: the types of device on which it may be chosen when no backend is named. None means any.
        any_dtype: whether it computes in dtypes other than float32.
        closed_form: whether its kernel for the bound also has the closed form. If not, networks are called for it.
        drawn: whether it has a kernel for drawn terms of the closed form.
        by_autograd: whether it calls every network and leaves the gradients to autograd.
        in_cuda_graphs: whether a training step can be recorded in a CUDA graph.
        ops: the implementations by op, if they are not in its files.
    """

    name: str
    missing: Callable[[str], str | None] = lambda device_type: None
    refuses: Callable[[MLPPair, str], str | None] = lambda pair, op: None
    default_on: tuple[str, ...] | None = None
    any_dtype: bool = False
    closed_form: bool = False
    drawn: bool = False
    by_autograd: bool = False
    in_cuda_graphs: bool = False
    ops: Mapping[str, Any] | None = None

    def why_called(self, pair: MLPPair | None, op: str, closed_form: bool = False, drawn: bool = False) -> str | None:
        """Return why a network is called for `op`, or None if the kernel holds it.

        `pair` is None for a network that is not a pair of perceptrons.
        """
        if self.by_autograd:
            return f"backend {self.name!r} calls every network"
        if pair is None:
            return "what the network computes is known only from calling it"
        if closed_form and not self.closed_form:
            return f"backend {self.name!r} has no kernel for the bound in closed form"
        if drawn and not (closed_form and self.drawn):
            return f"backend {self.name!r} has no kernel for drawn terms" + (" of Eq. 3" if self.drawn else "")
        return self.refuses(pair, DRAWN if drawn else op)

    def holds(
        self, pair: MLPPair | None, op: str, closed_form: bool = False, drawn: bool = False
    ) -> TypeGuard[MLPPair]:
        """Return whether the kernel for `op` holds `pair`. It never holds None, a network that is not a pair."""
        return self.why_called(pair, op, closed_form, drawn) is None

    def implementation(self, op: str) -> Any:
        """Return the module or object that computes `op`.

        It is imported at its first use, because Triton and torch's compiler are slow to import.

        Raises:
            ValueError: the backend does not have the op.
        """
        found = self._find(op)
        if found is None:
            listed = ", ".join(filter(self._find, ops()))
            raise ValueError(f"backend {self.name!r} has no {op}; it has {listed}")
        return found

    def _find(self, op: str) -> Any:
        return _module(f"kernels.{op}.{self.name}") if self.ops is None else self.ops.get(op)

    def has(self, op: str) -> bool:
        """Return whether the backend computes `op`."""
        return self._find(op) is not None

    def check_dtype(self, name: str, dtype: torch.dtype) -> None:
        """Raise TypeError unless the backend computes in `dtype`, the dtype of the argument called `name`."""
        if not self.any_dtype and dtype != torch.float32:
            raise TypeError(f"{name} must be float32 for backend {self.name!r}; got {dtype}")


def ops() -> list[str]:
    """Return the names of the ops: the folders that have a reference."""
    return sorted(path.parent.name for path in Path(__file__).parent.glob("*/reference.py"))


@functools.cache
def _module(name: str) -> Any:
    package, _, _ = name.rpartition(".")
    if importlib.util.find_spec(package) is None or importlib.util.find_spec(name) is None:
        return None
    return importlib.import_module(name)


def _no_compiler(device_type: str) -> str | None:
    if device_type == "cpu":
        compiler = os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")
        if shutil.which(compiler) is None:
            return f"torch.compile needs a C++ compiler and {compiler!r} is not on PATH: install it or set CXX"
    elif device_type == "cuda" and importlib.util.find_spec("triton") is None:
        return "torch.compile needs Triton on CUDA: pip install triton"
    return None


def _no_triton(device_type: str) -> str | None:
    if device_type != "cuda" and os.environ.get("TRITON_INTERPRET") != "1":
        return (
            f"it needs a CUDA device, and the tensors are on {device_type!r} (set TRITON_INTERPRET=1 to interpret it)"
        )
    try:
        version = importlib.metadata.version("triton")
    except importlib.metadata.PackageNotFoundError:
        return "Triton is not installed: pip install triton"
    if tuple(int(part) for part in version.split(".")[:2]) < TRITON:
        return f"it needs Triton {'.'.join(map(str, TRITON))} or later, and {version} is installed"
    if device_type == "cuda" and not torch.cuda.is_available():
        return "torch finds no CUDA device"
    return None


def _no_library(device_type: str) -> str | None:
    if device_type != "cpu":
        return f"it runs on CPUs, and the tensors are on {device_type!r}"
    return problem()


def _single(pair: MLPPair) -> str | None:
    """Return why kernels in float32 cannot hold a pair, or None if they can."""
    return None if pair.dtype == torch.float32 else f"its kernels hold networks in float32; got {pair.dtype}"


def _one_hidden_layer(pair: MLPPair, op: str = "") -> str | None:
    """Return why kernels for one hidden layer cannot hold a pair, or None if they can."""
    if reason := _single(pair):
        return reason
    if pair.activation != "relu":
        return f"its kernels hold networks with the activation 'relu'; got {pair.activation!r}"
    if pair.trunk:
        return "its kernels hold networks whose mean and std share no layer"
    if pair.features:
        return "its kernels hold networks without Fourier features"
    if pair.condition_dim:
        return "its kernels hold networks that are not conditioned"
    mean, std = pair.hidden
    if not all(mean + std):
        return f"its kernels hold layers of at least one unit; got widths {mean} and {std}"
    if len(mean) != 1 or mean != std:
        return f"its kernels hold one hidden layer of the same width in both networks; got widths {mean} and {std}"
    return None


def _small(pair: MLPPair, op: str) -> str | None:
    return _one_hidden_layer(pair) or sizes.refuses(pair.dim, pair.hidden[0][0])


def _native(pair: MLPPair, op: str) -> str | None:
    if op not in ("reverse_process", DRAWN):
        reason = _one_hidden_layer(pair)
    elif not all(pair.hidden) or not all(itertools.chain(*pair.hidden)):
        reason = f"its kernels hold hidden layers of at least one unit; got widths {pair.hidden}"
    elif pair.trunk and len(pair.mean) + len(pair.std) > 2:
        reason = "its kernels hold networks whose mean and std share all hidden layers, or none"
    else:
        reason = _single(pair)
    widest = max(pair.dim, *itertools.chain(*pair.hidden), 1)
    if (
        reason is None
        and op == DRAWN
        and (max(itertools.chain(*pair.hidden)) > NATIVE_WIDTH or pair.inputs > NATIVE_INPUTS)
    ):
        reason = f"its kernel for drawn terms holds layers of up to {NATIVE_WIDTH} units and {NATIVE_INPUTS} inputs"
    if reason is None and (pair.dim > NATIVE_DIM or widest * pair.dim > NATIVE_SIZE):
        reason = f"its kernels hold D up to {NATIVE_DIM} and D times H up to {NATIVE_SIZE}; got {pair.dim} and {widest}"
    return reason


# From the specification to the fastest. If no backend is named, the last one that can run is chosen.
REGISTERED: dict[str, Backend] = {
    backend.name: backend
    for backend in (
        Backend("reference", any_dtype=True, by_autograd=True),
        Backend("vectorized", refuses=_one_hidden_layer),
        Backend("compiled", missing=functools.cache(_no_compiler), refuses=_one_hidden_layer, default_on=()),
        Backend(
            "triton",
            missing=functools.cache(_no_triton),
            refuses=_small,
            default_on=("cuda",),
            in_cuda_graphs=True,
        ),
        Backend(
            "native",
            missing=functools.cache(_no_library),
            refuses=_native,
            closed_form=True,
            drawn=True,
            default_on=("cpu",),
        ),
    )
}


def get(name: str) -> Backend:
    """Return the backend called `name`.

    Raises:
        ValueError: there is no such backend.
    """
    if name not in REGISTERED:
        raise ValueError(f"backend must be one of {', '.join(REGISTERED)}, or None; got {name!r}")
    return REGISTERED[name]


def choose(name: str | None, device_type: str = "cpu", dtype: torch.dtype = torch.float32) -> Backend:
    """Return the backend called `name`, or the best one for `dtype` on `device_type` if `name` is None.

    If the best one cannot run here, the next best is returned with a RuntimeWarning that says why.

    Raises:
        ValueError: there is no such backend, or `device_type` is "meta".
        BackendUnavailable: the backend exists but cannot run here.
    """
    return REGISTERED[able(name, device_type, dtype)]


def able(name: str | None, device_type: str, dtype: torch.dtype) -> str:
    """Return the name of the backend that `choose` returns."""
    if device_type == "meta":
        raise ValueError("tensors on the device 'meta' have no values to compute with")
    if name is None:
        wanted = [
            backend
            for backend in REGISTERED.values()
            if (backend.default_on is None or device_type in backend.default_on)
            and (backend.any_dtype or dtype == torch.float32)
        ]
        found = [backend for backend in wanted if backend.missing(device_type) is None][-1]
        if found is not wanted[-1]:
            why = wanted[-1].missing(device_type)
            _warn(f"backend {found.name!r} is used, because {wanted[-1].name!r} is not available: {why}")
        return found.name
    if reason := get(name).missing(device_type):
        raise BackendUnavailable(f"backend {name!r} is not available: {reason}")
    return name


@functools.cache
def _warn(message: str) -> None:
    warnings.warn(message, RuntimeWarning, stacklevel=3)


# This is what torch.compiler.assume_constant_result does. A call of it would import the whole compiler.
able._dynamo_marked_constant = True  # type: ignore[attr-defined]


def check_somewhere(name: str | None, device_type: str) -> None:
    """Raise unless `name` is None or a backend that can run on `device_type` or on a CUDA device of this machine.

    CUDA counts because the model may move there later.
    """
    if name is not None and (not torch.cuda.is_available() or get(name).missing("cuda") is not None):
        choose(name, device_type)


def available() -> dict[str, str]:
    """Return "available" for each backend, or why it is not: on CUDA if there is a CUDA device, else on the CPU."""
    device_type = "cuda" if torch.cuda.is_available() else "cpu"
    return {name: backend.missing(device_type) or "available" for name, backend in REGISTERED.items()}


def device_type_for(name: str | None) -> str:
    """Return "cuda" if there is a CUDA device and `name` is not a backend that runs on the CPU, else "cpu"."""
    on_cpu = name is not None and get(name).missing("cpu") is None
    return "cuda" if torch.cuda.is_available() and not on_cpu else "cpu"
