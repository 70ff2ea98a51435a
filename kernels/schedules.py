"""Constants that depend on the schedule alone. They are computed in float64, once for each device."""

import functools
import math
import threading
from collections.abc import Callable
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from kernels import arguments
from kernels.place import MOST_STEPS

T = TypeVar("T")


def check_betas(betas: object) -> None:
    """Raise unless `betas` is a float [T] tensor with T from 1 to MOST_STEPS and every beta in (0, 1)."""
    arguments.floating("betas", betas)
    assert isinstance(betas, Tensor)
    if betas.dim() != 1 or len(betas) == 0:
        raise ValueError(f"betas must have shape [T] with T >= 1; got {list(betas.shape)}")
    arguments.integer("T, the length of betas,", len(betas), 1, MOST_STEPS)
    if not bool(((betas > 0) & (betas < 1)).all()):
        raise ValueError(f"betas must lie in (0, 1); got values from {float(betas.min())} to {float(betas.max())}")


def per_schedule(compute: Callable[[Tensor, torch.device], T]) -> Callable[[Tensor, torch.device], T]:
    """Cache the results of compute(betas, device) for as long as the tensor `betas` lives.

    The schedule is checked here, so that it is checked once and not at every call. It must not be changed in place
    afterwards.

    Raises:
        TypeError, ValueError: betas are not a float tensor of shape [T] with T from 1 to 2^18 and values in (0, 1).
    """
    kept = WeakTensorKeyDictionary()
    lock = threading.RLock()  # one thread must not replace a result that another is using

    @functools.wraps(compute)
    def look_up(betas: Tensor, device: torch.device) -> T:
        per_device = kept.get(betas) if isinstance(betas, Tensor) else None
        if per_device is not None and device in per_device:
            return per_device[device]
        with lock:
            per_device = kept.get(betas) if isinstance(betas, Tensor) else None
            if per_device is None:
                check_betas(betas)
                per_device = kept[betas] = {}
            if device not in per_device:
                per_device[device] = compute(betas, device)
            return per_device[device]

    return look_up


@per_schedule
def _accept(betas: Tensor, device: torch.device) -> None:
    """Return nothing: the cache only remembers that the schedule has been checked."""


def check(betas: Tensor, differentiable: bool) -> None:
    """Raise unless `betas` is a schedule: a float tensor of shape [T] with T from 1 to 2^18 and values in (0, 1).

    It may require grad only if the backend is `differentiable` in it.
    """
    _accept(betas, torch.device("cpu"))
    if betas.requires_grad and not differentiable:
        raise ValueError("betas require grad, but only the reference is differentiable in them: detach them")


class Steps(NamedTuple):
    """The constants of the steps t = 1 ... size, float32. Steps beyond T leave x unchanged.

    Attributes:
        scale, noise_scale: sqrt(1 - beta_t) and sqrt(beta_t), [size].
        factor: the product of the scales of each group of four steps, [size / 4].
    """

    scale: Tensor
    noise_scale: Tensor
    factor: Tensor


def steps(betas: Tensor, size: int) -> Steps:
    """Return the constants of a schedule on the CPU, padded from T to `size` steps, a multiple of 4."""
    padded = torch.zeros(size, dtype=torch.float64, device="cpu")
    padded[: len(betas)] = betas.double().cpu()
    scale = torch.sqrt(1 - padded)
    return Steps(
        scale=_round_products(scale),
        noise_scale=torch.sqrt(padded).float(),
        factor=_round_products(scale.view(-1, 4).prod(dim=1)),
    )


def times(steps: int, size: int) -> Tensor:
    """Return t / (T + 1) for t = 1 ... size, [size] float32 on the CPU."""
    return (torch.arange(1, size + 1, dtype=torch.float64, device="cpu") / (steps + 1)).float()


@per_schedule
def bound_constant(betas: Tensor, device: torch.device) -> Tensor:
    """Return the part of one element's bound that the schedule alone determines, times T + 1, in nats; 0-d float64.

    It comes from -log N(x_T; 0, 1) and from log q(x_t | x_{t-1}) - log p(x_{t-1} | x_t).
    """
    return (0.5 * math.log(2 * math.pi) - 0.5 * betas.double().log().sum()).to(device)


class Posterior(NamedTuple):
    """q(x_{t-1} | x_t, x_0) = N(of_data_t x_0 + of_state_t x_t, variance_t) for t = 1 ... T (Ho 2020, Eq. 6 and 7).

    Each is [T] float64. At t = 1 the values are 1, 0 and 0, because x_{t-1} is x_0 itself.
    """

    of_data: Tensor
    of_state: Tensor
    variance: Tensor


def alpha_bars(betas: Tensor) -> Tensor:
    """Return alpha_bar_t, the product of 1 - beta up to t, [T] float64: the share of data in the variance of x_t."""
    return torch.exp(torch.log1p(-betas.double()).cumsum(0))


@per_schedule
def last_alpha_bar(betas: Tensor, device: torch.device) -> Tensor:
    """Return alpha_bar_T, 0-d float64 on `device`."""
    return alpha_bars(betas)[-1].to(device)


@per_schedule
def posterior(betas: Tensor, device: torch.device) -> Posterior:
    """Return the posterior of every step, on `device`."""
    beta, alpha_bar = betas.double(), alpha_bars(betas)
    before = torch.cat((torch.ones_like(alpha_bar[:1]), alpha_bar[:-1]))
    of_data = before.sqrt() * beta / (1 - alpha_bar)
    of_state = torch.sqrt(1 - beta) * (1 - before) / (1 - alpha_bar)
    variance = beta * (1 - before) / (1 - alpha_bar)
    of_data[0], of_state[0] = 1, 0  # exactly
    return Posterior(*(values.to(device) for values in (of_data, of_state, variance)))


@per_schedule
def closed_form_constant(betas: Tensor, device: torch.device) -> Tensor:
    """Return bound_constant for the bound in closed form. There 1 / 2 is subtracted from each term for t > 1.

    In entropies H and KL divergences (Ho 2020, Eq. 5) it is KL(q(x_T | x_0) || N(0, 1)) without its square of x_0,
    minus H(q(x_{t-1} | x_t, x_0)) = 1 / 2 + log(2 pi variance_t) / 2 for every t > 1. The product of the variances is
    the product of all betas divided by 1 - alpha_bar_T.
    """
    return bound_constant(betas, device) - 0.5 * last_alpha_bar(betas, device)


def _round_products(factors: Tensor) -> Tensor:
    """Return the factors in float32, each rounded so that it makes up for the rounding of those before it.

    If they were rounded one by one, the error of their product would be a random walk in t, the same for every sample
    (measured: gradients twice as far from float64).
    """
    rounded, behind = torch.empty(len(factors), dtype=torch.float32, device="cpu"), 1.0
    for i, factor in enumerate(factors.tolist()):
        rounded[i] = factor * behind
        behind *= factor / float(rounded[i])
    return rounded
