"""Which backends exist here, why one does not, and which to take."""

import functools
import os
import shutil
import sys

import torch

BACKENDS = ("reference", "vectorized", "compiled")


@functools.cache
def missing(backend: str, device_type: str = "cpu") -> str | None:
    """Why `backend` cannot run on `device_type`, and what would make it available; None if it can."""
    if backend != "compiled":
        return None
    if device_type == "cpu":
        compiler = os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")
        if shutil.which(compiler) is None:
            return f"torch.compile needs a C++ compiler and {compiler!r} is not on PATH: install it or set CXX"
    elif device_type == "cuda":
        try:
            import triton  # noqa: F401
        except ImportError:
            return "torch.compile needs Triton on CUDA: pip install triton"
    return None


def available() -> dict[str, str]:
    """Backend name -> "available", or why it is not (for the current default device)."""
    device_type = torch.get_default_device().type
    return {name: missing(name, device_type) or "available" for name in BACKENDS}


def check(backend: str, device_type: str = "cpu") -> str:
    """Return `backend` if it can run on `device_type`.

    Raises:
        ValueError: no such backend.
        RuntimeError: the backend exists but cannot run here; says what would make it available.
    """
    if backend not in BACKENDS:
        raise ValueError(f"backend must be one of {', '.join(BACKENDS)}, or None; got {backend!r}")
    if reason := missing(backend, device_type):
        raise RuntimeError(f"backend {backend!r} is not available: {reason}")
    return backend


def best(device_type: str = "cpu") -> str:
    """The fastest backend that `device_type` allows: a choice made once, when nobody named one."""
    return "vectorized" if missing("compiled", device_type) else "compiled"
