"""The forward process: x_0 -> x_0 ... x_T (Ho 2020, Eq. 2)."""

from torch import Tensor

from kernels import arguments, backends, schedules
from kernels.modes import arithmetic
from kernels.operators import PLACE, operator
from kernels.place import Place


def forward_process(
    x0: Tensor,
    betas: Tensor,
    *,
    seed: int = 0,
    step: int | Tensor = 0,
    first: int = 0,
    backend: str | None = None,
) -> Tensor:
    """Return the trajectory of every point, with noise from the noise stream.

    Args:
        x0: data, [N, D] float32 (any floating dtype on the reference).
        betas: [T], each in (0, 1). The tensor must not be changed in place.
        seed, step, first: the place in the noise stream. `first` is the index of row 0 in the stream.
        backend: a name, or None for the best that the dtype and the device of x0 allow.

    Returns:
        x_0 ... x_T, [T+1, N, D], with the dtype and device of x0. It is differentiable in x0 on the reference only. The
        noise of a sample depends only on seed, step and the index of the sample.

    Raises:
        TypeError, ValueError, RuntimeError: an argument is not valid, or the backend is not available.
    """
    return trajectory(x0, betas, Place(seed, step, first), backend)


def _like_trajectory(x0: Tensor, betas: Tensor, place: Place, backend: str | None) -> Tensor:
    return x0.new_empty(len(betas) + 1, *x0.shape)


@operator(f"Tensor x0, Tensor betas, {PLACE}, str? backend", _like_trajectory)
def trajectory(x0: Tensor, betas: Tensor, place: Place, backend: str | None) -> Tensor:
    """Compute forward_process."""
    arguments.points("x0", x0)
    place = place.checked(len(x0), x0.device)
    chosen = backends.choose(backend, x0.device.type, x0.dtype)
    chosen.check_dtype("x0", x0.dtype)
    schedules.check(betas, chosen.by_autograd)
    if x0.requires_grad and not chosen.by_autograd:
        raise ValueError("x0 requires grad, but only the reference is differentiable in it: detach it")
    implementation = chosen.implementation("forward_process")
    if chosen.by_autograd:
        return implementation.forward_process(x0, betas, place)
    with arithmetic(x0.device.type):
        return implementation.forward_process(x0.detach().resolve_neg().contiguous(), betas, place)
