"""The constants of a schedule on the device, as the Triton kernels read them."""

import functools
import math

import torch
from torch import Tensor
from torch.nn import functional

from kernels import schedules
from kernels.networks import StepTables
from kernels.schedules import Steps, per_schedule
from kernels.triton import sizes


@per_schedule
def steps(betas: Tensor, device: torch.device) -> Steps:
    """Return the constants of every step, padded so that a warp can read a whole tile of groups at the end."""
    found = schedules.steps(betas, _padded(len(betas)))
    return Steps(*(values.to(device) for values in found))


@functools.lru_cache(maxsize=64)
def times(steps: int, device: torch.device) -> Tensor:
    """Return t / (T + 1) of every step, padded in the same way."""
    return schedules.times(steps, _padded(steps)).to(device)


def tables(steps: int, found: StepTables | None, device: torch.device) -> tuple[Tensor | None, ...]:
    """Return time, skip, out and scale of every step, padded in the same way. Without tables all but time are None."""
    if found is None:
        return times(steps, device), None, None, None
    padded = [functional.pad(table.detach(), (0, _padded(steps) - steps)) for table in found]
    return padded[3], *padded[:3]


def _padded(steps: int) -> int:
    return math.ceil(steps / (4 * sizes.LANES)) * 4 * sizes.LANES
