"""The reverse process as the tutorial writes it: one network call and one torch.distributions draw a step."""

import torch
from torch import Tensor
from torch.distributions import Normal

from kernels.variational_bound.reference import Network


def reverse_process(network: Network, x: Tensor, steps: int, noise: Tensor | None = None) -> Tensor:
    """x_{t-1} ~ p(x_{t-1} | x_t) = N(mean(x_t, t / (T + 1)), std(x_t, t / (T + 1))^2) for t = T ... 1.

    Args:
        network: (x [N, D], t [N, 1]) -> (mean [N, D], std [N, D]).
        x: x_T, [N, D], any floating dtype.
        steps: T.
        noise: [T, N, D], row t - 1 for the step from x_t to x_{t-1}, or None for torch's global generator.

    Returns:
        x_T ... x_0, [T+1, N, D].
    """
    history = [x]
    for t in range(steps, 0, -1):
        p = Normal(*network(history[-1], x.new_full((len(x), 1), t / (steps + 1))))
        history.append(p.sample() if noise is None else p.mean + p.stddev * noise[t - 1])
    return torch.stack(history)
