"""Metrics of samples, each against a case with a known answer."""

import math
import sys

import numpy as np
import pytest

pytest.importorskip("sklearn")
pytest.importorskip("ot")

from ddpm import metrics

GENERATOR = np.random.default_rng(0)
ROWS = GENERATOR.normal(size=(1000, 2))
FRESH = GENERATOR.normal(size=(1000, 2))
MOVED = ROWS[::-1] + np.array([3.0, 4.0])


def test_rows_that_are_moved() -> None:
    assert metrics.wasserstein_by_column(MOVED, ROWS) == pytest.approx([3, 4])
    assert metrics.wasserstein(MOVED, ROWS) == pytest.approx(5)
    assert metrics.wasserstein(MOVED, ROWS, metric="cityblock") == pytest.approx(7)
    # the root of a difference of squares in float64
    assert metrics.wasserstein(ROWS, ROWS[::-1]) == pytest.approx(0, abs=1e-7)
    # the mean of |cos| over the circle, 2 / pi; 5000 directions are off by 0.44 / sqrt(5000)
    assert metrics.sliced_wasserstein(MOVED, ROWS, projections=5000) == pytest.approx(5 * 2 / math.pi, rel=0.03)


def test_gaussians_of_two_widths() -> None:
    narrow, wide = (np.random.default_rng(1).normal(scale=scale, size=(20_000, 1)) for scale in (1.0, 3.0))
    # quantile by quantile: 2 E|z|
    expected = 2 * math.sqrt(2 / math.pi)
    assert metrics.wasserstein_by_column(narrow, wide)[0] == pytest.approx(expected, rel=0.03)
    assert metrics.sliced_wasserstein(narrow, wide, projections=3) == pytest.approx(expected, rel=0.03)


def test_a_classifier_that_can_only_guess_and_one_that_sees() -> None:
    # 2000 guesses: a standard deviation of 0.011
    guess = metrics.c2st(ROWS, FRESH)
    assert guess == pytest.approx(0.5, abs=0.045)
    assert guess == metrics.c2st(ROWS, FRESH)
    assert metrics.c2st(MOVED, ROWS) > 0.97
    with pytest.raises(ValueError, match="at least 5 rows each; got 3 and 1000"):
        metrics.c2st(ROWS[:3], FRESH)


def test_coverage() -> None:
    for neighbors in (1, 3, 5):
        # the 1000 rows are not independent: they share neighbours
        assert metrics.coverage(ROWS, FRESH, neighbors=neighbors) == pytest.approx(1 - 0.5**neighbors, abs=0.06)
    assert metrics.coverage(ROWS, ROWS) == 1
    assert metrics.coverage(ROWS + 100, ROWS) == 0
    half = ROWS[ROWS[:, 0] < 0]
    assert metrics.coverage(half, FRESH) == pytest.approx(0.5, abs=0.08)


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="data must have at least 2 rows; got 1"):
        metrics.coverage(ROWS, ROWS[:1])
    monkeypatch.setitem(sys.modules, "ot", None)
    with pytest.raises(ImportError, match=r"needs POT: pip install 'fused-ddpm\[tables\]'"):
        metrics.wasserstein(ROWS, ROWS)


def test_copies_are_nearest() -> None:
    found = metrics.nearest_row([[0.0, 0.0], [1.0, 3.0]], [[0.0, 1.0], [1.0, 3.0]])
    assert found.tolist() == [1, 0]


def test_the_mixture_finds_how_many_there_are() -> None:
    x = np.concatenate([np.random.default_rng(2).normal(center, 0.1, (500, 1)) for center in (-1, 0, 2)])
    mixture = metrics.gaussian_mixture(x)
    assert mixture.n_components == 3
    assert sorted(mixture.means_[:, 0]) == pytest.approx([-1, 0, 2], abs=0.03)
    assert metrics.gaussian_mixture(x[:2]).n_components <= 2


@pytest.mark.parametrize(
    ("samples", "data", "said"),
    [
        (ROWS[:, :1], ROWS, "samples and data must have the same number of columns; got 1 and 2"),
        (ROWS[:0], ROWS, r"samples must have shape \[N, D\] with N >= 1; got \[0, 2\]"),
        (ROWS, ROWS[:, 0], "data must have shape"),
        (ROWS, np.where(np.arange(2000).reshape(1000, 2) == 9, np.nan, ROWS), "data must be finite; row 4 is not"),
    ],
)
def test_bad_rows_are_named(samples: np.ndarray, data: np.ndarray, said: str) -> None:
    for metric in (metrics.wasserstein_by_column, metrics.wasserstein, metrics.c2st, metrics.coverage):
        with pytest.raises(ValueError, match=said):
            metric(samples, data)
