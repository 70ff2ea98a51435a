"""Training steps that the host waits for: by the backend's own step, by a CUDA graph, or by autograd."""

import contextlib
import math
from collections.abc import Callable, Iterator

import torch
from torch.nn.modules.dropout import _DropoutNd

from ddpm.batches import Rows
from ddpm.cuda_graph import capture, on_side_stream, recorded_step
from ddpm.diffusion import Diffusion
from ddpm.one_call import one_call
from ddpm.optimizer import HostAdamW
from ddpm.recipe import Recipe
from kernels import backends, networks
from kernels.constants import NETWORK, STREAM_SHIFT
from kernels.reference.noise import key_of, philox

Step = Callable[[int], float]


@contextlib.contextmanager
def host_step(diffusion: Diffusion, seen: Rows, recipe: Recipe) -> Iterator[Step]:
    """Yield a function that updates the network once and returns the loss; no update if the loss is not finite."""
    with one_call(diffusion, seen, recipe) as step:
        if step is not None:
            yield step
            return
    in_graphs = seen.x0.is_cuda and backends.get(diffusion.backend).in_cuda_graphs
    if in_graphs and not at_random(diffusion) and networks.describe(diffusion.network) is not None:
        with on_side_stream(seen.x0.device):
            yield recorded_step(diffusion, seen, recipe, capture)
    else:
        yield _step(diffusion, seen, recipe)


def _step(diffusion: Diffusion, seen: Rows, recipe: Recipe) -> Step:
    """Return a function that updates the network once and returns the loss; no update if the loss is not finite."""
    device, order, optimizer = seen.x0.device, seen.order(recipe), HostAdamW(diffusion, recipe)
    draws = at_random(diffusion)

    def step(iteration: int) -> float:
        rows = seen if order is None else seen.at(order(iteration).to(device))
        optimizer.zero_grad()
        with seeded(recipe.seed, iteration, device) if draws else contextlib.nullcontext():
            loss = rows.backward(diffusion, recipe, iteration)
        value = loss.item()
        if math.isfinite(value):
            optimizer.clip_and_step(iteration)
        return value

    return step


def at_random(diffusion: Diffusion) -> bool:
    """Return whether the network itself draws random numbers in training, for dropout."""
    return any(isinstance(module, _DropoutNd) and module.p > 0 for module in diffusion.network.modules())


@contextlib.contextmanager
def seeded(seed: int, iteration: int, device: torch.device, shard: int = 0) -> Iterator[None]:
    """Seed torch's generators from the noise stream in this context, and restore them afterwards.

    The random numbers that a network itself draws are then reproducible too.
    """
    high, low, *_ = philox((shard, 0, iteration, NETWORK << STREAM_SHIFT), key_of(seed))
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(high << 32 | low)
        yield
