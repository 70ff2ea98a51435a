"""Training steps as a CUDA graph: recorded once and replayed, with the losses read in chunks.

A step of the tutorial's size takes some microseconds on a GPU. Starting its kernels one by one, or waiting for its
loss, takes longer. So `iteration` lives on the device, and the graph advances it. The device also remembers whether a
loss was not finite. AdamW then leaves the weights and its own state as they are, in that step and in all steps that the
host starts before it has read the loss.
"""

import contextlib
import itertools
import math
from collections import deque
from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from tqdm import tqdm

from ddpm.batches import Rows
from ddpm.diffusion import Diffusion
from ddpm.optimizer import HostAdamW, Snapshot
from ddpm.recipe import Recipe
from ddpm.stop import Stop, Wish

CHUNK = 100  # steps between two reads of the losses; meanwhile the device works on one more chunk
WARM_UP = 3  # steps before the recording, in which Triton compiles, AdamW makes its state and cuBLAS its workspace

Step = Callable[[], object]


@contextlib.contextmanager
def on_side_stream(device: torch.device) -> Iterator[None]:
    """Use a new stream, which waits for earlier work; later work waits for it.

    Steps that a graph is to record must not have run on the default stream.
    """
    stream, outside = torch.cuda.Stream(device), torch.cuda.current_stream(device)
    stream.wait_stream(outside)
    try:
        with torch.cuda.stream(stream):
            yield
    finally:
        outside.wait_stream(stream)


def capture(step: Step) -> Step:
    """Record `step` on the current stream without running it; return a function that replays it."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=torch.cuda.current_stream()):
        step()
    return graph.replay


def recorded_step(
    diffusion: Diffusion, seen: Rows, recipe: Recipe, capture: Callable[[Step], Step]
) -> Callable[[int], float]:
    """Return a function that updates the network once, unless the loss is not finite, and returns the loss.

    The host sets the rows and the learning rate. After the warm-up, everything else is one replay of a graph.
    """
    device, order, optimizer = seen.x0.device, seen.order(recipe), HostAdamW(diffusion, recipe)
    rows = torch.zeros(recipe.batch_size or 0, dtype=torch.int64, device=device)
    at = torch.zeros((), dtype=torch.int64, device=device)
    learning_rate, found, not_finite = (torch.zeros((), dtype=torch.float32, device=device) for _ in range(3))

    def update() -> None:
        batch = seen if order is None else seen.at(rows)
        optimizer.zero_grad()
        loss = batch.backward(diffusion, recipe, at)
        not_finite.copy_((0 * loss).ne(0))
        if recipe.max_grad_norm is not None:
            torch.nn.utils.clip_grad_norm_(optimizer.parameters.values(), recipe.max_grad_norm)
        optimizer.step(learning_rate, not_finite)
        found.copy_(loss)

    taken = itertools.count()
    advance: Step = update

    def step(iteration: int) -> float:
        nonlocal advance
        if order is not None:
            rows.copy_(order(iteration))
        at.fill_(iteration)
        learning_rate.fill_(recipe.learning_rate(iteration))
        if next(taken) == WARM_UP:
            advance = capture(update)
        with optimizer.finite_or_undone(iteration):
            advance()
        return found.item()

    return step


def train_on_device(
    diffusion: Diffusion,
    optimizer: torch.optim.Optimizer,
    x0: Tensor,
    steps: int,
    recipe: Recipe,
    stop: Stop,
    bar: tqdm,
    capture: Callable[[Step], Step],
) -> Tensor:
    """Train as ddpm.train documents; return the losses on the CPU, [steps], or fewer when told to stop.

    Args:
        diffusion, x0, steps: see ddpm.train.
        optimizer: AdamW with `capturable=True`.
        recipe: the other arguments of ddpm.train.
        stop: checked after each chunk.
        bar: the progress bar.
        capture: records a step and returns its replay.
    """
    begin, device = diffusion.iteration, x0.device
    iteration = torch.tensor(begin, device=device)
    done = torch.zeros(1, dtype=torch.int64, device=device)
    losses = torch.full((steps,), math.nan, dtype=torch.float32, device=device)
    # AdamW reads this attribute; it becomes 1 at the first loss that is not finite, and stays 1
    optimizer.found_inf = not_finite = torch.zeros((), dtype=torch.float32, device=device)  # type: ignore[attr-defined]

    def step() -> None:
        optimizer.zero_grad()
        loss = diffusion.backward(x0, seed=recipe.seed, step=iteration, closed_form=recipe.closed_form)
        not_finite.masked_fill_((0 * loss).ne(0), 1)
        optimizer.step()
        losses.index_copy_(0, done, loss.view(1).float())
        done.add_(1)
        iteration.add_(1)

    def snapshot() -> Snapshot:
        return Snapshot({p: p for group in optimizer.param_groups for p in group["params"]}, optimizer.state)

    def report(first: int, values: Tensor) -> None:
        bad = (~torch.isfinite(values)).nonzero()
        if len(bad) > 0:
            raise FloatingPointError(f"the loss is {float(values[bad[0]])} at iteration {first + int(bad[0])}")
        bar.set_postfix_str(f"loss {float(values[-1]):.4f}", refresh=False)
        bar.update(len(values))

    waiting = deque[tuple[int, Callable[[], Tensor]]]()
    good = deque[tuple[int, Snapshot]](maxlen=3)  # from the start of each chunk that may be unread, and of one before
    advance: Step = step
    try:
        for start in range(0, steps, CHUNK):
            end = min(start + CHUNK, steps)
            good.append((start, snapshot()))
            for i in range(start, end):
                if i == WARM_UP:
                    advance = capture(step)
                advance()
            waiting.append((begin + start, read(losses[start:end])))
            if len(waiting) > 1:
                first, values = waiting.popleft()
                report(first, values())
            if stop.wish() != Wish.GO_ON:
                break
        for first, values in waiting:
            report(first, values())
    finally:
        losses = losses.cpu()
        # counts the losses before the first that is not finite or was never computed
        taken = int(torch.isfinite(losses).int().cumprod(0).sum())
        diffusion.iteration = begin + taken
        if not snapshot().is_finite():
            at, weights = next((kept for kept in reversed(good) if kept[1].is_finite()), good[0])
            weights.restore()
            diffusion.iteration = begin + at
            raise FloatingPointError(
                f"the weights are not finite after {begin + taken} iterations; "
                f"they were restored to iteration {begin + at}"
            )
    return losses[:taken]


def read(values: Tensor) -> Callable[[], Tensor]:
    """Start to copy `values` to the host; return a function that waits for this copy only, and returns it."""
    if not values.is_cuda:
        return values.clone
    host = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
    host.copy_(values, non_blocking=True)
    event = torch.cuda.Event()
    event.record()

    def wait() -> Tensor:
        event.synchronize()
        return host

    return wait
