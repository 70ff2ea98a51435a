# mypy: disable-error-code="arg-type"
"""Shards of data and batches: their rows, their noise, and the sum over them."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import oracle
import processes
import pytest
import torch
import torch.distributed as dist
from test_checkpoints import PLAIN, diffusion
from test_ranks import X0, train

import ddpm
from ddpm import shards
from ddpm.batches import Batches, Rows
from ddpm.interrupts import Interrupts
from ddpm.ranks import RanksDiffer
from ddpm.recipe import Recipe
from ddpm.stop import Stop, Wish


class Virtual:
    """A rank whose group consists of threads of this process."""

    def __init__(self, rank: int, shared: "Shared") -> None:
        self.rank, self.size, self.shared = rank, len(shared.given), shared

    def gather(self, found: torch.Tensor) -> torch.Tensor:
        return torch.stack(self._all(found))

    def exchange(self, found: torch.Tensor) -> torch.Tensor:
        assert len(found) == self.size
        return torch.stack([given[self.rank] for given in self._all(found)])

    def _all(self, found: torch.Tensor) -> list[torch.Tensor]:
        self.shared.given[self.rank] = found
        self.shared.barrier.wait()
        every = list(self.shared.given)
        self.shared.barrier.wait()
        return every


class Shared:
    """The tensors and the barrier that the virtual ranks of a group have in common."""

    def __init__(self, size: int) -> None:
        self.given = [torch.zeros(0)] * size
        self.barrier = threading.Barrier(size, timeout=processes.WAIT)


def on_virtual_ranks(size: int, function: Callable[[Any], Any]) -> list[Any]:
    """Call a function for each of `size` ranks, each in a thread, and return the results."""
    shared = Shared(size)
    with ThreadPoolExecutor(size) as threads:
        return list(threads.map(function, [Virtual(rank, shared) for rank in range(size)]))


@pytest.mark.parametrize("count", [1, 12, 64, 100])
def test_shards_are_gathered_and_added_in_their_order(count: int) -> None:
    values, weights = oracle.points(count, 5), oracle.points(count, 1)[:, 0].double()
    total = shards.tree_sum(weights[:, None] * values)

    def check(rank: Any) -> bool:
        found, wish = values[list(shards.own(count, rank))], Wish(min(2, rank.rank))
        gathered = shards.gather(found, count, rank)
        added, agreed = shards.weighted_sum(found, weights, wish, rank)
        return torch.equal(gathered, values) and torch.equal(added, total) and agreed == min(2, rank.size - 1)

    for size in {1, 2, 3, 7, 31, 32, 63, 64} & set(range(count + 1)):
        assert all(on_virtual_ranks(size, check))


@pytest.mark.one_thread
def test_sixty_four_ranks_train_to_the_same_bits() -> None:
    expected = diffusion()
    train(expected, 3, shards=64, **PLAIN)
    whole = [p.detach() for p in expected.parameters()]
    models = [diffusion() for _ in X0]  # made here, because all threads share the generator of their weights

    def trained(rank: Any) -> bool:
        model, stop = models[rank.rank], Stop(Interrupts())
        recipe = Recipe(1e-2, 1e-6, PLAIN["seed"], None, None, False, 0, None, None, None, 100, shards=64)
        cut = shards.shards_of(len(X0), None, 64)
        with shards.sharded_step(model, Rows(X0, None), recipe, cut, rank, stop) as step:
            for iteration in range(3):
                step(iteration)
        return all(map(torch.equal, whole, model.parameters()))

    assert all(on_virtual_ranks(len(X0), trained))  # a shard for each row


@pytest.mark.parametrize("count", [1, 2, 3, 7, 64])
def test_the_tree(count: int) -> None:
    def tree(values: list[float]) -> float:
        while len(values) > 1:
            half = len(values) // 2
            values = [a + b for a, b in zip(values, values[half : 2 * half])] + values[2 * half :]  # noqa: B905
        return values[0]

    values = oracle.points(count, 3)
    expected = [tree([float(v) for v in column]) for column in values.T]
    assert shards.tree_sum(values).tolist() == expected


@pytest.mark.parametrize(("rows", "batch", "count"), [(64, None, 12), (50, 16, 12), (1000, 10, 64), (7, 7, 7)])
def test_each_row_is_in_one_shard(rows: int, batch: int | None, count: int) -> None:
    found = shards.shards_of(rows, batch, count)
    assert len(found) == min(count, batch or rows)
    assert [i for shard in found for i in shard.rows] == list(range(rows))
    assert [i for shard in found for i in shard.places] == list(range(batch or rows))
    assert all(1 <= len(shard.places) <= len(shard.rows) for shard in found)
    assert max(len(shard.rows) for shard in found) - min(len(shard.rows) for shard in found) <= 1


def test_the_loss_is_that_of_all_rows() -> None:
    """They agree up to rounding errors, because the noise of a row depends on its place alone."""
    whole, cut = diffusion(), diffusion()
    losses = [train(model, 5, shards=count).losses for model, count in ((whole, None), (cut, 12))]
    torch.testing.assert_close(*losses, rtol=1e-5, atol=1e-6)  # some units of float32 after five updates


def test_shards_have_orders_of_their_own() -> None:
    first, second = (Batches(10, 10, 3, first=first).rows(0).tolist() for first in (0, 10))
    assert first != second
    assert sorted(first) == sorted(second) == list(range(10))


@pytest.mark.parametrize("batch", [12, 17])
def test_an_epoch_has_every_row_of_a_shard_once(batch: int) -> None:
    """The mean over an epoch of a shard is the mean of its rows, whatever its share of the batch."""
    x0 = torch.arange(30.0)[:, None]
    for shard in shards.shards_of(30, batch, 12):
        batches = Batches(len(shard.rows), len(shard.places), 0, first=shard.rows.start)
        epoch = [x0[shard.slice][batches.rows(i)] for i in range(len(shard.rows))]
        values, counts = torch.cat(epoch).unique(return_counts=True)
        assert torch.equal(values, x0[shard.slice, 0])
        assert (counts == len(shard.places)).all()


def fit_a_large_table(folder: Path) -> None:
    """Fit a table in parts on each rank, save the model of each, and check how many rows each scales."""
    from ddpm import large_tables, table_files

    model = ddpm.DDPM((8,), steps=5, timesteps=10, batch_size=64, random_state=0)
    scaled: list[int] = []
    transform = large_tables.fitting.TableTransform.transform

    def counted(of: Any, x: Any) -> Any:
        scaled.append(len(x))
        return transform(of, x)

    pytest.MonkeyPatch().setattr(large_tables.fitting.TableTransform, "transform", counted)
    large_tables.fit(model, table_files.parts_of(folder / "x.npy", rows=16))
    rank, world = dist.get_rank(), dist.get_world_size()
    model.save(folder / f"{world}-{rank}.safetensors")
    assert sum(scaled) <= 6400 / world + 16 * 64 / world


def test_of_a_large_table_each_rank_scales_its_own_rows(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    np.save(tmp_path / "x.npy", oracle.points(6400, 2).numpy())
    for world in (1, 2):
        processes.run(world, fit_a_large_table, tmp_path)
    first, *others = (path.read_bytes() for path in sorted(tmp_path.glob("*.safetensors")))
    assert len(others) == 2
    assert all(other == first for other in others)


def fit_other_tables(folder: Path) -> None:
    """Fit a different table on each rank, and call train with different states and numbers of rows."""
    rank = dist.get_rank()
    with pytest.raises(RanksDiffer, match="the table must be the same on all ranks"):
        ddpm.DDPM((8,), steps=5, random_state=0).fit(oracle.points(100, 2, draw=rank).numpy())
    with pytest.raises(ValueError, match="random_state must be an int for a fit that runs in several processes"):
        ddpm.DDPM((8,), steps=5).fit(X0.numpy())
    with pytest.raises(RanksDiffer, match="shape of x0 must be the same on all ranks"):
        ddpm.train(diffusion(), X0[: 50 + rank], steps=5, progress=False)
    with pytest.raises(RanksDiffer, match="checkpoints must be the same on all ranks"):
        train(diffusion(), checkpoints=ddpm.Checkpoints(folder / "a.safetensors") if rank else None)
    model = diffusion()
    train(model)
    if rank:
        model.optimizer_state = None
    with pytest.raises(RanksDiffer, match="state of diffusion must be the same on all ranks"):
        train(model)


def test_ranks_that_read_other_tables_are_told(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    processes.run(2, fit_other_tables, tmp_path)
