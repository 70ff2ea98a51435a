"""The variational bound as the tutorial writes it: a loop over t with torch.distributions, gradients by autograd."""

import math

import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from kernels import noise
from kernels.networks import Called, MLPPair, Network, called
from kernels.place import Place
from kernels.variational_bound import Find, drawn


def bound(network: Network, x0: Tensor, betas: Tensor, eps: Tensor | None = None) -> Tensor:
    """Return (E[-log N(x_T; 0, 1)] - sum_t E[log p(x_{t-1} | x_t)] + sum_t E[log q(x_t | x_{t-1})]) / (T + 1).

    Ho 2020, Eq. 3, as the tutorial scales it. E is the mean over points and dimensions.

    Args:
        network: (x [N, D], t [N, 1]) -> (mean [N, D], std [N, D]). Its argument t is the step divided by T + 1.
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


def posterior(betas: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the factors of x_0 and x_t in the mean of q(x_{t-1} | x_t, x_0), and its variance, [T] each (Eq. 6, 7)."""
    alpha_bar = torch.cumprod(1 - betas, 0)
    before = torch.cat((torch.ones_like(alpha_bar[:1]), alpha_bar[:-1]))
    of_data, of_state = before.sqrt() * betas / (1 - alpha_bar), (1 - betas).sqrt() * (1 - before) / (1 - alpha_bar)
    return of_data, of_state, betas * (1 - before) / (1 - alpha_bar)


def closed_form_bound(network: Network, x0: Tensor, betas: Tensor, eps: Tensor) -> Tensor:
    """Return (KL(q(x_T | x_0) || N(0, 1)) + sum_{t>1} KL(q(x_{t-1} | x_t, x_0) || p) - log p(x_0 | x_1)) / (T + 1).

    This is Ho 2020, Eq. 5, scaled as Eq. 3 and equal to it on average. Arguments and result are those of `bound`.
    """
    steps, x, loss = len(betas), x0, torch.zeros((), dtype=x0.dtype, device=x0.device)
    last = torch.cumprod(1 - betas, 0)[-1]
    for t, beta, *of_t in zip(range(1, steps + 1), betas, *posterior(betas), strict=True):
        x = torch.sqrt(1 - beta).to(x0.dtype) * x + torch.sqrt(beta).to(x0.dtype) * eps[t - 1]
        p = Normal(*network(x, x.new_full((len(x), 1), t / (steps + 1))))
        if t == 1:
            loss = loss - p.log_prob(x0).mean()
        else:
            of_data, of_state, variance = of_t
            q = Normal(of_data.to(x0.dtype) * x0 + of_state.to(x0.dtype) * x, variance.sqrt().to(x0.dtype).expand_as(x))
            loss = loss + kl_divergence(q, p).mean()
    q = Normal(last.sqrt().to(x0.dtype) * x0, torch.sqrt(1 - last).to(x0.dtype).expand_as(x0))
    loss = loss + kl_divergence(q, Normal(torch.zeros_like(x), torch.ones_like(x))).mean()
    return loss / (steps + 1)


def drawn_bound(network: Network, x0: Tensor, betas: Tensor, times: Tensor, eps: Tensor, closed_form: bool) -> Tensor:
    """Estimate the bound from some of its terms: T times the mean of the terms at `times` replaces the sum of all.

    Args:
        times: [draws, N], from 1 to T.
        eps: noise of x_t, [draws, N, D]; for Eq. 3 [2, draws, N, D], of x_{t-1} and then of x_t.
    """
    steps, beta = len(betas), betas.double()
    alpha_bar = torch.cumprod(1 - beta, 0)
    before = torch.cat((torch.ones_like(alpha_bar[:1]), alpha_bar[:-1]))
    of_data, of_state, variance = posterior(beta)
    terms = []
    for k, t in enumerate(times):

        def at(values: Tensor, t: Tensor = t) -> Tensor:  # [T] -> [N, 1], the value at each row's step
            return values.to(x0.device)[t - 1].unsqueeze(1).to(x0.dtype)

        if closed_form:
            x = at(alpha_bar.sqrt()) * x0 + at((1 - alpha_bar).sqrt()) * eps[k]
            q = at(of_data) * x0 + at(of_state) * x
            counted = 0.5 * torch.log(2 * math.pi * math.e * at(beta))
        else:
            q = at(before.sqrt()) * x0 + at((1 - before).sqrt()) * eps[0, k]
            x = at((1 - beta).sqrt()) * q + at(beta.sqrt()) * eps[1, k]
            counted = -Normal(at((1 - beta).sqrt()) * q, at(beta.sqrt())).log_prob(x)
        p = Normal(*network(x, t.unsqueeze(1).to(x0.dtype) / (steps + 1)))
        spread = at(variance) / (2 * p.stddev**2) if closed_form else 0.0
        terms.append((spread - p.log_prob(q) - counted).mean())
    terminal = 0.5 * (math.log(2 * math.pi) + alpha_bar[-1] * x0.square().mean() + 1 - alpha_bar[-1])
    return (steps * torch.stack(terms).mean() + terminal.to(x0.dtype)) / (steps + 1)


def variational_bound(
    network: Called, x0: Tensor, betas: Tensor, place: Place, closed_form: bool, draws: int | None
) -> Tensor:
    """Return the bound with noise from the noise stream."""
    count, dim = x0.shape
    if draws is not None:
        times = drawn.times(count, draws, len(betas), place, x0.device)
        eps = drawn.normals(count, dim, draws, place, closed_form, x0.device, "reference")
        return drawn_bound(network, x0, betas, times, eps.to(x0.dtype), closed_form)
    eps = noise.normal(count, dim, len(betas), **place._asdict(), device=x0.device, backend="reference")
    return (closed_form_bound if closed_form else bound)(network, x0, betas, eps.to(x0.dtype))


def prepare(pair: MLPPair, betas: Tensor, closed_form: bool, draws: int | None) -> Find:
    """Prepare a function that computes bounds and gradients: see Find in kernels.variational_bound."""

    def find(out: Tensor, x0: Tensor, place: Place, condition: Tensor | None) -> None:
        network = called(pair).given(condition, len(x0))
        with torch.enable_grad():
            bound = variational_bound(network, x0, betas, place, closed_form, draws)
        gradients = torch.autograd.grad(bound, pair.tensors)
        out.copy_(torch.cat([g.flatten() for g in (*gradients, bound.detach())]))

    return find
