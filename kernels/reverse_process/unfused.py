"""The reverse process of a network that no kernel holds: one fused step after each call of the network."""

from typing import Any

import torch
from torch import Tensor

from kernels import noise
from kernels.networks import Called
from kernels.place import Place
from kernels.reverse_step import reverse_step


def reverse_process(network: Called, steps: int, count: int, place: Place, history: bool, backend: str) -> Tensor:
    """Return x_0 [count, D] float32, or with `history` x_T ... x_0 [T+1, count, D]."""
    at: dict[str, Any] = {"seed": place.seed, "first": place.first, "backend": backend}
    x = noise.normal(count, network.dim, stream=noise.TERMINAL, device=network.device, **at)[0]
    states = [x]
    for t in range(steps, 0, -1):
        if count > 0:
            outputs = network(x, x.new_full((count, 1), t / (steps + 1)))
            x = reverse_step(*outputs, t, **at)
        if history:
            states.append(x)
    return torch.stack(states) if history else x
