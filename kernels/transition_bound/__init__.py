"""One transition's part of the bound, E[-log p(x_{t-1} | x_t)], for the mean and std of any network (Ho 2020, Eq. 3).

The gradients are computed in the same pass. With z = (x_{t-1} - mean) / std, for each element

    -log p = z^2 / 2 + log std + log(2 pi) / 2,   d / d mean = -z / std,   d / d std = (1 - z^2) / std

In closed form the mean of q(x_{t-1} | x_t, x_0) replaces x_{t-1}, and z^2 + variance / std^2 replaces z^2. This is the
expectation over q. Minus the entropy of q it is KL(q || p) (Ho 2020, Eq. 5).
"""

from torch import Tensor

from kernels import arguments, autograd, backends
from kernels.modes import arithmetic


def transition_bound(
    previous: Tensor, mean: Tensor, std: Tensor, *, variance: Tensor | None = None, backend: str | None = None
) -> Tensor:
    """Return the mean over all elements of E[-log N(x_{t-1}; mean, std^2)], differentiable in mean and std.

    It can be differentiated once, and on the reference any number of times.

    Args:
        previous: x_{t-1}, or its mean if there is a variance. Any shape, float32 (any floating dtype on the reference).
            It must not require grad.
        mean, std: those of p(x_{t-1} | x_t), with the shape, dtype and device of `previous`; std > 0.
        variance: the variance of x_{t-1} given x_t and x_0, with the shape, dtype and device of `previous`. None is 0.
        backend: a name, or None for the best that the dtype and the device allow.

    Returns:
        A scalar, in nats. It is not finite if a std is not positive (the reference raises ValueError).

    Raises:
        TypeError, ValueError, RuntimeError: an argument is not valid, or the backend is not available.
    """
    given = {"previous": previous} if variance is None else {"previous": previous, "variance": variance}
    arguments.elements({**given, "mean": mean, "std": std})
    chosen = backends.choose(backend, previous.device.type, previous.dtype)
    for name, x in given.items():
        if x.requires_grad:
            raise ValueError(f"{name} requires grad, but the bound is differentiable in mean and std only: detach it")
    chosen.check_dtype("previous", previous.dtype)
    implementation = chosen.implementation("transition_bound")
    if chosen.by_autograd:
        return implementation.transition_bound(previous, mean, std, variance)
    with arithmetic(previous.device.type):
        flat = (
            None if x is None else x.detach().resolve_neg().contiguous().view(-1)
            for x in (previous, mean, std, variance)
        )
        bound, gradients = implementation.bound_and_gradients(*flat)
    return autograd.attach(bound, gradients, (mean, std))
