"""mean, std of any network -> x_{t-1} = mean + std eps, the noise of the reverse process drawn inside (Ho 2020)."""

import torch
from torch import Tensor

from kernels import arguments, backends
from kernels.modes import arithmetic
from kernels.operators import PLACE, operator
from kernels.place import MOST_STEPS, Place


def reverse_step(
    mean: Tensor, std: Tensor, t: int, *, seed: int = 0, first: int = 0, backend: str | None = None
) -> Tensor:
    """x_{t-1} ~ p(x_{t-1} | x_t) = N(mean, std^2), with the stream's noise of step t.

    Args:
        mean, std: [N, ...] float32 (any floating dtype on the reference); the elements of a sample are its dimensions
            in the stream, in order.
        t: from 1 to T.
        seed, first: place in the noise stream; `first` is the stream's index of row 0.
        backend: a name, or None for the best that the dtype and the device allow.

    Returns:
        The shape, dtype and device of mean; not differentiable.

    Raises:
        TypeError, ValueError, RuntimeError: a bad argument, or a backend that is not available.
    """
    return one_step(mean, std, t, Place(seed, 0, first), backend)


def _like_mean(mean: Tensor, std: Tensor, t: int, place: Place, backend: str | None) -> Tensor:
    return torch.empty_like(mean, memory_format=torch.contiguous_format)


@operator(f"Tensor mean, Tensor std, int t, {PLACE}, str? backend", _like_mean)
def one_step(mean: Tensor, std: Tensor, t: int, place: Place, backend: str | None) -> Tensor:
    """As reverse_step."""
    arguments.elements({"mean": mean, "std": std})
    t = arguments.integer("t", t, 1, MOST_STEPS)
    place = place.checked(len(mean), mean.device)
    chosen = backends.choose(backend, mean.device.type, mean.dtype)
    chosen.check_dtype("mean", mean.dtype)
    implementation = chosen.implementation("reverse_step")
    with arithmetic(mean.device.type):
        flat = (x.detach().resolve_neg().reshape(len(mean), -1).contiguous() for x in (mean, std))
        return implementation.reverse_step(*flat, t, place).view_as(mean)
