"""The reverse process of any network, one fused step after each call of the network."""

from typing import Any

import torch
from torch import Tensor

from kernels import noise
from kernels.reverse_step import reverse_step
from kernels.variational_bound.reference import Network


def reverse_process(
    network: Network,
    dim: int,
    steps: int,
    count: int,
    *,
    seed: int,
    first: int,
    history: bool,
    backend: str,
    device: torch.device,
) -> Tensor:
    """x_0 [count, D] float32, or with `history` x_T ... x_0 [T+1, count, D]; arguments as in the reference."""
    place: dict[str, Any] = {"seed": seed, "first": first, "backend": backend}
    x = noise.normal(count, dim, stream=noise.TERMINAL, device=device, **place)[0]
    states = [x]
    for t in range(steps, 0, -1):
        if count > 0:
            x = reverse_step(*network(x, x.new_full((count, 1), t / (steps + 1))), t, **place)
        if history:
            states.append(x)
    return torch.stack(states) if history else x
