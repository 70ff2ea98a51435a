"""The bound of any network: a block of samples and a chunk of time at a time, each with its gradients.

The network is called on the rows (step, sample) of a chunk, and what it keeps for its gradients goes before the next
chunk is begun; so memory does not grow with N, and with T only by one block's trajectory.
"""

import math
from typing import Any

import torch
from torch import Tensor

from kernels import noise
from kernels.differentiation import DifferentiatedOnce
from kernels.forward_process import forward_process
from kernels.schedules import constants
from kernels.transition_bound import transition_bound
from kernels.variational_bound.reference import Network

ELEMENTS = 2**22  # of a block's trajectory
ROWS = 2**16  # that a network is called on


class ChunkedBound(torch.autograd.Function):
    """The forward pass already has the gradients; the backward pass only scales them."""

    @staticmethod
    def forward(
        ctx: Any, network: Network, wanted: bool, x0: Tensor, betas: Tensor, place: dict[str, Any], *parameters: Tensor
    ) -> Tensor:
        bound, gradients = bound_and_gradients(network, x0, betas, parameters if wanted else (), **place)
        ctx.save_for_backward(*gradients, *parameters)
        return bound

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        half = len(ctx.saved_tensors) // 2
        gradients, parameters = ctx.saved_tensors[:half], ctx.saved_tensors[half:]
        scaled = [g * gradient for g in gradients]
        if torch.is_grad_enabled():  # create_graph=True
            scaled = [DifferentiatedOnce.apply(g, *parameters) for g in scaled]
        return None, None, None, None, None, *scaled


def bound_and_gradients(
    network: Network, x0: Tensor, betas: Tensor, parameters: tuple[Tensor, ...], *, first: int, **place: Any
) -> tuple[Tensor, list[Tensor]]:
    """The bound in nats divided by T + 1, and the gradient of each of `parameters`."""
    count, dim = x0.shape
    steps = len(betas)
    times = torch.arange(1, steps + 1, dtype=torch.float64, device=x0.device) / (steps + 1)
    total = constants(betas, x0.device).clone()
    gradients = [torch.zeros_like(p) for p in parameters]
    width = max(1, ELEMENTS // ((steps + 1) * dim))
    for start in range(0, count, width):
        x = x0[start : start + width]
        at = {"first": first + start, **place}
        trajectory = forward_process(x, betas, **at)
        eps = noise.normal(len(x), dim, steps, device=x.device, **at)
        # each term counted from -log N(0; 0, 1), as the constants are
        terms = 0.5 * (trajectory[-1].double().square().sum() - eps.square_().sum(dtype=torch.float64)) / dim
        chunk = max(1, ROWS // len(x))
        for low in range(0, steps, chunk):
            high = min(low + chunk, steps)
            previous, after = trajectory[low:high].flatten(0, 1), trajectory[low + 1 : high + 1].flatten(0, 1)
            t = times[low:high].to(x.dtype).repeat_interleave(len(x)).unsqueeze(1)
            with torch.set_grad_enabled(bool(parameters)):
                # the rows of a chunk, from a mean over them to a sum over time of means over all samples
                bound = transition_bound(previous, *network(after, t), backend=place["backend"])
                part = bound * (len(after) / count)
            if parameters:
                found = torch.autograd.grad(part, parameters, allow_unused=True)
                for gradient, g in zip(gradients, found, strict=True):
                    if g is not None:
                        gradient += g
            terms += len(after) * (bound.detach().double() - 0.5 * math.log(2 * math.pi))
        total += terms / count
    return (total / (steps + 1)).to(x0.dtype), [g.div_(steps + 1) for g in gradients]


def variational_bound(
    network: Network, parameters: tuple[Tensor, ...], x0: Tensor, betas: Tensor, **place: Any
) -> Tensor:
    """The bound of a network that treats every row alike, differentiable once in `parameters`.

    Args:
        network: (x [B, D], t [B, 1]) -> (mean [B, D], std [B, D]); t is t / (T + 1).
        parameters: those of the network that require a gradient.
        x0: data, [N, D] float32.
        betas: [T], each in (0, 1); not to be changed in place.
        place: seed, step and first in the noise stream, and the backend.

    Returns:
        The bound in nats divided by T + 1, a scalar (Ho 2020, Eq. 3).
    """
    return ChunkedBound.apply(network, torch.is_grad_enabled(), x0, betas, place, *parameters)
