"""x_0, weights -> the variational bound, and the gradient of every weight found in the same pass (Ho 2020, Eq. 3)."""

from typing import Any

import torch
from torch import Tensor

from kernels import arguments, backends
from kernels.variational_bound import compiled, vectorized
from kernels.variational_bound.vectorized import Weights

IMPLEMENTATIONS = {"vectorized": vectorized, "compiled": compiled}


class VariationalBound(torch.autograd.Function):
    """The forward pass already has the gradients; the backward pass only scales them."""

    @staticmethod
    def forward(ctx: Any, backend: str, x0: Tensor, betas: Tensor, place: dict[str, Any], *weights: Tensor) -> Tensor:
        detached = tuple(w.detach().contiguous() for w in weights)
        with torch.autocast(x0.device.type, enabled=False):  # float32 is what the op promises
            found = IMPLEMENTATIONS[backend].bound_and_gradients(x0.detach(), detached, betas, **place)
        ctx.save_for_backward(found, *weights)
        return found[-1].clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        found, *weights = ctx.saved_tensors
        scaled = found * gradient
        if torch.is_grad_enabled():  # create_graph=True
            scaled = DifferentiatedOnce.apply(scaled, *weights)
        *gradients, _ = scaled.split([w.numel() for w in weights] + [1])
        return None, None, None, None, *(g.view_as(w) for g, w in zip(gradients, weights, strict=True))


class DifferentiatedOnce(torch.autograd.Function):
    """Passes gradients on, and makes a second derivative an error; without this it would be zero without a word."""

    @staticmethod
    def forward(ctx: Any, gradients: Tensor, *weights: Tensor) -> Tensor:
        return gradients.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        raise RuntimeError("the bound cannot be differentiated twice on this backend; the reference can")


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
        backend: "vectorized", "compiled" or None for the best; the reference takes any network and has its own
            function, kernels.variational_bound.reference.variational_bound.

    Returns:
        The bound in nats divided by T + 1, a scalar.

    Raises:
        TypeError, ValueError, RuntimeError: a bad argument, or a backend that is not available.
    """
    arguments.points("x0", x0)
    backend = backends.check(backend or backends.best(x0.device.type), x0.device.type)
    if backend not in IMPLEMENTATIONS:
        raise ValueError(f"backend must be one of {', '.join(IMPLEMENTATIONS)}; got {backend!r}")
    arguments.float32("x0", x0, backend)
    arguments.weights(weights, x0.shape[1], x0.device)
    arguments.stream_position(seed, step, first, len(x0), x0.device)
    if x0.requires_grad:
        raise ValueError("x0 requires grad, but the bound is differentiable in the weights only: detach it")
    return VariationalBound.apply(backend, x0, betas, {"seed": seed, "step": step, "first": first}, *weights)
