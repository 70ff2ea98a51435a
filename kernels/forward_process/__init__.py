"""x_0 -> x_0 ... x_T  (Ho 2020, Eq. 2)."""

from typing import Any

from torch import Tensor

from kernels import arguments, backends, noise
from kernels.forward_process import reference
from kernels.operators import operator


def _like_trajectory(x0: Tensor, betas: Tensor, device_step: Tensor | None, **options: Any) -> Tensor:
    return x0.new_empty(len(betas) + 1, *x0.shape)


@operator(
    "Tensor x0, Tensor betas, Tensor? device_step, *, int seed, int step, int first, str? backend", _like_trajectory
)
def forward_process(
    x0: Tensor,
    betas: Tensor,
    *,
    seed: int = 0,
    step: int | Tensor = 0,
    first: int = 0,
    backend: str | None = None,
) -> Tensor:
    """The trajectory of every point, with the noise of the stream.

    Args:
        x0: data, [N, D] float32 (any floating dtype on the reference).
        betas: [T], each in (0, 1); not to be changed in place.
        seed, step, first: place in the noise stream; `first` is the stream's index of row 0.

    Returns:
        x_0 ... x_T, [T+1, N, D], the dtype and device of x0. A sample depends on (seed, step, its index) alone.

    Raises:
        TypeError, ValueError, RuntimeError: a bad argument, or a backend that is not available.
    """
    arguments.points("x0", x0)
    arguments.stream_position(seed, step, first, len(x0), x0.device)
    backend = backends.check(backend, x0.device.type)
    if backend == "reference":
        arguments.schedule(betas)
        count, dim = x0.shape
        eps = noise.normal(count, dim, len(betas), seed=seed, step=step, first=first, device=x0.device, backend=backend)
        return reference.forward_process(x0, betas, eps.to(x0.dtype))
    arguments.float32("x0", x0, backend)
    implementation = backends.implementation("forward_process", backend)
    return implementation.forward_process(x0.contiguous(), betas, seed=seed, step=step, first=first)
