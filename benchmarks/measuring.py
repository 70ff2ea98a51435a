"""Helpers for measuring: wait for a device, measure peak memory, describe the machine."""

import ctypes
import gc
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def waited_for(run: Callable[[], Any], device: str) -> Callable[[], Any]:
    """Return a function that calls run() and waits for what it started on a CUDA device."""
    if device != "cuda":
        return run

    def both() -> Any:
        result = run()
        torch.cuda.synchronize()
        return result

    return both


def peak_extra_bytes(run: Callable[[], Any], device: str) -> int | None:
    """Return the peak of the memory that a call adds, its result included, or None if it cannot be measured.

    On a CPU it is the resident memory of this process. An earlier call must have compiled the function. Pages that the
    allocator keeps are first given back to the system. On CUDA it is the memory that torch allocates.
    """
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        run()
        return torch.cuda.max_memory_allocated() - before
    if sys.platform != "linux":
        return None
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    CLEAR.write_text("5")  # resets the peak
    before = _resident("VmRSS")
    run()
    return max(0, _resident("VmHWM") - before)


def _resident(field: str) -> int:
    match = re.search(rf"{field}:\s+(\d+) kB", STATUS.read_text())
    assert match is not None
    return 1024 * int(match[1])


def machine() -> dict[str, Any]:
    """Return what results depend on, except the processor, which pytest-benchmark records itself."""
    found: dict[str, Any] = {
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "vector_instructions": torch.backends.cpu.get_cpu_capability(),
    }
    if torch.cuda.is_available() and shutil.which("nvidia-smi"):
        query = ["nvidia-smi", "--query-gpu=name,driver_version,clocks.max.sm,clocks.max.memory", "--format=csv"]
        found["cuda"] = subprocess.run(query, capture_output=True, text=True, check=True).stdout.splitlines()
    return found
