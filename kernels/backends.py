"""Which backends exist here, why one does not, and which to take."""

import functools
import importlib.metadata
import importlib.util
import os
import shutil
import sys
from types import ModuleType

import torch

BACKENDS = ("reference", "vectorized", "compiled", "triton")
TRITON = (3, 6)  # the oldest version that has what the kernels use


@functools.cache
def missing(backend: str, device_type: str = "cpu") -> str | None:
    """Why `backend` cannot run on `device_type`, and what would make it available; None if it can."""
    if backend == "compiled":
        return _missing_compiler(device_type)
    if backend == "triton":
        return _missing_triton(device_type)
    return None


def _missing_compiler(device_type: str) -> str | None:
    if device_type == "cpu":
        compiler = os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")
        if shutil.which(compiler) is None:
            return f"torch.compile needs a C++ compiler and {compiler!r} is not on PATH: install it or set CXX"
    elif device_type == "cuda" and importlib.util.find_spec("triton") is None:
        return "torch.compile needs Triton on CUDA: pip install triton"
    return None


def _missing_triton(device_type: str) -> str | None:
    if device_type != "cuda" and os.environ.get("TRITON_INTERPRET") != "1":
        return (
            f"it needs a CUDA device, and the tensors are on {device_type!r} (TRITON_INTERPRET=1 interprets it there)"
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


def available() -> dict[str, str]:
    """Backend name -> "available", or why it is not (on CUDA where there is a device)."""
    device_type = "cuda" if torch.cuda.is_available() else "cpu"
    return {name: missing(name, device_type) or "available" for name in BACKENDS}


def check(backend: str | None, device_type: str = "cpu") -> str:
    """Return `backend` if it can run on `device_type`; None is the best that can.

    Raises:
        ValueError: no such backend.
        RuntimeError: the backend exists but cannot run here; says what would make it available.
    """
    if backend is None:
        return best(device_type)
    if backend not in BACKENDS:
        raise ValueError(f"backend must be one of {', '.join(BACKENDS)}, or None; got {backend!r}")
    if reason := missing(backend, device_type):
        raise RuntimeError(f"backend {backend!r} is not available: {reason}")
    return backend


def check_fused(backend: str | None, device_type: str) -> str:
    """As `check`, for ops whose reference takes other arguments and is called by name.

    Raises:
        ValueError: backend is the reference.
    """
    backend = check(backend, device_type)
    if backend == "reference":
        raise ValueError(f"backend must be one of {', '.join(BACKENDS[1:])}; got 'reference'")
    return backend


def best(device_type: str = "cpu") -> str:
    """The fastest backend that `device_type` allows: a choice made once, when nobody named one."""
    if device_type == "cuda" and missing("triton", device_type) is None:
        return "triton"
    return "vectorized" if missing("compiled", device_type) else "compiled"


# what torch.compiler.assume_constant_result does; called, it would import the whole compiler with this module
best._dynamo_marked_constant = True  # type: ignore[attr-defined]


@functools.cache
def implementation(op: str, backend: str) -> ModuleType:
    """The module of `op` for `backend`, imported at its first use: Triton and torch's compiler are slow to import."""
    return importlib.import_module(f"kernels.{op}.{backend}")
