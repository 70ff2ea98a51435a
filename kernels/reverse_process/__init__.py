"""weights -> x_0, or the whole history from x_T to x_0 (Ho 2020, Eq. 2 reversed)."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from kernels import arguments, backends, schedules
from kernels.operators import operator


def _like_samples(weights: Sequence[Tensor], betas: Tensor, count: int, *, history: bool, **options: Any) -> Tensor:
    shape = (count, len(weights[3]))
    return weights[0].new_empty((len(betas) + 1, *shape) if history else shape)


@operator(
    "Tensor[] weights, Tensor betas, int count, *, int seed, int first, bool history, str? backend", _like_samples
)
def reverse_process(
    weights: Sequence[Tensor],
    betas: Tensor,
    count: int,
    *,
    seed: int = 0,
    first: int = 0,
    history: bool = False,
    backend: str | None = None,
) -> Tensor:
    """Samples of a network with one hidden layer, x_T and the noise of every step from the stream.

    Args:
        weights: as in kernels.variational_bound.
        betas: [T], whose length and nothing else matters here; not to be changed in place.
        count: how many samples.
        seed, first: place in the noise stream; `first` is the stream's index of the first sample.
        history: whether to return every state.
        backend: any but "reference", or None for the best. The reference takes any network and has its own function,
            kernels.reverse_process.reference.reverse_process.

    Returns:
        [count, D] float32, or with `history` [T+1, count, D] from x_T to x_0. On one backend and device a sample
        depends on (seed, its index) alone, bit for bit.

    Raises:
        TypeError, ValueError, RuntimeError: a bad argument, or a backend that is not available.
    """
    device = weights[0].device
    backend = backends.check_fused(backend, device.type)
    schedules.check(betas, device)
    arguments.weights(weights, weights[0].shape[1] - 1, device)
    arguments.integer("count", count, 0, 2**32)
    arguments.stream_position(seed, 0, first, count, device)
    with torch.no_grad(), torch.autocast(device.type, enabled=False):
        detached = tuple(w.detach().contiguous() for w in weights)
        implementation = backends.implementation("reverse_process", backend)
        return implementation.reverse_process(detached, betas, count, seed=seed, first=first, history=history)
