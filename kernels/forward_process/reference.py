"""The forward process as the tutorial writes it: one step after another with torch.distributions."""

import torch
from torch import Tensor
from torch.distributions import Normal

from kernels import noise
from kernels.place import Place


def trajectory(x0: Tensor, betas: Tensor, eps: Tensor | None = None) -> Tensor:
    """Draw x_t ~ q(x_t | x_{t-1}) = N(sqrt(1 - beta_t) x_{t-1}, beta_t) for t = 1 ... T (Ho 2020, Eq. 2).

    Args:
        x0: [N, D], any floating dtype.
        betas: [T], any floating dtype.
        eps: noise [T, N, D], or None to draw from torch's global generator.

    Returns:
        x_0 ... x_T, [T+1, N, D].
    """
    states = [x0]
    for t in range(len(betas)):
        beta = betas[t].to(x0.dtype)
        q = Normal(torch.sqrt(1 - beta) * states[-1], torch.sqrt(beta))
        states.append(q.sample() if eps is None else q.mean + q.stddev * eps[t])
    return torch.stack(states)


def forward_process(x0: Tensor, betas: Tensor, place: Place) -> Tensor:
    """Return `trajectory` with noise from the noise stream."""
    count, dim = x0.shape
    eps = noise.normal(count, dim, len(betas), **place._asdict(), device=x0.device, backend="reference")
    return trajectory(x0, betas, eps.to(x0.dtype))
