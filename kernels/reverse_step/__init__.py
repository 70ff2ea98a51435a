"""One step of the reverse process, x_{t-1} = mean + std eps, for the mean and std of any network (Ho 2020)."""

import torch
from torch import Tensor

from kernels import arguments, backends
from kernels.modes import arithmetic
from kernels.operators import PLACE, operator
from kernels.place import MOST_STEPS, Place


def reverse_step(
    mean: Tensor, std: Tensor, t: int, *, seed: int = 0, first: int = 0, backend: str | None = None
) -> Tensor:
    """Draw x_{t-1} ~ p(x_{t-1} | x_t) = N(mean, std^2), with the noise of step t from the noise stream.

    Args:
        mean, std: [N, ...] float32 (any floating dtype on the reference). The elements of a sample, in order, are its
            dimensions in the stream.
        t: the step, from 1 to T.
        seed, first: the place in the noise stream. `first` is the index of row 0 in the stream.
        backend: a name, or None for the best that the dtype and the device allow.

    Returns:
        x_{t-1}, with the shape, dtype and device of mean. It is not differentiable.

    Raises:
        TypeError, ValueError, RuntimeError: an argument is not valid, or the backend is not available.
    """
    return one_step(mean, std, t, Place(seed, 0, first), backend)


def _like_mean(mean: Tensor, std: Tensor, t: int, place: Place, backend: str | None) -> Tensor:
    return torch.empty_like(mean, memory_format=torch.contiguous_format)


@operator(f"Tensor mean, Tensor std, int t, {PLACE}, str? backend", _like_mean)
def one_step(mean: Tensor, std: Tensor, t: int, place: Place, backend: str | None) -> Tensor:
    """Compute reverse_step."""
    arguments.elements({"mean": mean, "std": std})
    t = arguments.integer("t", t, 1, MOST_STEPS)
    place = place.checked(len(mean), mean.device)
    chosen = backends.choose(backend, mean.device.type, mean.dtype)
    chosen.check_dtype("mean", mean.dtype)
    implementation = chosen.implementation("reverse_step")
    with arithmetic(mean.device.type):
        flat = (x.detach().resolve_neg().reshape(len(mean), -1).contiguous() for x in (mean, std))
        return implementation.reverse_step(*flat, t, place).view_as(mean)
