"""What makes a second derivative an error."""

from typing import Any

import torch
from torch import Tensor


class DifferentiatedOnce(torch.autograd.Function):
    """Passes gradients on, and makes a second derivative an error; without this it would be zero without a word."""

    @staticmethod
    def forward(ctx: Any, gradients: Tensor, *differentiated: Tensor) -> Tensor:
        return gradients.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        raise RuntimeError("the bound cannot be differentiated twice on this backend; the reference can")
