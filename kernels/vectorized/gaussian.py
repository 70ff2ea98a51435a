"""p(x_{t-1} | x_t) = N(mean, std^2) from both networks' outputs: its term of the bound, and the gradients.

With z = (x_{t-1} - mean) / std and eps the noise of q(x_t | x_{t-1}):

    term           = z^2 / 2 + log std - eps^2 / 2        (the constants are added once, at the end)
    d term / mean  = -z / std
    d term / std   = (1 - z^2) / std
    std            = max(softplus(s), STD_FLOOR),  d std / ds = sigmoid(s) above the floor, 0 below

With tables by step (kernels.networks.StepTables), mean = skip x_t + out f for the first network's output f, and
softplus(s) and its slope are multiplied by `scale`.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from kernels.constants import STD_FLOOR
from kernels.vectorized.elementary import exp_negative, log1p_unit, reciprocal_and_log

Std = Callable[..., tuple[Tensor, Tensor, Tensor, Tensor]]


def std(s: Tensor, *scale: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return std, 1 / std, log std and d std / ds, by library calls."""
    softplus, slope = functional.softplus(s), torch.sigmoid(s)
    for factor in scale:
        softplus, slope = softplus * factor, slope * factor
    value = softplus.clamp_min(STD_FLOOR)
    return value, 1 / value, torch.log(value), torch.where(softplus > STD_FLOOR, slope, 0.0)


def std_inlined(s: Tensor, *scale: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the same as `std`, by elementary.py: softplus(s) = `max(s, 0) + log(1 + exp(-|s|))`."""
    e = exp_negative(s.abs())
    softplus, slope = torch.relu(s) + log1p_unit(e), torch.where(s >= 0, 1.0, e) / (1 + e)
    for factor in scale:
        softplus, slope = softplus * factor, slope * factor
    value = softplus.clamp_min(STD_FLOOR)
    return value, *reciprocal_and_log(value), torch.where(softplus > STD_FLOOR, slope, 0.0)


def mean(x: Tensor, f: Tensor, *tables: Tensor) -> Tensor:
    """Return the mean from the network's output f at x. `tables` is empty, or skip and out."""
    return tables[0] * x + tables[1] * f if tables else f


def term(
    previous: Tensor, eps: Tensor, x: Tensor, f: Tensor, s: Tensor, std: Std, *tables: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the term of the bound and its gradients for f and s, elementwise; tables: none, or skip, out and scale."""
    _, inverse, log_value, slope = std(s, *tables[2:])
    z = (previous - mean(x, f, *tables[:2])) * inverse
    d_mean = -z * inverse
    if tables:
        d_mean = d_mean * tables[1]
    return 0.5 * z * z + log_value - 0.5 * eps * eps, d_mean, (1 - z * z) * inverse * slope
