"""Batches in virtual shards. The gradients of the shards are added in one fixed order, on any number of ranks.

NCCL and gloo do not guarantee the order of a reduction. So each rank computes whole shards. Then it adds up its share
of the gradient's elements over all shards, in a tree. The weights are the same bits on any number of ranks with one
kind of hardware. With S shards on R ranks, a rank sends the gradients of its S / R shards once and receives as many
numbers. Then it receives the sum of each number.
"""

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn.functional import pad

from ddpm.batches import Batches, Rows
from ddpm.diffusion import Diffusion
from ddpm.one_call import pair_of_steps
from ddpm.optimizer import HostAdamW
from ddpm.ranks import Ranks, is_group
from ddpm.recipe import Recipe
from ddpm.steps import Step, at_random, seeded
from ddpm.stop import Stop, Wish
from kernels.networks import MLPPair
from kernels.training_step import gradients_of_steps

SHARDS = 64  # the default: enough for 64 ranks; with 8 ranks, each has 8 shards


@dataclass(frozen=True)
class Shard:
    """Consecutive rows of the data, and their places in every batch.

    Attributes:
        index: the number of the shard, from 0.
        rows: the rows of the data.
        places: the places in a batch. They determine the noise of the rows.
    """

    index: int
    rows: range
    places: range

    @property
    def slice(self) -> slice:
        """The slice that selects the rows of a tensor."""
        return slice(self.rows.start, self.rows.stop)


def split(count: int, shards: int) -> list[range]:
    """Cut `count` items into runs whose lengths differ by at most one, the longer ones first."""
    size, longer = divmod(count, shards)
    ends = [size * (i + 1) + min(i + 1, longer) for i in range(shards)]
    return [range(begin, end) for begin, end in zip([0, *ends[:-1]], ends, strict=True)]


def shards_of(rows: int, batch_size: int | None, count: int) -> list[Shard]:
    """Cut data and batches into `count` shards, or into fewer if a batch has fewer rows."""
    batch = batch_size or rows
    count = min(count, batch)
    parts = enumerate(zip(split(rows, count), split(batch, count), strict=True))
    return [Shard(i, of_data, of_batch) for i, (of_data, of_batch) in parts]


def shards_of_rank(rows: int, batch_size: int | None) -> list[Shard] | None:
    """Return the shards that this process will train on; None if it is alone and trains on all rows."""
    if not is_group():
        return None
    return shards_of(rows, batch_size, SHARDS)[dist.get_rank() :: dist.get_world_size()]


def own(count: int, ranks: Ranks | None) -> range:
    """Return the shards that this rank computes: every size-th."""
    return range(count) if ranks is None else range(ranks.rank, count, ranks.size)


