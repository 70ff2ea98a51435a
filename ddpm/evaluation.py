"""How good a model of a table is: likelihood and distances, beside fresh data and a mixture of Gaussians."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import ArrayLike
from tqdm import tqdm

from ddpm import metrics
from ddpm.estimator import DDPM
from ddpm.metrics import Array
from ddpm.progress import progress_bar
from ddpm.tables import Table, as_array
from kernels import arguments

T = TypeVar("T")

ROWS = 20  # the fewest that are halved
MOST = 10_000  # rows of each side
STAGES = 8  # that the progress bar counts
EXACT = 2000  # of each side of the exact distance, and whose likelihood is estimated


class Score(NamedTuple):
    """One metric.

    Attributes:
        name: of the metric, with its unit.
        model, fresh, mixture: what the model, fresh data and a mixture of Gaussians score; None where that is nothing.
        error: the standard error of `model`, where it is a mean over rows.
    """

    name: str
    model: float
    fresh: float | None = None
    mixture: float | None = None
    error: float | None = None


@dataclass(frozen=True)
class Evaluation:
    """All metrics of a model; printed, a table.

    Attributes:
        scores: the metrics.
        rows: how many rows of data each side of a comparison had.
        by_column: the Wasserstein-1 distance of each column that varies, in its standard deviations.
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

    One half of the rows is what all are compared with. The other half is fresh data, and what a mixture of Gaussians
    (chosen by BIC) is fitted to; of each, at most 10,000 rows, drawn at random, and for likelihood and exact distance
    2000. Distances are of columns divided by their standard deviation; constant columns are
    left out, and classes too.

    Args:
        model: fitted.
        X: rows [N, columns] as `model.fit` takes them, N >= 20.
        y: their classes, where the model was fitted to some; without them the likelihood is that of X alone.
        samples: trajectories of each row for the likelihood.
        random_state: of the halves, and of what is drawn.
        progress: show a progress bar, if standard error is a terminal.

    Raises:
        ValueError: rows that the model cannot score, or fewer than 20.
    """
    Table.of(X)
    x = np.asarray(as_array(X), dtype=np.float64)
    random_state = arguments.integer("random_state", random_state, 0, 2**32 - 1)
    if len(x) < ROWS:
        raise ValueError(f"X must have at least {ROWS} rows; got {len(x)}")
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
    """The same, after a look of the progress bar."""
    bar.update()
    return result


def _mean(name: str, values: Array, mixture: float | None) -> Score:
    error = float(values.std(ddof=1) / len(values) ** 0.5) if np.isfinite(values).all() else None
    return Score(name, float(values.mean()), None, mixture, error)
