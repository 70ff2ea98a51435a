"""Some of the T terms of the bound for each sample, drawn at random, as an unbiased estimate of all (Kingma 2021, 3.3).

The states of a drawn step come from their closed form, q(x_t | x_0) = N(sqrt(alpha_bar_t) x_0, 1 - alpha_bar_t)
(Ho 2020, Eq. 4). Each term is counted from log(2 pi beta_t) / 2 + eps^2 / 2, which q(x_t | x_{t-1}) has, or from its
mean in closed form: the sum of these over all t is known, and what is left hardly depends on t.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from kernels import noise, schedules
from kernels.constants import GOLDEN, STREAM_SHIFT, TIMES
from kernels.place import MOST_STEPS, Place
from kernels.reference.noise import MASK, key_of, philox

MOST_DRAWS = MOST_STEPS // 2  # each takes the noise of a step, and for Eq. 3 of two


def start_of(place: Place) -> int | Tensor:
    """Return what the multiples of the golden ratio that give the steps begin with: on the device if `step` is."""
    step = place.step.long() if isinstance(place.step, Tensor) else place.step
    start, *_ = philox((0, 0, step, TIMES << STREAM_SHIFT), key_of(place.seed))  # type: ignore[type-var]
    return start


def times(count: int, draws: int, steps: int, place: Place, device: torch.device) -> Tensor:
    """The steps t of every draw, [draws, count] int64 from 1 to T, each t as likely.

    A sample's depend on the low 32 bits of its index alone, and those of neighbours are spread evenly, however a batch
    is split.
    """
    start = start_of(place)
    sample = torch.arange(place.first, place.first + count, device=device)
    index = sample * draws + torch.arange(draws, device=device).unsqueeze(1)
    return 1 + ((start + index * GOLDEN & MASK) * steps >> 32)


def normals(
    count: int, dim: int, draws: int, place: Place, closed_form: bool, device: torch.device, backend: str
) -> Tensor:
    """The noise of every draw, [draws, count, D] or, for Eq. 3, [2, draws, count, D]: for x_{t-1}, then for x_t."""
    wanted = draws if closed_form else 2 * draws
    eps = noise.normal(count, dim, wanted, stream=noise.DRAWS, **place._asdict(), device=device, backend=backend)
    return eps if closed_form else eps.unflatten(0, (2, draws))


class Rows(NamedTuple):
    """Drawn steps, a row each, [R, D] or [R, 1].

    Attributes:
        t: t / (T + 1).
        after: x_t.
        previous: x_{t-1}, in closed form its mean given x_t and x_0.
        variance: of x_{t-1} given x_t and x_0; None for Eq. 3.
        less: what the mean over all elements of the terms is counted from, 0-d.
    """

    t: Tensor
    after: Tensor
    previous: Tensor
    variance: Tensor | None
    less: Tensor


class _Constants(NamedTuple):
    """By step, float32 [T]: sqrt(alpha_bar_t), sqrt(1 - alpha_bar_t), and the rest as their names say."""

    data: Tensor
    noise: Tensor
    data_before: Tensor
    noise_before: Tensor
    scale: Tensor
    noise_scale: Tensor
    of_data: Tensor
    of_state: Tensor
    variance: Tensor
    log_beta: Tensor


@schedules.per_schedule
def _constants(betas: Tensor, device: torch.device) -> Tensor:
    alpha_bar, beta = schedules.alpha_bars(betas), betas.double()
    before = torch.cat((torch.ones_like(alpha_bar[:1]), alpha_bar[:-1]))
    rows = _Constants(
        *(alpha_bar.sqrt(), torch.sqrt(1 - alpha_bar), before.sqrt(), torch.sqrt(1 - before)),
        *(torch.sqrt(1 - beta), beta.sqrt(), *schedules.posterior(betas, betas.device), beta.log()),
    )
    return torch.stack(rows, 1).float().to(device)


def rows(x0: Tensor, betas: Tensor, draws: int, place: Place, closed_form: bool, backend: str) -> Rows:
    """Draw the steps and the states of samples x0 [N, D], R = draws N rows."""
    (count, dim), steps = x0.shape, len(betas)
    t = times(count, draws, steps, place, x0.device).flatten()
    c = _Constants(*_constants(betas, x0.device)[t - 1].unsqueeze(2).unbind(1))
    eps = normals(count, dim, draws, place, closed_form, x0.device, backend)
    x = x0.repeat(draws, 1)
    counted = 0.5 * (c.log_beta.mean(dtype=torch.float64) + math.log(2 * math.pi))
    time = (t.unsqueeze(1).double() / (steps + 1)).float()
    if closed_form:
        after = c.data * x + c.noise * eps.flatten(0, 1)
        return Rows(time, after, c.of_data * x + c.of_state * after, c.variance.expand_as(x), counted + 0.5)
    previous = c.data_before * x + c.noise_before * eps[0].flatten(0, 1)
    after = c.scale * previous + c.noise_scale * eps[1].flatten(0, 1)
    return Rows(time, after, previous, None, counted + 0.5 * eps[1].square().mean(dtype=torch.float64))


def rest(x0: Tensor, betas: Tensor) -> Tensor:
    """The expectation of -log N(x_T; 0, 1) over q(x_T | x_0), the mean over all elements; 0-d float64."""
    alpha_bar = schedules.last_alpha_bar(betas, x0.device)
    return 0.5 * (math.log(2 * math.pi) + alpha_bar * x0.double().square().mean() + 1 - alpha_bar)
