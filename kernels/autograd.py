"""Autograd for a value whose gradients the forward pass has already computed."""

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor


def attach(value: Tensor, gradients: Tensor, inputs: Sequence[Tensor]) -> Tensor:
    """Return `value` as a function of `inputs` that can be differentiated once.

    `gradients` holds the gradients with respect to `inputs`, flat and in their order.
    """
    return WithGradients.apply(value, gradients, *inputs)


def split(gradients: Tensor, inputs: Sequence[Tensor]) -> list[Tensor]:
    """Split flat gradients into tensors with the shapes of the inputs."""
    parts = torch.split_with_sizes(gradients.view(-1), [tensor.numel() for tensor in inputs])
    # view() takes a microsecond, and a tensor of one dimension does not need it
    both = zip(parts, inputs, strict=True)
    return [part if tensor.dim() == 1 else part.view(tensor.shape) for part, tensor in both]


class WithGradients(torch.autograd.Function):
    """The forward pass already has the gradients; the backward pass only scales them."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, gradients: Tensor, *inputs: Tensor) -> Tensor:
        ctx.save_for_backward(gradients, *inputs)
        return value.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        gradients, *inputs = ctx.saved_tensors
        scaled = gradients * gradient
        if torch.is_grad_enabled():  # create_graph=True
            scaled = DifferentiatedOnce.apply(scaled, *inputs)
        return None, None, *split(scaled, inputs)


class DifferentiatedOnce(torch.autograd.Function):
    """Passes gradients on, and raises an error at a second derivative, which would otherwise silently be zero."""

    @staticmethod
    def forward(ctx: Any, gradients: Tensor, *inputs: Tensor) -> Tensor:
        return gradients.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        raise RuntimeError("the bound cannot be differentiated twice on this backend: use backend 'reference'")


def accumulates_plainly(tensor: Tensor) -> bool:
    """Return whether backward() would do no more to `tensor` than add a contiguous gradient to its `grad`."""
    hooks = tensor._backward_hooks or getattr(tensor, "_post_accumulate_grad_hooks", None)
    return tensor.requires_grad and tensor.is_leaf and tensor.is_contiguous() and not tensor.is_neg() and not hooks


@torch.no_grad()
def accumulate(tensors: Iterable[Tensor], gradients: Iterable[Tensor]) -> None:
    """Add gradients to the `grad` of each tensor, as backward() does."""
    have, theirs = [], []
    for tensor, gradient in zip(tensors, gradients, strict=True):
        if tensor.grad is None:
            tensor.grad = gradient
        else:
            have.append(tensor.grad)
            theirs.append(gradient)
    if have:
        torch._foreach_add_(have, theirs)  # one call for all: small tensors cost the time of the call


@contextlib.contextmanager
def without_hooks(tensors: Iterable[Tensor]) -> Iterator[None]:
    """Remove the hooks of `tensors` within the context: they must see a gradient once, whole, not in parts."""
    hooks = [tensor._backward_hooks for tensor in tensors if tensor._backward_hooks]
    kept = [dict(each) for each in hooks]
    for each in hooks:
        each.clear()
    try:
        yield
    finally:
        for each, entries in zip(hooks, kept, strict=True):
            each.update(entries)


def sources(outputs: Iterable[Tensor], beyond: Iterable[Tensor]) -> list[Tensor]:
    """Return the leaf tensors that require grad and that `outputs` depend on by a path that avoids `beyond`."""
    seen: set[Any] = {tensor.grad_fn for tensor in beyond if tensor.grad_fn is not None}
    known = {id(tensor) for tensor in beyond}
    waiting, found = [output.grad_fn for output in outputs], []
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        leaf = getattr(node, "variable", None)
        if leaf is not None and id(leaf) not in known:
            found.append(leaf)
        waiting += [parent for parent, _ in node.next_functions]
    return found
