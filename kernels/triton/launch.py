"""How Triton kernels are launched: with which options and arguments, on which device, in how many programs.

Every program of the whole-chain kernels is one warp: its sums and scans then wait for no other warp.
"""

import contextlib
import functools

import torch
from torch import Tensor

from kernels.constants import signed
from kernels.place import Place

# Kernels are compiled once for all values of these arguments. Triton would otherwise compile again if one of them is 1
# or a multiple of 16.
UNSPECIALIZED = (
    "count",
    "before",
    "dim",
    "steps",
    "size",
    "programs",
    "segment",
    "group",
    "first_low",
    "first_high",
    "step",
    "seed_low",
    "seed_high",
)
# A product and a sum are rounded as one only where a kernel says fma. If the compiler chose, lanes that add up the same
# numbers could get different sums: one lane does not round its own product, and another lane gets that product rounded
# (docs/ptx.md).
AS_WRITTEN = {"enable_fp_fusion": False}
OPTIONS = {"num_warps": 1, **AS_WRITTEN}

# programs for each multiprocessor: as many as the registers of the kernels allow (80 to 255 a thread), or twice that
WARPS = 16


def words(place: Place) -> dict[str, int]:
    """Return seed and first sample in 32-bit words, as the kernels need them."""
    first, seed = place.first, place.seed
    return {
        "first_low": signed(first),
        "first_high": first >> 32,
        "seed_low": signed(seed),
        "seed_high": signed(seed >> 32),
    }


def words_at(place: Place) -> dict[str, int | Tensor]:
    """Return `words` and the training iteration, which stays on the device if it is there."""
    step = place.step
    return {"step": step if isinstance(step, Tensor) else signed(step), **words(place)}


def on(device: torch.device) -> contextlib.AbstractContextManager[object]:
    """Make `device` the current one: Triton launches there, on its current stream."""
    return torch.cuda.device(device) if device.type == "cuda" else contextlib.nullcontext()


@functools.cache
def warps(device: torch.device) -> int:
    """Return the largest number of one-warp programs to launch. Each program then goes on to further samples."""
    if device.type != "cuda":
        return 3  # interpreted: with few programs, tests reach the code that goes on to further samples
    return WARPS * torch.cuda.get_device_properties(device).multi_processor_count
