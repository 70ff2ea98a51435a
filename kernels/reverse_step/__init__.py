"""mean, std of any network -> x_{t-1} = mean + std eps, the noise of the reverse process drawn inside (Ho 2020)."""

from typing import Any

import torch
from torch import Tensor

from kernels import arguments, backends
from kernels.operators import operator


def _like_mean(mean: Tensor, std: Tensor, t: int, **options: Any) -> Tensor:
    return torch.empty_like(mean, memory_format=torch.contiguous_format)


@operator("Tensor mean, Tensor std, int t, *, int seed, int first, str? backend", _like_mean)
def reverse_step(
    mean: Tensor, std: Tensor, t: int, *, seed: int = 0, first: int = 0, backend: str | None = None
) -> Tensor:
    """x_{t-1} ~ p(x_{t-1} | x_t) = N(mean, std^2), with the stream's noise of step t.

    Args:
        mean, std: [N, ...] float32 (any floating dtype on the reference); the elements of a sample are its dimensions
            in the stream, in order.
        t: from 1 to T.
        seed, first: place in the noise stream; `first` is the stream's index of row 0.

    Returns:
        The shape, dtype and device of mean; not differentiable.

    Raises:
        TypeError, ValueError, RuntimeError: a bad argument, or a backend that is not available.
    """
    arguments.elements({"mean": mean, "std": std})
    arguments.integer("t", t, 1, 2**34)
    arguments.stream_position(seed, 0, first, len(mean), mean.device)
    backend = backends.check(backend, mean.device.type)
    if backend != "reference":
        arguments.float32("mean", mean, backend)
    with torch.no_grad(), torch.autocast(mean.device.type, enabled=False):
        flat = (x.detach().reshape(len(mean), -1).contiguous() for x in (mean, std))
        implementation = backends.implementation("reverse_step", backend)
        return implementation.reverse_step(*flat, t, seed=seed, first=first).view_as(mean)
