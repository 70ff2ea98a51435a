"""Evaluation of a model of a table: likelihood and distances, next to fresh data and a mixture of Gaussians."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import ArrayLike
from tqdm import tqdm

from ddpm import metrics
from ddpm.classes import index_of
from ddpm.estimator import DDPM
from ddpm.metrics import Array
from ddpm.progress import progress_bar
from ddpm.tables import Table, as_array
from kernels import arguments

T = TypeVar("T")

ROWS = 20  # the fewest rows to evaluate on
MOST = 10_000  # the most rows of each side
STAGES = 8  # of the progress bar
EXACT = 2000  # the most rows of each side for the exact distance, and for the likelihood


class Score(NamedTuple):
    """The result of one metric.

    Attributes:
        name: name of the metric, with its unit.
        model: score of the model.
        fresh: score of fresh data, or None if the metric has none.
        mixture: score of a mixture of Gaussians, or None if the metric has none.
        error: standard error of `model` if it is a mean over rows, else None.
    """

    name: str
    model: float
    fresh: float | None = None
    mixture: float | None = None
    error: float | None = None


@dataclass(frozen=True)
class Evaluation:
    """The results of all metrics of a model. `print` shows them as a table.

    Attributes:
        scores: one result for each metric.
        rows: number of rows on each side of a comparison.
        by_column: the Wasserstein-1 distance of each column that varies, in units of its standard deviation.
    """

    scores: tuple[Score, ...]
    rows: int
    by_column: dict[str, float]

    def __str__(self) -> str:
        lines = [("", "model", "fresh data", "mixture of Gaussians")]
        for score in self.scores:
            error = "" if score.error is None else f" ± {score.error:.3f}"
            cells = [
                f"{score.model:.3f}{error}",
                *("" if v is None else f"{v:.3f}" for v in (score.fresh, score.mixture)),
            ]
            lines.append((score.name, cells[0], cells[1], cells[2]))
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        table = "\n".join(
            "  ".join(
                [line[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(line[1:], widths[1:], strict=True))]
            )
            for line in lines
        )
        return f"{table}\n{self.rows} rows of data on each side"


def evaluate(
    model: DDPM,
    X: Any,
    y: ArrayLike | None = None,
    *,
    samples: int = 8,
    random_state: int = 0,
    progress: bool = False,
) -> Evaluation:
    """Compare a model with data that it was not fitted to.

    The rows are split at random into two halves of at most 10,000 rows. Everything is compared with the first half:
    samples of the model, the second half as fresh data, and samples of a mixture of Gaussians. The mixture is fitted to
    the second half, and its size is chosen by BIC. The likelihood and the exact distance use at most 2000 rows. For
    distances, each column is divided by its standard deviation; constant columns and classes are left out.

    Args:
        model: a fitted model.
        X: rows, [N, columns], of the same kind as for `model.fit`, N >= 20.
        y: class of each row, [N], if the model was fitted with classes. Without it, the likelihood is that of X alone.
        samples: number of trajectories of each row for the likelihood.
        random_state: seed of the split and of all samples, 32 bits.
        progress: whether to show a progress bar, if standard error is a terminal.

    Returns:
        The results of all metrics; `print` shows them as a table.

    Raises:
        ValueError: there are fewer than 20 rows, no column varies, or the model cannot score the rows.
    """
    Table.of(X)
    x = np.asarray(as_array(X), dtype=np.float64)
    random_state = arguments.integer("random_state", random_state, 0, 2**32 - 1)
    if len(x) < ROWS:
        raise ValueError(f"X must have at least {ROWS} rows; got {len(x)}")
    if y is not None and hasattr(model, "classes_"):
        index_of(y, model.classes_, len(x))  # of all rows: a class that fit has not seen may be in one half only
    order = np.random.default_rng(random_state).permutation(len(x))
    half = min(len(x) // 2, MOST)
    kept, fresh = order[:half], order[half : 2 * half]
    rows = X.iloc[kept] if hasattr(X, "iloc") else X[kept]
    classes = None if y is None else np.asarray(y)[kept]
    bar = progress_bar(STAGES, "evaluate", "stage", progress)
    few = slice(0, EXACT)
    scored = rows.iloc[few] if hasattr(X, "iloc") else rows[few]
    log_likelihoods, bounds = (
        _shown(bar, model.score_samples(scored, None if classes is None else classes[few], samples=each))
        for each in (samples, 1)
    )
    drawn = model.sample(half, random_state=random_state)
    drawn = drawn[0] if isinstance(drawn, tuple) else drawn
    scale = x.std(0)
    varies = x.min(0) < x.max(0)
    if not varies.any():
        raise ValueError("X must have a column with two different values; all of its columns are constant")
    data, other, own = (
        side[:, varies] / scale[varies] for side in (x[kept], x[fresh], np.asarray(as_array(drawn), dtype=np.float64))
    )
    mixture = _shown(bar, metrics.gaussian_mixture(other, random_state=random_state))
    theirs = mixture.sample(half)[0]
    units = np.log(scale[varies]).sum()
    of_mixture = None if y is not None else float(mixture.score(data) - units)

    def compared(name: str, metric: Callable[[Array, Array], Any]) -> Score:
        return _shown(bar, Score(name, *(float(metric(side, data)) for side in (own, other, theirs))))

    by_column = metrics.wasserstein_by_column(own, data)
    names = [str(name) for name in X.columns] if hasattr(X, "columns") else [f"column {i}" for i in range(x.shape[1])]
    scores = (
        _mean("log-likelihood, nats a row", log_likelihoods, of_mixture),
        _mean("bound of it, nats a row", bounds, None),
        compared("Wasserstein-1, mean over columns", lambda a, b: metrics.wasserstein_by_column(a, b).mean()),
        compared("Wasserstein-1, sliced", lambda a, b: metrics.sliced_wasserstein(a, b, random_state=random_state)),
        compared(f"Wasserstein-1 of {min(half, EXACT)} rows", lambda a, b: metrics.wasserstein(a, b, rows=EXACT)),
        compared("accuracy of a classifier (C2ST)", lambda a, b: metrics.c2st(a, b, random_state=random_state)),
        compared("coverage", metrics.coverage),
    )
    bar.close()
    varying = [name for name, there in zip(names, varies, strict=True) if there]
    return Evaluation(scores, half, dict(zip(varying, by_column.tolist(), strict=True)))


def _shown(bar: tqdm, result: T) -> T:
    """Return `result` after an update of the progress bar."""
    bar.update()
    return result


def _mean(name: str, values: Array, mixture: float | None) -> Score:
    error = float(values.std(ddof=1) / len(values) ** 0.5) if np.isfinite(values).all() else None
    return Score(name, float(values.mean()), None, mixture, error)
