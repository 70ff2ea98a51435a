"""How Triton kernels are launched: with which options and arguments, on which device, in how many programs.

Every program of the whole-chain kernels is one warp: its sums and scans then wait for no other warp.
"""

import contextlib
import functools

import torch
from torch import Tensor

from kernels.constants import signed
from kernels.place import Place

# Compiled once for all values of these. Triton would otherwise compile anew where one is 1 or a multiple of 16.
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
# A product and a sum are rounded as one only where a kernel says fma. Where the compiler chooses, lanes that add up the
# same numbers can get different sums: one does not round its own product, another gets it rounded (docs/ptx.md).
AS_WRITTEN = {"enable_fp_fusion": False}
OPTIONS = {"num_warps": 1, **AS_WRITTEN}

WARPS = 16  # programs for each multiprocessor: what the registers of the kernels allow (80 to 255 a thread), or twice


def words(place: Place) -> dict[str, int]:
    """Return seed and first sample as kernels take them, in 32-bit words."""
    first, seed = place.first, place.seed
    return {
        "first_low": signed(first),
        "first_high": first >> 32,
        "seed_low": signed(seed),
        "seed_high": signed(seed >> 32),
    }


def words_at(place: Place) -> dict[str, int | Tensor]:
    """Return the same with the training iteration, which stays on the device if it is there."""
    step = place.step
    return {"step": step if isinstance(step, Tensor) else signed(step), **words(place)}


def on(device: torch.device) -> contextlib.AbstractContextManager[object]:
    """Make `device` the current one: Triton launches there, on its current stream."""
    return torch.cuda.device(device) if device.type == "cuda" else contextlib.nullcontext()


@functools.cache
def warps(device: torch.device) -> int:
    """Return how many programs of one warp to launch at most; each then goes on to further samples."""
    if device.type != "cuda":
        return 3  # interpreted, where few programs show that they go on
    return WARPS * torch.cuda.get_device_properties(device).multi_processor_count
