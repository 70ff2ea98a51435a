"""x_0, weights -> the variational bound, and the gradient of every weight found in the same pass (Ho 2020, Eq. 3)."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from kernels import arguments, backends
from kernels.differentiation import DifferentiatedOnce
from kernels.operators import operator
from kernels.variational_bound.vectorized import Weights


def _like_found(
    x0: Tensor, weights: Sequence[Tensor], betas: Tensor, device_step: Tensor | None, **options: Any
) -> Tensor:
    return x0.new_empty(sum(w.numel() for w in weights) + 1)


@operator(
    "Tensor x0, Tensor[] weights, Tensor betas, Tensor? device_step, *, int seed, int step, int first, str? backend",
    _like_found,
)
def bound_and_gradients(
    x0: Tensor,
    weights: Weights,
    betas: Tensor,
    *,
    seed: int = 0,
    step: int | Tensor = 0,
    first: int = 0,
    backend: str | None = None,
) -> Tensor:
    """What `variational_bound` finds, without autograd; the same arguments.

    Returns:
        The gradient of every weight, flat in the order of `weights`, then the bound: [P + 1].
    """
    arguments.points("x0", x0)
    backend = backends.check_fused(backend, x0.device.type)
    arguments.float32("x0", x0, backend)
    arguments.weights(weights, x0.shape[1], x0.device)
    arguments.stream_position(seed, step, first, len(x0), x0.device)
    detached = tuple(w.detach().contiguous() for w in weights)
    implementation = backends.implementation("variational_bound", backend)
    with torch.no_grad(), torch.autocast(x0.device.type, enabled=False):  # float32 is what the op promises
        return implementation.bound_and_gradients(
            x0.detach().contiguous(), detached, betas, seed=seed, step=step, first=first
        )


def split(found: Tensor, weights: Weights) -> tuple[Tensor, ...]:
    """The gradients of `bound_and_gradients`, in the shapes of the weights."""
    *gradients, _ = found.split([w.numel() for w in weights] + [1])
    return tuple(g.view_as(w) for g, w in zip(gradients, weights, strict=True))


class VariationalBound(torch.autograd.Function):
    """The forward pass already has the gradients; the backward pass only scales them."""

    @staticmethod
    def forward(ctx: Any, x0: Tensor, betas: Tensor, options: dict[str, Any], *weights: Tensor) -> Tensor:
        found = bound_and_gradients(x0, weights, betas, **options)
        ctx.save_for_backward(found, *weights)
        return found[-1].clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        found, *weights = ctx.saved_tensors
        scaled = found * gradient
        if torch.is_grad_enabled():  # create_graph=True
            scaled = DifferentiatedOnce.apply(scaled, *weights)
        return None, None, None, *split(scaled, tuple(weights))


def variational_bound(
    x0: Tensor,
    weights: Weights,
    betas: Tensor,
    *,
    seed: int = 0,
    step: int | Tensor = 0,
    first: int = 0,
    backend: str | None = None,
) -> Tensor:
    """The bound of a network with one hidden layer, differentiable once in its weights.

    Args:
        x0: data, [N, D] float32; not differentiable.
        weights: W1 [H, D + 1], b1 [H], W2 [D, H], b2 [D] of the mean network, then of the std network, whose last
            column of W1 belongs to the time t / (T + 1); float32.
        betas: [T], each in (0, 1); not to be changed in place.
        seed, step, first: place in the noise stream; `first` is the stream's index of row 0.
        backend: any but "reference", or None for the best. The reference takes any network and has its own function,
            kernels.variational_bound.reference.variational_bound.

    Returns:
        The bound in nats divided by T + 1, a scalar.

    Raises:
        TypeError, ValueError, RuntimeError: a bad argument, or a backend that is not available.
    """
    if isinstance(x0, Tensor) and x0.requires_grad:
        raise ValueError("x0 requires grad, but the bound is differentiable in the weights only: detach it")
    options = {"seed": seed, "step": step, "first": first, "backend": backend}
    return VariationalBound.apply(x0, betas, options, *weights)
