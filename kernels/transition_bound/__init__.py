"""x_{t-1}, mean, std of any network -> E[-log p(x_{t-1} | x_t)], its gradients found in the same pass (Ho 2020, Eq. 3).

With z = (x_{t-1} - mean) / std, for each element

    -log p = z^2 / 2 + log std + log(2 pi) / 2,   d / d mean = -z / std,   d / d std = (1 - z^2) / std
"""

from typing import Any

import torch
from torch import Tensor

from kernels import arguments, backends
from kernels.differentiation import DifferentiatedOnce
from kernels.transition_bound import reference


class TransitionBound(torch.autograd.Function):
    """The forward pass already has the gradients; the backward pass only scales them."""

    @staticmethod
    def forward(ctx: Any, backend: str, previous: Tensor, mean: Tensor, std: Tensor) -> Tensor:
        implementation = backends.implementation("transition_bound", backend)
        flat = (x.detach().contiguous().view(-1) for x in (previous, mean, std))
        with torch.autocast(previous.device.type, enabled=False):  # float32 is what the op promises
            bound, d_mean, d_std = implementation.bound_and_gradients(*flat)
        ctx.save_for_backward(d_mean.view_as(mean), d_std.view_as(std), mean, std)
        return bound

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        d_mean, d_std, *differentiated = ctx.saved_tensors
        scaled = (d_mean * gradient, d_std * gradient)
        if torch.is_grad_enabled():  # create_graph=True
            scaled = tuple(DifferentiatedOnce.apply(g, *differentiated) for g in scaled)
        return None, None, *scaled


def transition_bound(previous: Tensor, mean: Tensor, std: Tensor, *, backend: str | None = None) -> Tensor:
    """The mean over all elements of -log N(x_{t-1}; mean, std^2), differentiable once in mean and std.

    Args:
        previous: x_{t-1}, any shape, float32 (any floating dtype on the reference); not differentiable.
        mean, std: of p(x_{t-1} | x_t), the shape, dtype and device of `previous`; std > 0.

    Returns:
        A scalar, in nats. It is not finite where std is not positive (on the reference that is a ValueError).

    Raises:
        TypeError, ValueError, RuntimeError: a bad argument, or a backend that is not available.
    """
    arguments.elements({"previous": previous, "mean": mean, "std": std})
    backend = backends.check(backend, previous.device.type)
    if previous.requires_grad:
        raise ValueError("previous requires grad, but the bound is differentiable in mean and std only: detach it")
    if backend == "reference":
        return reference.transition_bound(previous, mean, std)
    arguments.float32("previous", previous, backend)
    return TransitionBound.apply(backend, previous, mean, std)
