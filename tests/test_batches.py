"""The order of rows in minibatches."""

import math

import pytest
import torch

from ddpm import batches
from ddpm.batches import Batches, permutation


def test_an_epoch_has_every_row_once() -> None:
    for epoch in range(3):
        assert torch.equal(permutation(101, 7, epoch).sort().values, torch.arange(101))
    orders = [permutation(101, seed, epoch) for seed, epoch in ((7, 0), (7, 1), (8, 0), (7 + 2**40, 0))]
    assert len({tuple(order.tolist()) for order in orders}) == 4


def test_every_row_comes_first_as_often() -> None:
    places = torch.stack([permutation(10, 3, epoch) for epoch in range(2000)])
    counts = torch.stack([torch.bincount(column, minlength=10) for column in places.T])
    # 200 are expected, with a standard deviation of 13.4
    assert float((counts - 200).abs().max()) < 5 * 13.4


def test_batches_follow_one_another_through_the_epochs() -> None:
    each = Batches(10, 4, seed=2)
    found = torch.cat([each.rows(i) for i in range(5)])
    assert torch.equal(found, torch.cat((permutation(10, 2, 0), permutation(10, 2, 1))))
    assert torch.equal(Batches(10, 4, seed=2).rows(3), each.rows(3))
    assert torch.equal(Batches(3, 3, seed=2).rows(7), permutation(3, 2, 7))


@pytest.mark.parametrize("count", [65, 130, 1000, 1001])
def test_many_rows_are_ordered_in_groups(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "GROUP", 64)
    monkeypatch.setattr(batches, "BLOCK", 4)
    each = Batches(count, 7, seed=2)
    found = torch.cat([each.rows(i) for i in range(3 * count)]).view(21, count)
    assert all(torch.equal(epoch.sort().values, torch.arange(count)) for epoch in found)
    assert len({tuple(epoch.tolist()) for epoch in found}) == 21
    # a group has rows from everywhere: its 16 blocks have the mean of all rows, with standard deviation count / 14
    assert float((found[:, :60].double().mean(1).mean() - count / 2).abs()) < 5 * count / 14 / math.sqrt(21)
    # neighbours in an epoch are seldom neighbours in the data
    assert float((found.diff(dim=1).abs() == 1).double().mean()) < 0.15
    assert torch.equal(Batches(count, 7, seed=2).rows(50), each.rows(50))
