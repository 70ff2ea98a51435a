"""Training: the tutorial's AdamW on all the data, and what makes it learn from tables: minibatches and averages."""

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from ddpm import ranks as processes
from ddpm.batches import Rows
from ddpm.checkpoints import Checkpoints, Run
from ddpm.diffusion import Diffusion
from ddpm.identity import digests, identity, of_all, state
from ddpm.interrupts import deferred
from ddpm.loops import Loop
from ddpm.networks import GaussianMLP
from ddpm.progress import progress_bar
from ddpm.ranks import Ranks
from ddpm.recipe import Recipe
from ddpm.shards import SHARDS, Shard, own, sharded_step, shards_of
from ddpm.steps import host_step
from ddpm.stop import Stop
from ddpm.training_result import TrainingResult
from kernels import arguments


def train(
    diffusion: Diffusion,
    x0: Tensor,
    steps: int = 1000,
    lr: float = 1e-2,
    weight_decay: float = 1e-6,
    seed: int = 0,
    progress: bool = True,
    *,
    condition: Tensor | None = None,
    batch_size: int | None = None,
    draws: int | None = None,
    closed_form: bool = False,
    warmup_steps: int = 0,
    cosine_steps: int | None = None,
    max_grad_norm: float | None = None,
    ema_decay: float | None = None,
    validation: Tensor | tuple[Tensor, Tensor | None] | None = None,
    validate_every: int = 100,
    shards: int | None = None,
    checkpoints: Checkpoints | None = None,
) -> TrainingResult:
    """Train the network in place; what is not named is the tutorial's.

    Training goes on where the model stands: two calls of 500 steps, with a save and a load between them or not,
    give the weights of one call of 1000, bit for bit (same data and arguments).

    Args:
        x0: data, [N, D], dtype and device of the network.
        steps: how many updates.
        lr, weight_decay: of AdamW.
        seed: of the noise and of the order of rows; the noise of iteration i is that of step i of the stream.
        progress: show a progress bar with the loss, if standard error is a terminal.
        condition: [N, C], for a network that is conditioned.
        batch_size: rows an iteration, without replacement, each epoch in an order of its own; None is all.
        draws, closed_form: see Diffusion.loss.
        warmup_steps, cosine_steps: iterations, counted from the first ever, over which the learning rate rises from 0,
            and falls to 0 by half a cosine; None is never.
        max_grad_norm: a gradient with a larger Euclidean norm, of all parameters, is scaled down to it.
        ema_decay: of an exponential moving average of the weights, which the network has after training.
        validation: [M, D], or that and a condition [M, C], on which the bound is computed, of the average where there
            is one, with the same noise each time; after training the network has the weights that were best on it.
        validate_every: iterations between two such looks, counted from the first ever.
        shards: parts into which data and batches are cut, on however many ranks; see below. None is 64 where
            torch.distributed has a default group, and no parts where it has none.
        checkpoints: where and how often to write all that is needed to go on; None is nowhere.

    Where the network has other weights after training than the optimizer moved, both are kept, in `diffusion.kept`, and
    further training goes on from the latter.

    A GaussianMLP with dropout is in training mode meanwhile, any other network in the mode that it has. Dropout takes
    its random numbers from torch's generator, which is given a seed of the stream for each iteration and then back what
    it had.

    Where torch.distributed has a default group, each of its processes calls this with the same arguments, and reads
    only the rows of its own shards. A rank computes every size-th shard, all gather the gradients, and each adds them
    in one order and takes the same step: the weights are the same bits on any number of ranks of one kind, on one
    thread each. Every shard is a run of neighbouring rows, of which each batch has its share.

    Ctrl-C ends the iteration and then training, a second one at once; see Checkpoints for more.

    On a CPU no hook of an optimizer is called. Where the backend `native` holds the network, a step is taken without
    autograd and with what torch's AdamW computes, and `grad` is None afterwards.

    On CUDA, with a backend that can be recorded ("triton"), steps are replayed from a CUDA graph: the tutorial's of any
    network, and others of a GaussianMLP without dropout. For a network that no kernel holds, let go of every loss that
    you computed before: what autograd keeps for it cannot be part of a graph.

    Raises:
        TypeError, ValueError: a bad argument.
        FloatingPointError: the loss is not finite, or a weight after an update; names the iteration. The weights stay
            as they were before it; those of a loop on CUDA as at most 200 iterations before it.
        KeyboardInterrupt: Ctrl-C, after a whole iteration.
        RankLost: another process of the group has ended; names it.
    """
    steps = arguments.integer("steps", steps, 0, 2**32 - 1)
    recipe = Recipe(
        lr=lr,
        weight_decay=weight_decay,
        seed=seed,
        batch_size=batch_size,
        draws=draws,
        closed_form=closed_form,
        warmup_steps=warmup_steps,
        cosine_steps=cosine_steps,
        max_grad_norm=max_grad_norm,
        ema_decay=ema_decay,
        validate_every=validate_every,
        shards=shards,
    )
    if checkpoints is not None and not isinstance(checkpoints, Checkpoints):
        raise TypeError(f"checkpoints must be a ddpm.Checkpoints; got {checkpoints!r}")
    if any(p.is_inference() for p in diffusion.parameters()):
        raise ValueError("diffusion has parameters that were made in torch.inference_mode and cannot be trained")
    seen = Rows(x0, condition)
    unseen = None
    if validation is not None:
        both = validation if isinstance(validation, tuple) else (validation, None)
        if len(both) != 2:
            raise ValueError(f"validation must be a tensor, or that and a condition; got {len(both)} of them")
        unseen = Rows(*both)
    diffusion.check_points("x0", x0)
    if batch_size is not None and batch_size > len(x0):
        raise ValueError(f"batch_size must be from 1 to {len(x0)}, the number of rows of x0; got {batch_size}")
    with (
        torch.inference_mode(False),  # whatever is around: what is made here is used again
        torch.enable_grad(),
        processes.current() as ranks,
        deferred(terminate=checkpoints is not None) as interrupts,
    ):
        if ranks is not None and shards is None:
            recipe = dataclasses.replace(recipe, shards=SHARDS)
        if x0.is_inference():
            seen = seen._replace(x0=x0.clone())
        parts = None if recipe.shards is None else shards_of(len(x0), batch_size, recipe.shards)
        _check(diffusion, recipe, seen, unseen, parts, ranks)
        diffusion.seed = seed
        if steps == 0:
            return TrainingResult(torch.zeros(0), {})
        named = {}
        if checkpoints is not None or ranks is not None:
            named = identity(diffusion, steps, recipe, seen, unseen)
            if ranks is not None:  # before anything is gathered whose size depends on these
                told = None if checkpoints is None else [str(checkpoints.every), checkpoints.resume]
                processes.same(ranks, digests(named | {"checkpoints": told}), x0.device)
            named["x0"] = of_all(seen, parts, ranks)
        run = Run(checkpoints, diffusion, named, steps, Stop(interrupts), writes=ranks is None or ranks.rank == 0)
        if ranks is not None:
            stands = {"iteration": diffusion.iteration, "state of diffusion": state(diffusion)}
            processes.same(ranks, digests(named | stands), x0.device)
        with (
            progress_bar(steps, "train", "step", progress and run.writes, done=len(run.losses)) as bar,
            training_mode(diffusion.network),
        ):
            plain = _is_plain(diffusion, recipe, seen, unseen)
            if parts is None:
                step = partial(host_step, diffusion, seen, recipe)
            else:
                step = partial(sharded_step, diffusion, seen, recipe, parts, ranks, run.stop)
            loop = Loop(diffusion, seen, unseen, recipe, step, run.stop, bar)
            return run.result(loop.as_the_tutorial if plain else loop.on_tables)


