"""Checks of arguments: every message names the argument, its value and what is allowed."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def integer(name: str, value: object, low: int, high: int) -> None:
    """Raise unless `value` is an int with low <= value <= high."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an int; got {value!r}")
    if not low <= value <= high:
        raise ValueError(f"{name} must be from {low} to {high}; got {value}")


def stream_position(seed: object, step: object, first: object, count: int, device: torch.device) -> None:
    """Raise unless (seed, step, first, count) is a place in the noise stream."""
    integer("seed", seed, -(2**63), 2**64 - 1)
    integer("first", first, 0, 2**32 - count)
    if isinstance(step, Tensor):
        if step.dim() != 0 or step.dtype not in (torch.int32, torch.int64):
            raise TypeError(f"step must be an int or a 0-d int tensor; got {step.dtype} of shape {list(step.shape)}")
        if step.device != device:
            raise ValueError(f"step is on {step.device}, but the data on {device}")
    else:
        integer("step", step, 0, 2**32 - 1)


def points(name: str, x: object) -> None:
    """Raise unless `x` is a non-empty [N, D] float tensor, and on the CPU a finite one.

    To ask a CUDA device would be to wait for it, at every call; what is not finite there makes the loss so too.
    """
    if not isinstance(x, Tensor):
        raise TypeError(f"{name} must be a torch.Tensor; got {type(x).__name__}")
    if not x.dtype.is_floating_point:
        raise TypeError(f"{name} must have a floating dtype; got {x.dtype}")
    if x.dim() != 2 or x.numel() == 0:
        raise ValueError(f"{name} must have shape [N, D] with N >= 1 and D >= 1; got {list(x.shape)}")
    if x.device.type == "cpu":
        finite(name, x)


def finite(name: str, x: Tensor) -> None:
    """Raise unless every value of `x` is finite."""
    # one sum finds nearly always that all is well; it overflows now and then where all is
    if not math.isfinite(float(x.detach().sum())) and not bool(torch.isfinite(x).all()):
        raise ValueError(f"{name} must be finite; {int((~torch.isfinite(x)).sum())} of its values are not")


def elements(tensors: dict[str, object]) -> None:
    """Raise unless `tensors` are float tensors of one shape, not empty and not 0-d, one dtype and one device."""
    first_name, first = next(iter(tensors.items()))
    for name, x in tensors.items():
        if not isinstance(x, Tensor):
            raise TypeError(f"{name} must be a torch.Tensor; got {type(x).__name__}")
        if not x.dtype.is_floating_point:
            raise TypeError(f"{name} must have a floating dtype; got {x.dtype}")
        if x.dim() == 0 or x.numel() == 0:
            raise ValueError(f"{name} must have shape [N, ...] and at least one element; got {list(x.shape)}")
        assert isinstance(first, Tensor)
        for what in ("shape", "dtype", "device"):
            if getattr(x, what) != getattr(first, what):
                raise ValueError(
                    f"{name} must have the {what} of {first_name}, {getattr(first, what)}; got {getattr(x, what)}"
                )


def float32(name: str, x: Tensor, backend: str) -> None:
    """Raise unless `x` is float32, which every backend but the reference needs."""
    if x.dtype != torch.float32:
        raise TypeError(f"{name} must be float32 for backend {backend!r}; got {x.dtype}")


def schedule(betas: object) -> None:
    """Raise unless `betas` is a float [T] tensor with T >= 1 and every beta in (0, 1)."""
    if not isinstance(betas, Tensor):
        raise TypeError(f"betas must be a torch.Tensor; got {type(betas).__name__}")
    if not betas.dtype.is_floating_point:
        raise TypeError(f"betas must have a floating dtype; got {betas.dtype}")
    if betas.dim() != 1 or len(betas) == 0:
        raise ValueError(f"betas must have shape [T] with T >= 1; got {list(betas.shape)}")
    if not bool(((betas > 0) & (betas < 1)).all()):
        raise ValueError(f"betas must lie in (0, 1); got values from {float(betas.min())} to {float(betas.max())}")


def weights(tensors: Sequence[Tensor], dim: int, device: torch.device) -> None:
    """Raise unless `tensors` are the weights of a mean and a std network for `dim` dimensions, on `device`."""
    if len(tensors) != 8:
        raise ValueError(f"weights must be 8 tensors, W1, b1, W2, b2 of the mean and of the std; got {len(tensors)}")
    hidden = len(tensors[1])
    shapes = [(hidden, dim + 1), (hidden,), (dim, hidden), (dim,)] * 2
    for i, (tensor, shape) in enumerate(zip(tensors, shapes, strict=True)):
        if tuple(tensor.shape) != shape:
            raise ValueError(f"weights[{i}] must have shape {list(shape)}; got {list(tensor.shape)}")
        if tensor.dtype != torch.float32:
            raise TypeError(f"weights[{i}] must be float32; got {tensor.dtype}")
        if tensor.device != device:
            raise ValueError(f"weights[{i}] is on {tensor.device}, but {device} is expected")
