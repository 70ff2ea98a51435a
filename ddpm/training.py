"""Training: the tutorial's AdamW on all the data, and what makes it learn from tables: minibatches and averages."""

import contextlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd
from tqdm import tqdm

from ddpm.averages import AVERAGE, BEST, Averages
from ddpm.batches import Rows
from ddpm.cuda_graph import capture, on_side_stream, recorded_step, train_on_device
from ddpm.diffusion import Diffusion
from ddpm.networks import GaussianMLP
from ddpm.one_call import one_call
from ddpm.optimizer import HostAdamW, device_adamw
from ddpm.progress import progress_bar
from ddpm.recipe import Recipe
from kernels import arguments, backends, networks
from kernels.constants import NETWORK, STREAM_SHIFT
from kernels.reference.noise import key_of, philox


@dataclass(frozen=True)
class TrainingResult:
    """The losses of training.

    Attributes:
        losses: [steps] float32 on the CPU, the bound in nats divided by T + 1, before each update.
        validation_losses: iteration -> the same of the validation set, after that many updates.
    """

    losses: Tensor
    validation_losses: dict[int, float]


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

    Where the network has other weights after training than the optimizer moved, both are kept, in `diffusion.kept`, and
    further training goes on from the latter.

    A GaussianMLP with dropout is in training mode meanwhile, any other network in the mode that it has. Dropout takes
    its random numbers from torch's generator, which is given a seed of the stream for each iteration and then back what
    it had.

    On a CPU no hook of an optimizer is called. Where the backend `native` holds the network, a step is taken without
    autograd and with what torch's AdamW computes, and `grad` is None afterwards.

    On CUDA, with a backend that can be recorded ("triton"), steps are replayed from a CUDA graph: the tutorial's of any
    network, and others of a GaussianMLP without dropout. For a network that no kernel holds, let go of every loss that
    you computed before: what autograd keeps for it cannot be part of a graph.

    Raises:
        TypeError, ValueError: a bad argument.
        FloatingPointError: the loss is not finite; names the iteration. The weights stay as they were before it.
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
    )
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
    plain = recipe.is_the_tutorials and validation is condition is None and not diffusion.kept
    if not plain:
        for name, rows in (("x0", seen), ("validation", unseen)):
            if rows is not None:
                rows.check(name, diffusion)
    if batch_size is not None and batch_size > len(x0):
        raise ValueError(f"batch_size must be from 1 to {len(x0)}, the number of rows of x0; got {batch_size}")
    with torch.inference_mode(False), torch.enable_grad():  # whatever is around: what is made here is used again
        if x0.is_inference():
            seen = seen._replace(x0=x0.clone())
        diffusion.seed = seed
        if steps == 0:
            return TrainingResult(torch.zeros(0), {})
        with progress_bar(steps, "train", "step", progress) as bar, training_mode(diffusion.network):
            if plain:
                return TrainingResult(_train_as_the_tutorial(diffusion, seen, steps, recipe, bar), {})
            return _train_on_tables(diffusion, seen, steps, recipe, unseen, bar)


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


def _train_as_the_tutorial(diffusion: Diffusion, seen: Rows, steps: int, recipe: Recipe, bar: tqdm) -> Tensor:
    x0 = seen.x0
    if not x0.is_cuda:
        with host_step(diffusion, seen, recipe) as step:
            return _train_on_host(diffusion, step, steps, bar)
    arguments.finite("x0", x0)
    # a backend that waits for the device within a call cannot be part of a graph
    in_graphs = backends.get(diffusion.backend).in_cuda_graphs
    with device_adamw(diffusion, recipe) as optimizer, on_side_stream(x0.device):
        record = capture if in_graphs else (lambda step: step)
        return train_on_device(diffusion, optimizer, x0, steps, recipe.seed, recipe.closed_form, bar, record)


