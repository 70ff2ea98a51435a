"""One step of training in one call: the bound, its gradients and AdamW (Loshchilov and Hutter 2019, Algorithm 2)."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from torch import Tensor

from kernels import arguments, backends, schedules
from kernels.networks import MLPPair
from kernels.place import Place


class Steps(NamedTuple):
    """Prepared steps.

    Attributes:
        run: takes the iteration, which is the step of the noise stream, and returns the bound before the update, in
            nats divided by T + 1. Where that is not finite nothing is updated.
        updates: returns how many updates there have been, those too of which an interrupt has hidden the bound.
    """

    run: Callable[[int], float]
    updates: Callable[[], int]


class AdamW(NamedTuple):
    """The state of torch.optim.AdamW for the tensors of a pair, in their order, and its numbers.

    Attributes:
        first, second: the moments of each tensor, exp_avg and exp_avg_sq in torch's words, of its shape.
        taken: how many steps each has taken, 0-d float32.
        lr, weight_decay, betas, eps: as torch calls them.
    """

    first: Sequence[Tensor]
    second: Sequence[Tensor]
    taken: Sequence[Tensor]
    lr: float
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
    backend: str | None = None,
) -> Steps:
    """Prepare steps, of which each updates the pair's tensors and the state of AdamW in place.

    Args:
        pair: a network that the backend's kernel for variational_bound holds; contiguous tensors, each once.
        x0, betas, seed, closed_form, backend: as in variational_bound.
        adamw: contiguous float32 tensors.

    Returns:
        The steps.

    Raises:
        TypeError, ValueError, RuntimeError: a bad argument, or a backend that is not available or has no such kernel.
    """
    arguments.points("x0", x0)
    schedules.check(betas, False)
    if x0.requires_grad:
        raise ValueError("x0 requires grad, but the bound is differentiable in the network only: detach it")
    chosen = backends.choose(backend, x0.device.type, x0.dtype)
    chosen.check_dtype("x0", x0.dtype)
    if x0.shape[1] != pair.dim:
        raise ValueError(f"x0 must have shape [N, {pair.dim}], the network's dim; got {list(x0.shape)}")
    place = Place(seed).checked(len(x0), x0.device)
    return chosen.implementation("training_step").training_step(
        pair, x0.resolve_neg().contiguous(), betas, adamw, place.seed, closed_form
    )
