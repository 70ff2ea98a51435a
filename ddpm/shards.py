"""A batch in virtual shards, whose gradients are added in one order, on however many ranks they are computed.

No reduction of NCCL or gloo promises its order. So each rank computes whole shards, all gather the gradients of all
shards, and each adds them in the same tree: the weights are the same bits on any number of ranks of one kind.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ddpm.batches import Batches, Rows
from ddpm.diffusion import Diffusion
from ddpm.optimizer import HostAdamW
from ddpm.ranks import Ranks
from ddpm.recipe import Recipe
from ddpm.steps import Step, at_random, seeded
from ddpm.stop import Stop

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


def tree_sum(values: Tensor) -> Tensor:
    """Return the sum over the first dimension, in float64: of neighbours, then of neighbouring sums, to the last."""
    values = values.double()
    while len(values) > 1:
        last = values[len(values) // 2 * 2 :]  # one without a neighbour
        values = torch.cat([values[:-1:2] + values[1::2], last])
    return values[0]


@contextlib.contextmanager
def sharded_step(
    diffusion: Diffusion, seen: Rows, recipe: Recipe, shards: Sequence[Shard], ranks: Ranks | None, stop: Stop
) -> Iterator[Step]:
    """Give what updates the network once, alike on all ranks, unless the loss, which it returns, is not finite.

    The loss is the mean of the shards' losses, each weighted with its share of all rows. The ranks agree at every step
    on whether to stop after it.
    """
    device, optimizer = seen.x0.device, HostAdamW(diffusion, recipe)
    trained = [p for p in diffusion.parameters() if p.requires_grad]
    parts = [_part(diffusion, seen, recipe, shards[i]) for i in own(len(shards), ranks)]
    weights = torch.tensor([len(shard.rows) / len(seen.x0) for shard in shards], dtype=torch.float64, device=device)

    def step(iteration: int) -> float:
        wanted = torch.tensor([float(stop.wanted())], dtype=seen.x0.dtype, device=device)
        found = []
        for part in parts:
            optimizer.zero_grad()
            loss = part(iteration)
            gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in trained]
            found.append(torch.cat([*(g.reshape(-1) for g in gradients), loss.reshape(1), wanted]))
        every = gather(torch.stack(found), len(shards), ranks)
        stop.agreed = int(every[:, -1].max())
        *gradients, loss = tree_sum(weights[:, None] * every[:, :-1]).split([*(p.numel() for p in trained), 1])
        for p, gradient in zip(trained, gradients, strict=True):
            p.grad = gradient.view(p.shape).to(p.dtype)
        if torch.isfinite(loss):
            optimizer.clip_and_step(iteration)
        return loss.item()

    with one_thread():
        yield step


def _part(diffusion: Diffusion, seen: Rows, recipe: Recipe, shard: Shard) -> Callable[[int], Tensor]:
    """Return iteration -> the loss of a shard's rows of its batch, whose gradients are then in the parameters."""
    rows = seen.at(shard.slice)
    draws, device = at_random(diffusion), seen.x0.device
    order = None
    if len(shard.places) < len(shard.rows):
        order = Batches(len(shard.rows), len(shard.places), recipe.seed, first=shard.rows.start).rows

    def loss(iteration: int) -> Tensor:
        batch = rows if order is None else rows.at(order(iteration).to(device))
        with seeded(recipe.seed, iteration, device, shard.index) if draws else contextlib.nullcontext():
            return batch.backward(diffusion, recipe, iteration, first=shard.places.start)

    return loss


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Compute on one thread: sums of torch's own depend on how many there are."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
