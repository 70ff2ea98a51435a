"""p(x_{t-1} | x_t) = N(mean, std^2) from both networks' outputs: its term of the bound, and the gradients.

With z = (x_{t-1} - mean) / std and eps the noise of q(x_t | x_{t-1}):

    term           = z^2 / 2 + log std - eps^2 / 2        (the constants are added once, at the end)
    d term / mean  = -z / std
    d term / std   = (1 - z^2) / std
    std            = max(softplus(s), STD_FLOOR),  d std / ds = sigmoid(s) above the floor, 0 below
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from kernels.constants import STD_FLOOR
from kernels.vectorized.elementary import exp_negative, log1p_unit, reciprocal_and_log

Std = Callable[[Tensor], tuple[Tensor, Tensor, Tensor, Tensor]]


def std(s: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """std, 1 / std, log std and d std / ds, by library calls."""
    softplus = functional.softplus(s)
    value = softplus.clamp_min(STD_FLOOR)
    return value, 1 / value, torch.log(value), torch.where(softplus > STD_FLOOR, torch.sigmoid(s), 0.0)


def std_inlined(s: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The same from elementary.py: softplus(s) = max(s, 0) + log(1 + exp(-|s|))."""
    e = exp_negative(s.abs())
    softplus = torch.relu(s) + log1p_unit(e)
    value = softplus.clamp_min(STD_FLOOR)
    slope = torch.where(s >= 0, 1.0, e) / (1 + e)
    return value, *reciprocal_and_log(value), torch.where(softplus > STD_FLOOR, slope, 0.0)


def term(previous: Tensor, eps: Tensor, mean: Tensor, s: Tensor, std: Std) -> tuple[Tensor, Tensor, Tensor]:
    """The term of the bound and its gradients with respect to the mean and to s, elementwise."""
    _, inverse, log_value, slope = std(s)
    z = (previous - mean) * inverse
    return 0.5 * z * z + log_value - 0.5 * eps * eps, -z * inverse, (1 - z * z) * inverse * slope