def _train_on_tables(
    diffusion: Diffusion, seen: Rows, steps: int, recipe: Recipe, unseen: Rows | None, bar: tqdm
) -> TrainingResult:
    averages = Averages(diffusion.kept, diffusion.network, recipe.ema_decay, unseen is not None)
    validated: dict[int, float] = {}

    def validation_loss(kind: str) -> float:
        assert unseen is not None
        with averages.in_use(kind), torch.no_grad():
            return diffusion.loss(
                unseen.x0, seed=recipe.seed, step=2**32 - 1, closed_form=recipe.closed_form, condition=unseen.condition
            ).item()

    # of this validation set, which may be another than that of earlier training
    diffusion.best_loss = validation_loss(BEST) if BEST in averages.kept else None

    def validate() -> None:
        if unseen is None or diffusion.iteration % recipe.validate_every != 0:
            return
        validated[diffusion.iteration] = loss = validation_loss(AVERAGE)
        if math.isfinite(loss) and (diffusion.best_loss is None or loss < diffusion.best_loss):
            diffusion.best_loss = loss
            averages.keep_best()

    def step_and_average(iteration: int) -> float:
        value = step(iteration)
        if math.isfinite(value):
            averages.update(iteration)
        return value

    try:
        with host_step(diffusion, seen, recipe) as step:
            losses = _train_on_host(diffusion, step_and_average, steps, bar, validate)
    finally:
        averages.finish()
    return TrainingResult(losses, validated)


@contextlib.contextmanager
def host_step(diffusion: Diffusion, seen: Rows, recipe: Recipe) -> Iterator[Callable[[int], float]]:
    """Give what updates the network once, unless the loss, which it returns, is not finite."""
    with one_call(diffusion, seen, recipe) as step:
        if step is not None:
            yield step
            return
    at_random = any(isinstance(module, _DropoutNd) and module.p > 0 for module in diffusion.network.modules())
    in_graphs = seen.x0.is_cuda and backends.get(diffusion.backend).in_cuda_graphs
    if in_graphs and not at_random and networks.describe(diffusion.network) is not None:
        with on_side_stream(seen.x0.device):
            yield recorded_step(diffusion, seen, recipe, capture)
    else:
        yield _step(diffusion, seen, recipe, at_random=at_random)


def _step(diffusion: Diffusion, seen: Rows, recipe: Recipe, at_random: bool) -> Callable[[int], float]:
    """Return what updates the network once, unless the loss, which it returns, is not finite."""
    device = seen.x0.device
    order = seen.order(recipe)
    optimizer = HostAdamW(diffusion, recipe)

    def step(iteration: int) -> float:
        rows = seen if order is None else seen.at(order(iteration).to(device))
        optimizer.zero_grad()
        with seeded(recipe.seed, iteration, device) if at_random else contextlib.nullcontext():
            loss = rows.backward(diffusion, recipe, iteration)
        value = loss.item()
        if math.isfinite(value):
            if recipe.max_grad_norm is not None:
                torch.nn.utils.clip_grad_norm_(optimizer.parameters.values(), recipe.max_grad_norm)
            optimizer.step(recipe.learning_rate(iteration))
        return value

    return step


@contextlib.contextmanager
def seeded(seed: int, iteration: int, device: torch.device) -> Iterator[None]:
    """Give torch's generators a seed of the stream for a while: what a network itself draws comes again as well."""
    high, low, *_ = philox((0, 0, iteration, NETWORK << STREAM_SHIFT), key_of(seed))
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(high << 32 | low)
        yield


def _train_on_host(
    diffusion: Diffusion,
    step: Callable[[int], float],
    steps: int,
    bar: tqdm,
    after: Callable[[], None] = lambda: None,
) -> Tensor:
    """Take steps, each with its iteration, and return the losses; `after` is called after each."""
    losses: list[float] = []
    for _ in range(steps):
        value = step(arguments.integer("iteration", diffusion.iteration, 0, 2**32 - 1))
        if not math.isfinite(value):
            raise FloatingPointError(f"the loss is {value} at iteration {diffusion.iteration}")
        losses.append(value)
        diffusion.iteration += 1
        after()
        bar.set_postfix_str(f"loss {value:.4f}", refresh=False)
        bar.update()
    return torch.tensor(losses, dtype=torch.float32, device="cpu")