def _is_plain(diffusion: Diffusion, recipe: Recipe, seen: Rows, unseen: Rows | None) -> bool:
    """Whether a step is all that there is to do: no averages, no validation."""
    return recipe.is_the_tutorials and unseen is seen.condition is None and not diffusion.kept


def _check(
    diffusion: Diffusion,
    recipe: Recipe,
    seen: Rows,
    unseen: Rows | None,
    parts: Sequence[Shard] | None,
    ranks: Ranks | None,
) -> None:
    """Raise unless `diffusion` can take the rows: before any weights that are kept are touched."""
    if unseen is not None:
        unseen.check("validation", diffusion)
    if parts is None:
        if not _is_plain(diffusion, recipe, seen, unseen):
            seen.check("x0", diffusion)
        return
    if ranks is not None and ranks.size > len(parts):
        raise ValueError(
            f"shards must be at least {ranks.size}, the number of ranks, and a batch have as many rows; got "
            f"{recipe.shards} of {recipe.batch_size or len(seen.x0)} rows"
        )
    if seen.condition is not None and len(seen.condition) != len(seen.x0):
        raise ValueError(f"condition of x0 must have {len(seen.x0)} rows; got {len(seen.condition)}")
    for i in own(len(parts), ranks):
        seen.at(parts[i].slice).check("x0", diffusion)


@contextlib.contextmanager
def training_mode(network: nn.Module) -> Iterator[None]:
    """Put a GaussianMLP with dropout into training mode for a while; what a user chose for another is left."""
    if network.training or not (isinstance(network, GaussianMLP) and network.dropout):
        yield
        return
    network.train()
    try:
        yield
    finally:
        network.eval()
