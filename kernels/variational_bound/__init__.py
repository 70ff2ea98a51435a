"""The variational bound of a network, and the gradient of every weight in the same pass (Ho 2020, Eq. 3)."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from kernels import arguments, autograd, backends, networks, schedules
from kernels.backends import Backend
from kernels.modes import arithmetic
from kernels.networks import Called, MLPPair, Network
from kernels.operators import PAIR, PLACE, operator
from kernels.place import Place
from kernels.variational_bound import unfused
from kernels.variational_bound.drawn import MOST_DRAWS

# The function that a backend may prepare for training, for one pair, schedule and form of the bound. It takes
# out [P + 1], x0, the place and the condition. It writes the gradient of every tensor and then the bound to `out`.
Find = Callable[[Tensor, Tensor, Place, Tensor | None], None]


def variational_bound(
    network: Network,
    x0: Tensor,
    betas: Tensor,
    *,
    seed: int = 0,
    step: int | Tensor = 0,
    first: int = 0,
    closed_form: bool = False,
    draws: int | None = None,
    condition: Tensor | None = None,
    backend: str | None = None,
) -> Tensor:
    """Return the bound, differentiable in the network's parameters once, and on the reference any number of times.

    Args:
        network: (x [B, D], t [B, 1]) -> (mean [B, D], std [B, D]). Its argument t is the step divided by T + 1. If the
            backend's kernel holds the network (see kernels.backends), the kernel computes it. Any other network is
            called on a chunk of steps at a time. It must treat every row alike, and its gradients go to the parameters
            of a torch.nn.Module.
        x0: data, [N, D], in the dtype of the network, which must be float32 (any floating dtype on the reference). It
            may require grad on the reference only.
        betas: [T], each in (0, 1). The tensor must not be changed in place.
        seed, step, first: the place in the noise stream. `first` is the index of row 0 in the stream.
        closed_form: use the expectation over x_{t-1}, given x_t and x_0, instead of a sample: KL divergences (Ho 2020,
            Eq. 5). The bound is the same on average. Each term has less noise, but the noise of Eq. 3 cancels between
            the terms.
        draws: how many of the T terms to draw for each sample. Their states come from the closed form of q(x_t | x_0),
            and the result is an unbiased estimate. None is all terms, on one trajectory.
        condition: [N, C], for a network that is conditioned.
        backend: a name, or None for the best that the network, its dtype and the device allow.

    Returns:
        The bound in nats divided by T + 1, a scalar.

    Raises:
        TypeError, ValueError, RuntimeError: an argument is not valid, or the backend is not available.
    """
    arguments.floating("x0", x0)
    pair, place = networks.describe(network), Place(seed, step, first)
    known = pair or networks.called(network, x0.device, x0.dtype)
    chosen = _choose(known, x0, backend)
    if pair is not None:
        pair.check_steps(len(betas))
    if draws is not None:
        draws = arguments.integer("draws", draws, 1, MOST_DRAWS)
    if chosen.holds(pair, "variational_bound", closed_form, draws is not None):
        found = bound_and_gradients(pair, x0, betas, place, closed_form, draws, condition, chosen.name)
        return autograd.attach(found[-1], found[:-1], pair.tensors)
    place = _checked(x0, betas, place, chosen)
    called = (known if isinstance(known, Called) else networks.called(network)).given(condition, len(x0))
    if chosen.by_autograd:
        return chosen.implementation("variational_bound").variational_bound(
            called, x0, betas, place, closed_form, draws
        )
    if draws is not None:
        return unfused.drawn_bound(called, x0, betas, draws, place, closed_form, chosen.name)
    return unfused.variational_bound(called, x0, betas, place, closed_form, chosen.name)


def accumulate_gradients(
    network: Network,
    x0: Tensor,
    betas: Tensor,
    *,
    seed: int = 0,
    step: int | Tensor = 0,
    first: int = 0,
    closed_form: bool = False,
    draws: int | None = None,
    condition: Tensor | None = None,
    backend: str | None = None,
) -> Tensor:
    """Return the bound, detached, and add its gradients to the `grad` of the network's parameters.

    This does the same as variational_bound(...).backward(), with the same arguments, and also works within
    torch.no_grad. If a kernel computes the gradients anyway, autograd is not used. Then hooks on a parameter's
    AccumulateGrad node are not called, because torch gives no way to find them.
    """
    arguments.floating("x0", x0)
    pair = networks.describe(network)
    chosen = _choose(pair or networks.called(network, x0.device, x0.dtype), x0, backend)
    if draws is not None:
        draws = arguments.integer("draws", draws, 1, MOST_DRAWS)
    fused = chosen.holds(pair, "variational_bound", closed_form, draws is not None)
    if fused and pair is not None and all(map(autograd.accumulates_plainly, pair.tensors)):
        pair.check_steps(len(betas))
        place = Place(seed, step, first)
        found = bound_and_gradients(pair, x0, betas, place, closed_form, draws, condition, chosen.name)
        autograd.accumulate(pair.tensors, autograd.split(found[:-1], pair.tensors))
        return found[-1]
    with torch.inference_mode(False), torch.enable_grad():
        bound = variational_bound(
            network,
            x0,
            betas,
            seed=seed,
            step=step,
            first=first,
            closed_form=closed_form,
            draws=draws,
            condition=condition,
            backend=backend,
        )
        if bound.requires_grad:
            bound.backward()
    return bound.detach()


def _choose(network: MLPPair | Called, x0: Tensor, backend: str | None) -> Backend:
    if x0.device != network.device:
        raise ValueError(f"x0 is on {x0.device}, but the network is on {network.device}")
    chosen = backends.choose(backend, network.device.type, network.dtype)
    if x0.requires_grad and not chosen.by_autograd:
        raise ValueError("x0 requires grad, but the bound is differentiable in the network only: detach it")
    chosen.check_dtype("x0", x0.dtype)
    if x0.dtype != network.dtype:
        raise TypeError(f"x0 must be {network.dtype}, the dtype of the network; got {x0.dtype}")
    return chosen


def _checked(x0: Tensor, betas: Tensor, place: Place, backend: Backend) -> Place:
    arguments.points("x0", x0)
    schedules.check(betas, backend.by_autograd)
    return place.checked(x0.shape[0], x0.device)


def _like_found(pair: MLPPair, x0: Tensor, *_: Any) -> Tensor:
    return x0.new_empty(sum(w.numel() for w in pair.tensors) + 1)


@operator(
    f"{PAIR}, Tensor x0, Tensor betas, {PLACE}, bool closed_form, SymInt? draws, Tensor? condition, str backend",
    _like_found,
)
def bound_and_gradients(
    pair: MLPPair,
    x0: Tensor,
    betas: Tensor,
    place: Place,
    closed_form: bool,
    draws: int | None,
    condition: Tensor | None,
    backend: str,
) -> Tensor:
    """Return the gradients of a pair that the kernel holds, flat in its tensors' order, then the bound: [P + 1]."""
    chosen = backends.get(backend)
    place = _checked(x0, betas, place, chosen)
    if x0.shape[1] != pair.dim:
        raise ValueError(f"x0 must have shape [N, {pair.dim}], the network's dim; got {list(x0.shape)}")
    networks.check_condition(pair.condition_dim, condition, len(x0))
    if condition is not None:
        condition = condition.detach().to(x0).resolve_neg().contiguous()
    # most backends have none of these options, so pass them only if they are used
    options = (closed_form, draws, condition) if closed_form or draws is not None else ()
    with arithmetic(x0.device.type):
        return chosen.implementation("variational_bound").bound_and_gradients(
            pair, x0.resolve_neg().contiguous(), betas, place, *options
        )
