"""A batch in virtual shards, whose gradients are added in one order, on however many ranks they are computed.

No reduction of NCCL or gloo promises its order. So each rank computes whole shards, and adds up some of the gradient's
numbers, of all shards, in a tree: the weights are the same bits on any number of ranks of one kind. With S shards on R
ranks a rank sends the numbers of its S / R shards once, receives as many, and the sum of each once more.
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

SHARDS = 64  # where nobody says how many: enough for as many ranks, and for eight each has eight


@dataclass(frozen=True)
class Shard:
    """Some neighbouring rows of the data, and the places that they have in every batch.

    Attributes:
        index: from 0.
        rows: of the data.
        places: in a batch, which give the rows their noise.
    """

    index: int
    rows: range
    places: range

    @property
    def slice(self) -> slice:
        """Return what gives the rows of a tensor."""
        return slice(self.rows.start, self.rows.stop)


def split(count: int, shards: int) -> list[range]:
    """Cut `count` things into runs as equal as can be, the longer ones first."""
    size, longer = divmod(count, shards)
    ends = [size * (i + 1) + min(i + 1, longer) for i in range(shards)]
    return [range(begin, end) for begin, end in zip([0, *ends[:-1]], ends, strict=True)]


def shards_of(rows: int, batch_size: int | None, count: int) -> list[Shard]:
    """Cut data and batches into `count` shards, or as many as a batch has rows."""
    batch = batch_size or rows
    count = min(count, batch)
    parts = enumerate(zip(split(rows, count), split(batch, count), strict=True))
    return [Shard(i, of_data, of_batch) for i, (of_data, of_batch) in parts]


def shards_of_rank(rows: int, batch_size: int | None) -> list[Shard] | None:
    """Return the shards that this process will train on; None where it has no others beside it, and trains on all."""
    if not is_group():
        return None
    return shards_of(rows, batch_size, SHARDS)[dist.get_rank() :: dist.get_world_size()]


def own(count: int, ranks: Ranks | None) -> range:
    """Return the shards that this rank computes: every size-th."""
    return range(count) if ranks is None else range(ranks.rank, count, ranks.size)


def gather(found: Tensor, count: int, ranks: Ranks | None) -> Tensor:
    """Return what each shard has found, [count, ...], where this rank has that of its own."""
    if ranks is None:
        return found
    most = -(-count // ranks.size)  # the last of which some ranks do not have
    padded = torch.cat([found, found.new_zeros((most - len(found), *found.shape[1:]))])
    return ranks.gather(padded).transpose(0, 1).flatten(0, 1)[:count]


def weighted_sum(found: Tensor, weights: Tensor, wish: Wish, ranks: Ranks | None) -> tuple[Tensor, Wish]:
    """Return the sum over all shards, and the greatest wish of all ranks.

    Args:
        found: of the shards of this rank, [own, n].
        weights: of all shards, [S] float64.
        wish: of this rank.
        ranks: None where this process is alone.

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
    """Return the sum over the first dimension, in float64: each value of the first half is added to its like in the
    second, and so on with these sums; the last of an odd number is left for the next round."""
    values = values.double()
    while len(values) > 1:
        half = len(values) // 2
        values = torch.cat([values[:half] + values[half : 2 * half], values[2 * half :]])
    return values[0]


@contextlib.contextmanager
def sharded_step(
    diffusion: Diffusion, seen: Rows, recipe: Recipe, shards: Sequence[Shard], ranks: Ranks | None, stop: Stop
) -> Iterator[Step]:
    """Give what updates the network once, alike on all ranks, unless the loss, which it returns, is not finite.

    The loss is the mean of the shards' losses, each weighted with its share of all rows. The ranks agree at every step
    on whether to stop after it.
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


Find = Callable[[Tensor, int], None]  # writes the gradients and the loss of a shard in an iteration to a row


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
    """Return iteration -> the rows of a shard that a batch has; None is all."""
    if len(shard.places) == len(shard.rows):
        return None
    return Batches(len(shard.rows), len(shard.places), recipe.seed, first=shard.rows.start).rows


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Compute on one thread: sums of torch's own depend on how many there are."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
