"""The variational bound as the tutorial writes it: a loop over t with torch.distributions, gradients by autograd."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.distributions import Normal

from kernels.forward_process.reference import forward_process

Network = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


def variational_bound(network: Network, x0: Tensor, betas: Tensor, noise: Tensor | None = None) -> Tensor:
    """(E[-log N(x_T; 0, 1)] - sum_t E[log p(x_{t-1} | x_t)] + sum_t E[log q(x_t | x_{t-1})]) / (T + 1).

    Ho 2020, Eq. 3, as the tutorial scales it. E is the mean over points and dimensions.

    Args:
        network: (x [N, D], t [N, 1]) -> (mean [N, D], std [N, D]); t is t / (T + 1).
        x0: [N, D], any floating dtype.
        betas: [T].
        noise: [T, N, D], or None to draw from torch's global generator.

    Returns:
        The bound in nats, a scalar.
    """
    trajectory = forward_process(x0, betas, noise)
    steps = len(betas)
    loss = -Normal(torch.zeros_like(x0), torch.ones_like(x0)).log_prob(trajectory[-1]).mean()
    for t in range(1, steps + 1):
        previous, x = trajectory[t - 1], trajectory[t]
        beta = betas[t - 1].to(x0.dtype)
        q = Normal(torch.sqrt(1 - beta) * previous, torch.sqrt(beta))
        p = Normal(*network(x, x.new_full((len(x), 1), t / (steps + 1))))
        loss = loss - p.log_prob(previous).mean() + q.log_prob(x).mean()
    return loss / (steps + 1)
