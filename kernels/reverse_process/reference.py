"""The reverse process as the tutorial writes it: one network call and one torch.distributions draw a step."""

import torch
from torch import Tensor
from torch.distributions import Normal

from kernels import noise
from kernels.networks import Called, Network
from kernels.place import Place


def history(network: Network, x: Tensor, steps: int, eps: Tensor | None = None) -> Tensor:
    """Draw x_{t-1} ~ p(x_{t-1} | x_t) = N(mean(x_t, t / (T + 1)), std(x_t, t / (T + 1))^2) for t = T ... 1.

    Args:
        network: (x [N, D], t [N, 1]) -> (mean [N, D], std [N, D]). Its argument t is the step divided by T + 1.
        x: x_T, [N, D], any floating dtype.
        steps: T, the number of time steps.
        eps: noise [T, N, D], row t - 1 for the step from x_t to x_{t-1}, or None for torch's global generator.

    Returns:
        x_T ... x_0, [T+1, N, D].
    """
    states = [x]
    for t in range(steps, 0, -1):
        p = Normal(*network(states[-1], x.new_full((len(x), 1), t / (steps + 1))))
        states.append(p.sample() if eps is None else p.mean + p.stddev * eps[t - 1])
    return torch.stack(states)


def reverse_process(network: Called, steps: int, count: int, place: Place, whole: bool) -> Tensor:
    """Return `history` with x_T and noise from the noise stream: x_0 [count, D], or x_T ... x_0 if `whole`."""
    draw = place._asdict() | {"device": network.device, "backend": "reference"}
    x = noise.normal(count, network.dim, stream=noise.TERMINAL, **draw)[0].to(network.dtype)
    eps = noise.normal(count, network.dim, steps, stream=noise.REVERSE, **draw).to(network.dtype)
    states = history(network, x, steps, eps)
    return states if whole else states[-1]
