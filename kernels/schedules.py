"""What follows from the betas alone: computed in float64, once for a schedule and a device."""

import functools
import math
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from kernels import arguments

T = TypeVar("T")


def per_schedule(compute: Callable[[Tensor, torch.device], T]) -> Callable[[Tensor, torch.device], T]:
    """Keep the results of compute(betas, device) for as long as the tensor `betas` lives.

    A schedule is checked here, so that it happens once and not at every call. It must not be changed in place
    afterwards.

    Raises:
        TypeError, ValueError: betas are not a float tensor of shape [T] with T >= 1 and values in (0, 1).
    """
    kept = WeakTensorKeyDictionary()

    @functools.wraps(compute)
    def look_up(betas: Tensor, device: torch.device) -> T:
        if betas not in kept:
            arguments.schedule(betas)
        per_device = kept.setdefault(betas, {})
        if device not in per_device:
            per_device[device] = compute(betas, device)
        return per_device[device]

    return look_up


@per_schedule
def check(betas: Tensor, device: torch.device) -> None:
    """Raise unless betas are a schedule, for whom their length is all that matters."""


@per_schedule
def constants(betas: Tensor, device: torch.device) -> Tensor:
    """What no weight changes in the bound of one element, times T + 1, in nats; 0-d float64.

    From -log N(x_T; 0, 1), and from log q(x_t | x_{t-1}) - log p(x_{t-1} | x_t).
    """
    return (0.5 * math.log(2 * math.pi) - 0.5 * betas.double().log().sum()).to(device)


def round_products(factors: Tensor) -> Tensor:
    """float32 factors, each rounded so as to make up for the rounding of those before it.

    Rounded one by one, the error of their product, which is the same for every sample, would walk at random with t
    (measured: gradients twice as far from float64).
    """
    rounded, behind = torch.empty(len(factors), dtype=torch.float32), 1.0
    for i, factor in enumerate(factors.tolist()):
        rounded[i] = factor * behind
        behind *= factor / float(rounded[i])
    return rounded
