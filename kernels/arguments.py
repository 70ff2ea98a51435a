"""Checks of arguments: every message names the argument, its value and what is allowed."""

import math
import operator

import torch
from torch import Tensor


def integer(name: str, value: object, low: int, high: int) -> int:
    """Return `value`, an int or anything with `__index__`, as an int; raise if it is a bool or outside low ... high."""
    if not isinstance(value, int):
        try:
            index = operator.index(value)  # type: ignore[arg-type]
        except TypeError:
            raise TypeError(f"{name} must be an int; got {value!r}") from None
        if isinstance(value, Tensor) and value.dtype == torch.bool:
            raise TypeError(f"{name} must be an int; got {value!r}")
        value = index
    elif isinstance(value, bool):
        raise TypeError(f"{name} must be an int; got {value!r}")
    if not low <= value <= high:
        raise ValueError(f"{name} must be from {low} to {high}; got {value}")
    return value


def number(name: str, value: object, low: float = -math.inf, high: float = math.inf) -> float:
    """Return `value` as a float if it is a finite number and low <= value <= high; raise otherwise."""
    if isinstance(value, bool | str | bytes) or not hasattr(value, "__float__"):
        raise TypeError(f"{name} must be a number; got {value!r}")
    found = float(value)
    if not (math.isfinite(found) and low <= found <= high):
        allowed = f"from {low} to {high}"
        if high == math.inf:
            allowed = {-math.inf: "finite", 0: "finite and not negative"}.get(low, f"finite and at least {low}")
        raise ValueError(f"{name} must be {allowed}; got {value}")
    return found


def floating(name: str, x: object) -> None:
    """Raise unless `x` is a tensor of a floating dtype."""
    if not isinstance(x, Tensor):
        raise TypeError(f"{name} must be a torch.Tensor; got {type(x).__name__}")
    if not x.dtype.is_floating_point:
        raise TypeError(f"{name} must have a floating dtype; got {x.dtype}")


def points(name: str, x: Tensor) -> None:
    """Raise unless `x` is a non-empty [N, D] float tensor. On the CPU its values must also be finite.

    On a CUDA device this is not checked, because every call would wait for the device. There, a value that is not
    finite makes the loss not finite.
    """
    floating(name, x)
    if x.dim() != 2 or x.numel() == 0:
        raise ValueError(f"{name} must have shape [N, D] with N >= 1 and D >= 1; got {list(x.shape)}")
    if x.device.type == "cpu":
        finite(name, x)


def finite(name: str, x: Tensor) -> None:
    """Raise unless every value of `x` is finite."""
    # A finite sum proves that all values are finite. It can also overflow, so look at each value before raising.
    if not math.isfinite(float(x.detach().sum())) and not bool(torch.isfinite(x).all()):
        raise ValueError(f"{name} must be finite; {int((~torch.isfinite(x)).sum())} of its values are not")


def elements(tensors: dict[str, Tensor]) -> None:
    """Raise unless all `tensors` are float tensors, not empty and not 0-d, with one shape, one dtype and one device."""
    first_name, first = next(iter(tensors.items()))
    for name, x in tensors.items():
        floating(name, x)
        if x.dim() == 0 or x.numel() == 0:
            raise ValueError(f"{name} must have shape [N, ...] and at least one element; got {list(x.shape)}")
        for what in ("shape", "dtype", "device"):
            if getattr(x, what) != getattr(first, what):
                raise ValueError(
                    f"{name} must have the {what} of {first_name}, {getattr(first, what)}; got {getattr(x, what)}"
                )
