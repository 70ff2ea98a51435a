"""What the launchers of Triton kernels share: which kernel takes what, the constants of every step, the device.

Every program of the whole-chain kernels is one warp: its sums and scans then wait for no other warp.
"""

import contextlib
import functools
import math
from typing import NamedTuple

import torch
from torch import Tensor

from kernels.schedules import constants, per_schedule, round_products
from kernels.tiles import signed

# Compiled once for all values of these. Triton would otherwise compile anew where one is 1 or a multiple of 16.
UNSPECIALIZED = (
    "count",
    "dim",
    "steps",
    "size",
    "programs",
    "segment",
    "group",
    "first",
    "step",
    "seed_low",
    "seed_high",
)
OPTIONS = {"num_warps": 1, "enable_fp_fusion": True}

LANES = 32  # groups of four steps that a warp walks through together, where the samples are too few for all warps
# From this many samples on a lane has a sample for itself: 4 warps for every scheduler of an H100 (132 SMs, 4 each).
MANY = 132 * 4 * 4 * 32
WARPS = 16  # programs for each multiprocessor: what the registers of the kernels allow (80 to 255 a thread), or twice
MAX_DIM, MAX_HIDDEN = 8, 64
MOST = 2**31 - 2**12


def takes(dim: int, hidden: int) -> bool:
    """Whether the whole-chain kernels take a network; any other goes step by step (see kernels.transition_bound)."""
    return dim <= MAX_DIM and hidden <= MAX_HIDDEN


def is_unrolled(dim: int, hidden: int) -> bool:
    """Whether a kernel keeps a network in the registers of each thread (device_functions.unrolled, else wide).

    The limit is 255 registers a thread: D * H = 12 takes them all, without a spill. Code, and the time to compile it,
    grow with D (D = 3: 10 s, D = 8: 40 s).
    """
    return dim <= 3 and dim * hidden <= 12


def wide_sizes(dim: int, hidden: int) -> dict[str, int]:
    """The sizes of a wide kernel's blocks: as many samples a program as the registers hold, and at most 8."""
    dims, units = _power_of_2(dim), max(16, _power_of_2(hidden))
    return {"D": dim, "H": hidden, "DIMS": dims, "UNITS": units, "BLOCK_N": min(8, 1024 // (dims * units))}


def _power_of_2(size: int) -> int:
    return 1 << (size - 1).bit_length()


def check(dim: int, hidden: int, count: int) -> None:
    """Raise unless the whole-chain kernels take these sizes."""
    if not takes(dim, hidden):
        raise ValueError(
            f"backend 'triton' takes one hidden layer with D up to {MAX_DIM} and H up to {MAX_HIDDEN}; "
            f"got D = {dim}, H = {hidden}"
        )
    check_elements(count * dim)


def check_elements(elements: int) -> None:
    """Raise unless the elements of all samples, at one step, can be counted in 32 bits, with those of a last block."""
    if elements > MOST:
        raise ValueError(f"backend 'triton' takes at most {MOST} elements (samples times dimensions); got {elements}")


def check_steps(steps: int) -> None:
    """Raise unless T can be counted in 32 bits."""
    if steps > MOST:
        raise ValueError(f"backend 'triton' takes at most {MOST} steps T; got {steps}")


class Steps(NamedTuple):
    """The constants of the steps t = 1 ... T on the device; float32, steps that pad T to a whole tile change nothing.

    Attributes:
        scale, noise_scale: sqrt(1 - beta_t) and sqrt(beta_t).
        time: t / (T + 1).
        factor: product of the scales of each group of four steps.
        constant: what no weight changes in the bound of one element, 0-d float64.
    """

    scale: Tensor
    noise_scale: Tensor
    time: Tensor
    factor: Tensor
    constant: Tensor


@per_schedule
def steps(betas: Tensor, device: torch.device) -> Steps:
    """The constants of every step of a schedule."""
    check_steps(len(betas))
    size = math.ceil(len(betas) / (4 * LANES)) * 4 * LANES
    padded = torch.zeros(size, dtype=torch.float64)
    padded[: len(betas)] = betas.double().cpu()
    scale = torch.sqrt(1 - padded)
    return Steps(
        scale=round_products(scale).to(device),
        noise_scale=torch.sqrt(padded).float().to(device),
        time=(torch.arange(1, size + 1, dtype=torch.float64) / (len(betas) + 1)).float().to(device),
        factor=round_products(scale.view(-1, 4).prod(dim=1)).to(device),
        constant=constants(betas, device),
    )


def place(seed: int, first: int) -> dict[str, int]:
    """A place in the noise stream as kernels take it, in 32-bit words."""
    return {"first": signed(first), "seed_low": signed(seed), "seed_high": signed(seed >> 32)}


def place_at(step: int | Tensor, seed: int, first: int) -> dict[str, int | Tensor]:
    """The same with the training iteration, which stays on the device if it is there."""
    return {"step": step if isinstance(step, Tensor) else signed(step), **place(seed, first)}


def on(device: torch.device) -> contextlib.AbstractContextManager[object]:
    """Makes `device` the current one: Triton launches there, on its current stream."""
    return torch.cuda.device(device) if device.type == "cuda" else contextlib.nullcontext()


@functools.cache
def warps(device: torch.device) -> int:
    """How many programs of one warp to launch at most; each then goes on to further samples."""
    if device.type != "cuda":
        return 3  # the interpreter, where few programs show that they go on
    return WARPS * torch.cuda.get_device_properties(device).multi_processor_count
