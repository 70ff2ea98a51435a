"""Training steps without autograd: the bound, its gradients and AdamW (Loshchilov and Hutter 2019, Algorithm 2)."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from kernels import arguments, backends, networks, schedules
from kernels.networks import MLPPair
from kernels.place import Place


class Steps(NamedTuple):
    """Prepared training steps.

    Attributes:
        run: takes the iteration, which is the `step` of the noise stream, and the learning rate. Returns the bound
            before the update, in nats divided by T + 1. If the bound is not finite, nothing is updated. If a weight
            would not be finite, nothing is updated and FloatingPointError is raised.
        updates: returns the number of updates so far. It counts an update even if an interrupt kept `run` from
            returning the bound.
    """

    run: Callable[[int, float], float]
    updates: Callable[[], int]


class Updates(NamedTuple):
    """Prepared updates of the weights.

    Attributes:
        update: takes the gradients [P] and the learning rate. Returns whether all weights are finite after the update.
            If they would not be, it changes nothing.
        done: returns the number of updates so far.
    """

    update: Callable[[Tensor, float], bool]
    done: Callable[[], int]


class AdamW(NamedTuple):
    """The state of torch.optim.AdamW for the tensors of a pair, in their order, and its hyperparameters.

    Attributes:
        first, second: the moments of each tensor, with its shape. Torch calls them exp_avg and exp_avg_sq.
        taken: the number of steps that each tensor has taken, 0-d float32.
        weight_decay, betas, eps: the arguments of torch.optim.AdamW with these names.
    """

    first: Sequence[Tensor]
    second: Sequence[Tensor]
    taken: Sequence[Tensor]
    weight_decay: float
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8


def training_step(
    pair: MLPPair,
    x0: Tensor,
    betas: Tensor,
    adamw: AdamW,
    *,
    seed: int = 0,
    closed_form: bool = False,
    draws: int | None = None,
    condition: Tensor | None = None,
    rows: Callable[[int], Tensor] | None = None,
    max_grad_norm: float | None = None,
    backend: str | None = None,
) -> Steps:
    """Prepare training steps. Each step updates the tensors of the pair and the state of AdamW in place.

    Args:
        pair: a network that the backend's kernel for this form of the bound holds. Its tensors must be contiguous, and
            none may occur twice.
        x0, betas, seed, closed_form, draws, condition, backend: as in variational_bound.
        adamw: contiguous tensors on the device of the pair and, except `taken`, in its dtype.
        rows: takes an iteration and returns the indices of the rows that it uses, int64. None is all rows.
        max_grad_norm: a gradient with a larger Euclidean norm is scaled down to it. None is no limit.

    Returns:
        The prepared steps.

    Raises:
        TypeError, ValueError, RuntimeError: an argument is not valid, or the backend is not available or has no such
            kernel.
    """
    find = gradients_of_steps(
        *(pair, x0, betas),
        seed=seed,
        closed_form=closed_form,
        draws=draws,
        condition=condition,
        rows=rows,
        backend=backend,
    )
    _check_state(pair, adamw)
    chosen = backends.choose(backend, x0.device.type, x0.dtype)
    updates = chosen.implementation("training_step").updates(pair, adamw)
    found = x0.new_empty(sum(w.numel() for w in pair.tensors) + 1)
    gradients, bound = found[:-1], found[-1]

    def run(iteration: int, lr: float) -> float:
        find(found, iteration)
        value = bound.item()
        if math.isfinite(value):
            if max_grad_norm is not None:  # as torch.nn.utils.clip_grad_norm_
                gradients.mul_((max_grad_norm / (torch.linalg.vector_norm(gradients) + 1e-6)).clamp(max=1.0))
            if not updates.update(gradients, lr):
                raise FloatingPointError(f"the weights are not finite after the update of iteration {iteration}")
        return value

    return Steps(run, updates.done)


def gradients_of_steps(
    pair: MLPPair,
    x0: Tensor,
    betas: Tensor,
    *,
    seed: int = 0,
    first: int = 0,
    closed_form: bool = False,
    draws: int | None = None,
    condition: Tensor | None = None,
    rows: Callable[[int], Tensor] | None = None,
    backend: str | None = None,
) -> Callable[[Tensor, int], None]:
    """Prepare the computation of the bound and its gradients in training steps.

    Args:
        pair, x0, betas, seed, closed_form, draws, condition, rows, backend: as in training_step.
        first: the index, in the noise stream, of the first row that a step uses.

    Returns:
        A function of `out`, [P + 1] in the dtype of the network, and an iteration. It writes the gradient of every
        tensor of the pair to `out`, flat and in their order, and then the bound.

    Raises:
        TypeError, ValueError, RuntimeError: an argument is not valid, or the backend is not available or has no such
            kernel.
    """
    arguments.points("x0", x0)
    schedules.check(betas, False)
    if x0.requires_grad:
        raise ValueError("x0 requires grad, but the bound is differentiable in the network only: detach it")
    chosen = backends.choose(backend, x0.device.type, x0.dtype)
    chosen.check_dtype("x0", x0.dtype)
    if x0.shape[1] != pair.dim:
        raise ValueError(f"x0 must have shape [N, {pair.dim}], the network's dim; got {list(x0.shape)}")
    pair.check_steps(len(betas))
    networks.check_condition(pair.condition_dim, condition, len(x0))
    place = Place(seed, first=first).checked(len(x0), x0.device)
    chosen.implementation("training_step")  # raises for a backend without it: such a backend has no `prepare` either
    find = chosen.implementation("variational_bound").prepare(pair, betas, closed_form, draws)
    x0 = x0.resolve_neg().contiguous()
    if condition is not None:
        condition = condition.detach().to(x0).resolve_neg().contiguous()

    def gradients(out: Tensor, iteration: int) -> None:
        x, c = x0, condition
        if rows is not None:
            used = rows(iteration)
            x, c = x0.index_select(0, used), None if condition is None else condition.index_select(0, used)
        find(out, x, place._replace(step=iteration), c)

    return gradients


def _check_state(pair: MLPPair, adamw: AdamW) -> None:
    """Raise unless the tensors of the state have the number, shapes, dtypes and device that compiled code needs."""
    for name, tensors in (("first", adamw.first), ("second", adamw.second), ("taken", adamw.taken)):
        if len(tensors) != len(pair.tensors):
            raise ValueError(f"adamw.{name} must have {len(pair.tensors)} tensors; got {len(tensors)}")
        for w, state in zip(pair.tensors, tensors, strict=True):
            shape, dtype = (w.shape, w.dtype) if name != "taken" else (torch.Size(()), torch.float32)
            if (state.shape, state.dtype, state.device) != (shape, dtype, w.device) or not state.is_contiguous():
                raise ValueError(
                    f"adamw.{name} must be contiguous, {list(shape)} in {dtype} on {w.device}; got "
                    f"{list(state.shape)} in {state.dtype} on {state.device}"
                )
