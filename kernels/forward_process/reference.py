"""The forward process as the tutorial writes it: one step after the other with torch.distributions."""

import torch
from torch import Tensor
from torch.distributions import Normal


def forward_process(x0: Tensor, betas: Tensor, noise: Tensor | None = None) -> Tensor:
    """x_t ~ q(x_t | x_{t-1}) = N(sqrt(1 - beta_t) x_{t-1}, beta_t)  (Ho 2020, Eq. 2).

    Args:
        x0: [N, D], any floating dtype.
        betas: [T], any floating dtype.
        noise: [T, N, D], or None to draw from torch's global generator.

    Returns:
        x_0 ... x_T, [T+1, N, D].
    """
    trajectory = [x0]
    for t in range(len(betas)):
        beta = betas[t].to(x0.dtype)
        q = Normal(torch.sqrt(1 - beta) * trajectory[-1], torch.sqrt(beta))
        trajectory.append(q.sample() if noise is None else q.mean + q.stddev * noise[t])
    return torch.stack(trajectory)
