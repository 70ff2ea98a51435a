"""The bound, term by term (Ho 2020, Eq. 5)."""

import math

import torch
from torch import Tensor

from ddpm.diffusion import Diffusion
from ddpm.likelihood import in_float64
from kernels import arguments, noise, schedules


def bound_terms(diffusion: Diffusion, x0: Tensor, *, seed: int = 0, condition: Tensor | None = None) -> Tensor:
    """Estimate the terms of the bound on -log p(x_0), in nats, as means over the rows.

    The first term, for t = 1, is -log p(x_0 | x_1). The terms for t = 2 ... T are KL(q(x_{t-1} | x_t, x_0) ||
    p(x_{t-1} | x_t)). The last is KL(q(x_T | x_0) || N(0, 1)). Their sum is the bound. Each x_t is drawn anew from
    q(x_t | x_0), once for each row. The network itself is called, in float64 on the CPU.

    Args:
        diffusion: the model.
        x0: the rows, [N, D], of a floating dtype, finite.
        seed: the seed of the noise.
        condition: [N, C], if the network is conditioned.

    Returns:
        The terms, [T + 1] float64 on the CPU.

    Raises:
        TypeError, ValueError: a bad argument.
    """
    seed = arguments.integer("seed", seed, -(2**63), 2**64 - 1)
    network, x, given = in_float64(diffusion, x0, condition)
    betas = diffusion.schedule.betas
    eps = noise.normal(len(x), x.shape[1], len(betas), seed=seed, stream=noise.DRAWS).double()
    alpha_bars, posterior = diffusion.schedule.alpha_bar, schedules.posterior(betas, torch.device("cpu"))
    terms = []
    with torch.no_grad():
        for t, alpha_bar in enumerate(alpha_bars.tolist(), start=1):
            after = math.sqrt(alpha_bar) * x + math.sqrt(1 - alpha_bar) * eps[t - 1]
            of_data, of_state, variance = (float(value[t - 1]) for value in posterior)
            mean, std = network(after, torch.full((len(x), 1), t / (len(betas) + 1), dtype=torch.float64), *given)
            squares = (of_data * x + of_state * after - mean).square() + variance
            entropy = 0.5 * math.log(2 * math.pi) if t == 1 else -0.5 - 0.5 * math.log(variance)
            terms.append((torch.log(std) + 0.5 * squares / std.square() + entropy).sum(1).mean())
        kept = float(alpha_bars[-1])
        terms.append(0.5 * (kept * x.square() - kept - math.log1p(-kept)).sum(1).mean())
    return torch.stack(terms)
