"""An unbiased estimate of the bound from some of its T terms, drawn at random for each sample (Kingma 2021, 3.3).

The states of a drawn step come from their closed form, q(x_t | x_0) = N(sqrt(alpha_bar_t) x_0, 1 - alpha_bar_t)
(Ho 2020, Eq. 4). From each term, -log q(x_t | x_{t-1}) = log(2 pi beta_t) / 2 + eps^2 / 2 is subtracted, or in closed
form the mean of that. The sum of these over all t is known, and what is left of a term hardly depends on t.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from kernels import noise, schedules
from kernels.constants import GOLDEN, STREAM_SHIFT, TIMES
from kernels.place import MOST_STEPS, Place
from kernels.reference.noise import MASK, key_of, philox

MOST_DRAWS = MOST_STEPS // 2  # each needs the noise of one step, and for Eq. 3 of two


def start_of(place: Place) -> int | Tensor:
    """Return the random start of the golden-ratio sequence in `times`: a tensor on the device if `step` is one."""
    step = place.step.long() if isinstance(place.step, Tensor) else place.step
    start, *_ = philox((0, 0, step, TIMES << STREAM_SHIFT), key_of(place.seed))  # type: ignore[type-var]
    return start


def times(count: int, draws: int, steps: int, place: Place, device: torch.device) -> Tensor:
    """Return the step t of every draw, [draws, count] int64 from 1 to T, all equally likely.

    For one seed and iteration, the steps of a sample depend only on the low 32 bits of its index, however a batch is
    split. The steps of neighbouring samples are spread evenly.
    """
    start = start_of(place)
    sample = torch.arange(place.first, place.first + count, device=device)
    index = sample * draws + torch.arange(draws, device=device).unsqueeze(1)
    return 1 + ((start + index * GOLDEN & MASK) * steps >> 32)


def normals(
    count: int, dim: int, draws: int, place: Place, closed_form: bool, device: torch.device, backend: str
) -> Tensor:
    """Return the noise of every draw, [draws, count, D]. For Eq. 3, [2, draws, count, D]: of x_{t-1}, then of x_t."""
    wanted = draws if closed_form else 2 * draws
    eps = noise.normal(count, dim, wanted, stream=noise.DRAWS, **place._asdict(), device=device, backend=backend)
    return eps if closed_form else eps.unflatten(0, (2, draws))


class Rows(NamedTuple):
    """Drawn steps, one row for each, [R, D] or [R, 1].

    Attributes:
        t: the step divided by T + 1.
        after: x_t.
        previous: x_{t-1}, in closed form its mean given x_t and x_0.
        variance: the variance of x_{t-1} given x_t and x_0; None for Eq. 3.
        less: what is subtracted from the mean of the terms over all elements, 0-d.
    """

    t: Tensor
    after: Tensor
    previous: Tensor
    variance: Tensor | None
    less: Tensor


class _Constants(NamedTuple):
    """Constants by step, float32 [T]. `data` and `noise` are sqrt(alpha_bar_t) and sqrt(1 - alpha_bar_t).

    `data_before` and `noise_before` are these of step t - 1.
    """

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
    """Draw the steps and the states of samples x0 [N, D]: R = draws * N rows."""
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
    """Return the expectation of -log N(x_T; 0, 1) over q(x_T | x_0), the mean over all elements; 0-d float64."""
    alpha_bar = schedules.last_alpha_bar(betas, x0.device)
    return 0.5 * (math.log(2 * math.pi) + alpha_bar * x0.double().square().mean() + 1 - alpha_bar)
