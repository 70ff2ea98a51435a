"""Training steps that a backend computes without autograd: the bound, its gradients and AdamW."""

import contextlib
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from ddpm.batches import Rows
from ddpm.diffusion import Diffusion
from ddpm.optimizer import copied, kept_state
from ddpm.recipe import Recipe
from kernels import backends, networks
from kernels.autograd import accumulates_plainly
from kernels.training_step import AdamW, Steps, training_step


@contextlib.contextmanager
def one_call(diffusion: Diffusion, seen: Rows, recipe: Recipe) -> Iterator[Callable[[int], float] | None]:
    """Yield a function that runs an iteration and returns its loss, or None if the backend has no such function.

    At the end the model gets the optimizer's state and the iteration. The iteration follows from the number of updates,
    because an interrupt may come between an update and its count.
    """
    prepared, begin = _prepare(diffusion, seen, recipe), diffusion.iteration
    if prepared is None:
        yield None
        return
    steps, state = prepared
    try:
        yield lambda iteration: steps.run(iteration, recipe.learning_rate(iteration))
    finally:
        diffusion.iteration = begin + steps.updates()
        if steps.updates() > 0:
            diffusion.optimizer_state = state
        elif diffusion.optimizer_state is None:
            diffusion.optimizer_state = {}


def pair_of_steps(diffusion: Diffusion, recipe: Recipe) -> networks.MLPPair | None:
    """Return the network as the backend's training step holds it; None if the backend has no training step for it.

    Every parameter of the network must be in it exactly once.
    """
    pair, backend = networks.describe(diffusion.network), backends.get(diffusion.backend)
    if not backend.has("training_step"):
        return None
    if not backend.holds(pair, "variational_bound", recipe.closed_form, recipe.draws is not None):
        return None
    parameters = {id(p) for p in diffusion.network.parameters()}
    if parameters != {id(p) for p in pair.tensors} or len(pair.tensors) != len(parameters):
        return None
    return pair if all(map(accumulates_plainly, pair.tensors)) else None


def _prepare(diffusion: Diffusion, seen: Rows, recipe: Recipe) -> tuple[Steps, dict[str, dict[str, Tensor]]] | None:
    """Return the backend's own training step and the optimizer state that it updates; None if there is no such step.

    torch's optimizer is not used: the first one that is made imports torch's compiler, which takes a second.
    """
    pair = pair_of_steps(diffusion, recipe)
    if pair is None:
        return None
    names = {id(p): name for name, p in diffusion.network.named_parameters()}
    state = {}
    for p in pair.tensors:
        name = names[id(p)]
        if kept := kept_state(diffusion, name, p):
            state[name] = copied(kept, p)
        else:
            zero = torch.zeros((), dtype=torch.float32, device=p.device)
            state[name] = {"step": zero, "exp_avg": torch.zeros_like(p), "exp_avg_sq": torch.zeros_like(p)}
    each = [state[names[id(p)]] for p in pair.tensors]
    first, second, taken = ([of[key] for of in each] for key in ("exp_avg", "exp_avg_sq", "step"))
    adamw = AdamW(first, second, taken, recipe.weight_decay)
    steps = training_step(
        *(pair, seen.x0, diffusion.schedule.betas, adamw),
        seed=recipe.seed,
        closed_form=recipe.closed_form,
        draws=recipe.draws,
        condition=seen.condition,
        rows=seen.order(recipe),
        max_grad_norm=recipe.max_grad_norm,
        backend=diffusion.backend,
    )
    for p in pair.tensors:
        p.grad = None
    return steps, {name: state[name] for name in names.values()}
