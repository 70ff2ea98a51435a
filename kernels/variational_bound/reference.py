"""The variational bound as the tutorial writes it: a loop over t with torch.distributions, gradients by autograd."""

import torch
from torch import Tensor
from torch.distributions import Normal

from kernels import noise
from kernels.networks import Called, Network
from kernels.place import Place


def bound(network: Network, x0: Tensor, betas: Tensor, eps: Tensor | None = None) -> Tensor:
    """(E[-log N(x_T; 0, 1)] - sum_t E[log p(x_{t-1} | x_t)] + sum_t E[log q(x_t | x_{t-1})]) / (T + 1).

    Ho 2020, Eq. 3, as the tutorial scales it. E is the mean over points and dimensions.

    Args:
        network: (x [N, D], t [N, 1]) -> (mean [N, D], std [N, D]); t is t / (T + 1).
        x0: [N, D], any floating dtype.
        betas: [T].
        eps: noise [T, N, D], or None to draw from torch's global generator.

    Returns:
        The bound in nats, a scalar.
    """
    steps, x, loss = len(betas), x0, torch.zeros((), dtype=x0.dtype, device=x0.device)
    for t in range(1, steps + 1):
        previous, beta = x, betas[t - 1].to(x0.dtype)
        q = Normal(torch.sqrt(1 - beta) * previous, torch.sqrt(beta))
        x = q.sample() if eps is None else q.mean + q.stddev * eps[t - 1]
        p = Normal(*network(x, x.new_full((len(x), 1), t / (steps + 1))))
        loss = loss - p.log_prob(previous).mean() + q.log_prob(x).mean()
    loss = loss - Normal(torch.zeros_like(x), torch.ones_like(x)).log_prob(x).mean()
    return loss / (steps + 1)


def variational_bound(network: Called, x0: Tensor, betas: Tensor, place: Place) -> Tensor:
    """The same on the noise of the stream."""
    count, dim = x0.shape
    eps = noise.normal(count, dim, len(betas), **place._asdict(), device=x0.device, backend="reference")
    return bound(network, x0, betas, eps.to(x0.dtype))
