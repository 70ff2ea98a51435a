"""Training: the tutorial's AdamW on all of the data, with options for tables, such as minibatches and averages."""

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
    """Train the network of a model in place. The defaults are the tutorial's.

    Training continues from the state of the model. Two calls with `steps=500` give the same weights, bit for bit, as
    one call with `steps=1000` and the same data and arguments, even if the model is saved and loaded between them.

    After training, the network may have an average or the best weights instead of the weights that the optimizer moved.
    Then both are kept in `diffusion.kept`, and further training continues from the weights of the optimizer.

    A GaussianMLP with dropout is in training mode during training. Any other network stays in its mode. Dropout draws
    from torch's generator, which is seeded from the noise stream for each iteration and restored after it.

    If torch.distributed has a default group, each of its processes calls this with the same arguments, and reads only
    the rows of its own shards. A shard is a run of consecutive rows, and every batch has its share of each shard. With
    R ranks, each computes every R-th shard. The ranks exchange their gradients, add them in one fixed order, and make
    the same update. So the weights are the same bits on any number of ranks with one kind of hardware and one thread
    each.

    Ctrl-C ends training after the current iteration. A second Ctrl-C ends it at once. See `Checkpoints` for more.

    On a CPU, no hook of an optimizer is called. If the backend `native` holds the network, a step computes what torch's
    AdamW does, but without autograd, and `grad` is None afterwards.

    On CUDA, with a backend that can be recorded ("triton"), steps are replayed from a CUDA graph. This holds for
    the tutorial's training of any network, and for other training of a GaussianMLP without dropout. If no kernel holds
    the network, first delete every loss that you have computed: what autograd keeps for it cannot be part of a graph.

    Args:
        diffusion: the model.
        x0: data, [N, D], with the dtype and the device of the network.
        steps: the number of iterations. Each updates the weights once.
        lr: the learning rate of AdamW.
        weight_decay: the weight decay of AdamW.
        seed: the seed of the noise and of the order of the rows. Iteration i uses the noise of step i of the stream.
        progress: whether to show a progress bar with the loss, if standard error is a terminal.
        condition: [N, C], if the network is conditioned.
        batch_size: the number of rows in an iteration, drawn without replacement. Each epoch has its own order. None is
            all rows.
        draws: see `Diffusion.loss`.
        closed_form: see `Diffusion.loss`.
        warmup_steps: the learning rate rises linearly from 0 over this many iterations, counted from the first
            iteration of the model.
        cosine_steps: the learning rate falls to 0 by half a cosine over this many iterations, counted from the first
            iteration of the model. With None it does not fall.
        max_grad_norm: if the Euclidean norm of the gradient of all parameters is larger, the gradient is scaled down to
            it. With None it is not.
        ema_decay: the decay of an exponential moving average of the weights, which the network has after training. With
            None there is no average.
        validation: rows [M, D], or a tuple of such rows and a condition [M, C]. The bound on them is computed with the
            same noise each time, for the average if there is one. After training, the network has the weights with the
            lowest bound.
        validate_every: the number of iterations between two validations, counted from the first iteration of the model.
        shards: the number of shards into which data and batches are cut, whatever the number of ranks; see above. None
            is 64 if torch.distributed has a default group, and no shards otherwise.
        checkpoints: where and how often to write all that is needed to resume training. None writes nothing.

    Returns:
        The losses of training and of validation.

    Raises:
        TypeError, ValueError: a bad argument.
        FloatingPointError: the loss of an iteration, or a weight after its update, is not finite. The message names the
            iteration. The weights are those before it. In the tutorial's training on CUDA, they can be those of up to
            200 iterations before it.
        KeyboardInterrupt: Ctrl-C, after a complete iteration. With checkpoints it is a TrainingInterrupted.
        RankLost: another process of the group has ended or no longer responds. The message names it.
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
            raise ValueError(
                f"validation must be a tensor, or a tuple of a tensor and a condition; got {len(both)} entries"
            )
        unseen = Rows(*both)
    diffusion.check_points("x0", x0)
    if batch_size is not None and batch_size > len(x0):
        raise ValueError(f"batch_size must be from 1 to {len(x0)}, the number of rows of x0; got {batch_size}")
    with (
        torch.inference_mode(False),  # even if the caller has set it: tensors that are made here are used again
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
            if ranks is not None:  # first, because the sizes of later messages depend on these
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
    """Return whether training is the tutorial's: no options of the recipe, no validation, condition or kept weights."""
    return recipe.is_the_tutorials and unseen is seen.condition is None and not diffusion.kept


def _check(
    diffusion: Diffusion,
    recipe: Recipe,
    seen: Rows,
    unseen: Rows | None,
    parts: Sequence[Shard] | None,
    ranks: Ranks | None,
) -> None:
    """Raise an error if `diffusion` cannot use the rows. This is checked before any kept weights are changed."""
    if unseen is not None:
        unseen.check("validation", diffusion)
    if parts is None:
        if not _is_plain(diffusion, recipe, seen, unseen):
            seen.check("x0", diffusion)
        return
    if ranks is not None and ranks.size > len(parts):
        raise ValueError(
            f"shards must be at least {ranks.size}, the number of ranks, and a batch must have as many rows; "
            f"got {recipe.shards} shards and batches of {recipe.batch_size or len(seen.x0)} rows"
        )
    if seen.condition is not None and len(seen.condition) != len(seen.x0):
        raise ValueError(f"condition of x0 must have {len(seen.x0)} rows; got {len(seen.condition)}")
    for i in own(len(parts), ranks):
        seen.at(parts[i].slice).check("x0", diffusion)


@contextlib.contextmanager
def training_mode(network: nn.Module) -> Iterator[None]:
    """Put a GaussianMLP with dropout into training mode in this context. Any other network stays in its mode."""
    if network.training or not (isinstance(network, GaussianMLP) and network.dropout):
        yield
        return
    network.train()
    try:
        yield
    finally:
        network.eval()