def gather(found: Tensor, count: int, ranks: Ranks | None) -> Tensor:
    """Return the results of all shards, [count, ...], given those of the shards of this rank."""
    if ranks is None:
        return found
    most = -(-count // ranks.size)  # some ranks have one fewer
    padded = torch.cat([found, found.new_zeros((most - len(found), *found.shape[1:]))])
    return ranks.gather(padded).transpose(0, 1).flatten(0, 1)[:count]


def weighted_sum(found: Tensor, weights: Tensor, wish: Wish, ranks: Ranks | None) -> tuple[Tensor, Wish]:
    """Return the weighted sum over all shards, and the greatest wish of all ranks.

    Args:
        found: a row for each shard of this rank, [own, n].
        weights: the weights of all shards, [S] float64.
        wish: the wish of this rank.
        ranks: None if this process is alone.

    Returns:
        The sum of weights times rows, [n] float64, and the wish.
    """
    if ranks is None:
        return tree_sum(weights[:, None] * found), wish
    most, share = -(-len(weights) // ranks.size), -(-found.shape[1] // ranks.size)
    padded = pad(found, (0, share * ranks.size - found.shape[1], 0, most - len(found)))
    rows = ranks.exchange(padded.unflatten(1, (ranks.size, share)).transpose(0, 1))  # [rank, its shard, share]
    ordered = rows.transpose(0, 1).flatten(0, 1)[: len(weights)]
    own_sums = tree_sum(weights[:, None] * ordered)
    sums, wishes = ranks.gather(torch.cat([own_sums, own_sums.new_tensor([wish])])).split([share, 1], dim=1)
    return sums.flatten()[: found.shape[1]], Wish(int(wishes.max()))


def tree_sum(values: Tensor) -> Tensor:
    """Return the sum over the first dimension, in float64 and in a fixed order.

    Each value of the first half is added to its counterpart in the second half, and so on with these sums. If their
    number is odd, the last one is kept for the next round.
    """
    values = values.double()
    while len(values) > 1:
        half = len(values) // 2
        values = torch.cat([values[:half] + values[half : 2 * half], values[2 * half :]])
    return values[0]


@contextlib.contextmanager
def sharded_step(
    diffusion: Diffusion, seen: Rows, recipe: Recipe, shards: Sequence[Shard], ranks: Ranks | None, stop: Stop
) -> Iterator[Step]:
    """Yield a function that updates the network once, identically on all ranks, and returns the loss.

    If the loss is not finite, there is no update. The loss is the mean of the shards' losses, weighted by their shares
    of all rows. In every iteration, the ranks agree on whether to stop after it.
    """
    device, dtype, optimizer = seen.x0.device, seen.x0.dtype, HostAdamW(diffusion, recipe)
    pair = pair_of_steps(diffusion, recipe)
    trained = [p for p in diffusion.parameters() if p.requires_grad] if pair is None else pair.tensors
    sizes = [*(p.numel() for p in trained), 1]
    find = partial(_by_autograd, trained) if pair is None else partial(_by_kernel, pair)
    parts = [find(diffusion, seen.at(shards[i].slice), recipe, shards[i]) for i in own(len(shards), ranks)]
    found = torch.zeros((len(parts), sum(sizes)), dtype=dtype, device=device)
    weights = torch.tensor([len(shard.rows) / len(seen.x0) for shard in shards], dtype=torch.float64, device=device)

    def step(iteration: int) -> float:
        optimizer.zero_grad()
        for out, part in zip(found, parts, strict=True):
            part(out, iteration)
        total, stop.agreed = weighted_sum(found, weights, stop.wanted(), ranks)
        *gradients, loss = total.split(sizes)
        value = loss.item()
        if math.isfinite(value):
            for p, gradient in zip(trained, gradients, strict=True):
                p.grad = gradient.view(p.shape).to(p.dtype)
            optimizer.clip_and_step(iteration)
        return value

    with one_thread():
        yield step


Find = Callable[[Tensor, int], None]  # (row, iteration): write a shard's gradients and loss to a row


def _by_kernel(pair: MLPPair, diffusion: Diffusion, rows: Rows, recipe: Recipe, shard: Shard) -> Find:
    return gradients_of_steps(
        *(pair, rows.x0, diffusion.schedule.betas),
        seed=recipe.seed,
        first=shard.places.start,
        closed_form=recipe.closed_form,
        draws=recipe.draws,
        condition=rows.condition,
        rows=_order(shard, recipe),
        backend=diffusion.backend,
    )


def _by_autograd(trained: Sequence[Tensor], diffusion: Diffusion, rows: Rows, recipe: Recipe, shard: Shard) -> Find:
    draws, device, order = at_random(diffusion), rows.x0.device, _order(shard, recipe)

    def find(out: Tensor, iteration: int) -> None:
        for p in trained:
            p.grad = None
        batch = rows if order is None else rows.at(order(iteration).to(device))
        with seeded(recipe.seed, iteration, device, shard.index) if draws else contextlib.nullcontext():
            loss = batch.backward(diffusion, recipe, iteration, first=shard.places.start)
        gradients = (torch.zeros_like(p) if p.grad is None else p.grad for p in trained)
        torch.cat([*(gradient.reshape(-1) for gradient in gradients), loss.reshape(1)], out=out)

    return find


def _order(shard: Shard, recipe: Recipe) -> Callable[[int], Tensor] | None:
    """Return a function from an iteration to the shard's rows in the batch; None if they are always all of its rows."""
    if len(shard.places) == len(shard.rows):
        return None
    return Batches(len(shard.rows), len(shard.places), recipe.seed, first=shard.rows.start).rows


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Compute on one thread in this context: torch's own sums depend on the number of threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
