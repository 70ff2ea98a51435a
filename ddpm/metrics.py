"""How near the samples of a model are to data: distances, a classifier's accuracy and coverage.

All take rows [N, D] of numbers; the distances are in the unit of the columns, so scale these first. Each has a floor
that is not 0: compare with what fresh data scores (see `evaluate`).
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kernels import arguments

Array = NDArray[np.float64]

FOLDS = 5  # of the cross-validation of a classifier
ROWS = 5000  # of each side that the exact distance looks at: it takes N^2 numbers, and more than N^2 time


def wasserstein_by_column(samples: ArrayLike, data: ArrayLike) -> Array:
    """The Wasserstein-1 distance of each column, [D]: how far the mass of one histogram moves to become the other."""
    from scipy.stats import wasserstein_distance

    a, b = _rows(samples, data)
    return np.array([wasserstein_distance(u, v) for u, v in zip(a.T, b.T, strict=True)])


def sliced_wasserstein(samples: ArrayLike, data: ArrayLike, *, projections: int = 500, random_state: int = 0) -> float:
    """The mean Wasserstein-1 distance of the projections on random directions (Bonneel 2015)."""
    ot = _optimal_transport()
    projections = arguments.integer("projections", projections, 1, 2**24)
    a, b = _rows(samples, data)
    return float(ot.sliced_wasserstein_distance(a, b, n_projections=projections, p=1, seed=random_state))


def wasserstein(samples: ArrayLike, data: ArrayLike, *, metric: str = "euclidean", rows: int = ROWS) -> float:
    """The exact Wasserstein-1 distance of two sets of rows, of the first `rows` of each.

    Args:
        metric: between two rows, a name that scipy.spatial.distance.cdist knows, as "cityblock".
    """
    ot = _optimal_transport()
    a, b = (side[: arguments.integer("rows", rows, 1, 2**24)] for side in _rows(samples, data))
    uniform = [np.full(len(side), 1 / len(side)) for side in (a, b)]
    return float(ot.emd2(*uniform, ot.dist(a, b, metric=metric), numItermax=10**7))


def c2st(samples: ArrayLike, data: ArrayLike, *, random_state: int = 0) -> float:
    """The accuracy of a classifier that tells samples from data, cross-validated (Lopez-Paz and Oquab 2017).

    0.5 where nothing tells them apart, 1 where everything does. The classifier is scikit-learn's gradient boosting; the
    larger side is cut to the size of the smaller.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.model_selection import StratifiedKFold, cross_val_score

    a, b = _rows(samples, data)
    count = min(len(a), len(b))
    if count < FOLDS:
        raise ValueError(f"samples and data must have at least {FOLDS} rows each; got {len(a)} and {len(b)}")
    x, y = np.concatenate((a[:count], b[:count])), np.repeat([0, 1], count)
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=random_state)
    classifier = HistGradientBoostingClassifier(random_state=random_state)
    return float(cross_val_score(classifier, x, y, cv=folds).mean())


def coverage(samples: ArrayLike, data: ArrayLike, *, neighbors: int = 5) -> float:
    """The share of data rows that have a sample nearer than their k-th nearest data row (Naeem 2020, Eq. 9).

    As many samples as rows of the data, of the same distribution, cover 1 - 1/2^k of them.
    """
    from sklearn.neighbors import NearestNeighbors

    a, b = _rows(samples, data)
    if len(b) < 2:
        raise ValueError(f"data must have at least 2 rows; got {len(b)}")
    neighbors = arguments.integer("neighbors", neighbors, 1, len(b) - 1)
    radius = NearestNeighbors(n_neighbors=neighbors + 1).fit(b).kneighbors(b)[0][:, -1]  # itself is the first
    nearest = NearestNeighbors(n_neighbors=1).fit(a).kneighbors(b)[0][:, 0]
    return float((nearest <= radius).mean())


def nearest_row(rows: ArrayLike, train: ArrayLike, *, metric: str = "cityblock") -> Array:
    """The distance of each row to the nearest training row, [N]: samples that copy the training set have 0."""
    from sklearn.neighbors import NearestNeighbors

    a, b = _rows(rows, train)
    found: Array = NearestNeighbors(n_neighbors=1, metric=metric).fit(b).kneighbors(a)[0][:, 0]
    return found


def gaussian_mixture(x: ArrayLike, *, random_state: int = 0) -> Any:
    """scikit-learn's mixture of Gaussians with the least BIC, fitted to rows: what a model should beat.

    Up to 20 Gaussians where there are 1000 rows or more, up to 3 where there are fewer.
    """
    from sklearn.mixture import GaussianMixture

    rows = np.asarray(x, dtype=np.float64)
    numbers = (1, 2, 3, 4, 6, 8, 12, 16, 20) if len(rows) >= 1000 else (1, 2, 3)
    found = [
        GaussianMixture(n, covariance_type=kind, random_state=random_state, reg_covar=1e-4).fit(rows)
        for n in numbers
        if n <= len(rows)
        for kind in ("full", "diag")
    ]
    return min(found, key=lambda mixture: mixture.bic(rows))


def _optimal_transport() -> Any:
    try:
        import ot
    except ImportError as error:
        raise ImportError("the Wasserstein distance of rows needs POT: pip install 'fused-ddpm[tables]'") from error
    return ot


def _rows(samples: ArrayLike, data: ArrayLike) -> tuple[Array, Array]:
    found = []
    for name, given in (("samples", samples), ("data", data)):
        x = np.asarray(given, dtype=np.float64)
        if x.ndim != 2 or not len(x):
            raise ValueError(f"{name} must have shape [N, D] with N >= 1; got {list(x.shape)}")
        if not np.isfinite(x).all():
            raise ValueError(f"{name} must be finite; row {int(np.argwhere(~np.isfinite(x))[0, 0])} is not")
        found.append(x)
    if found[0].shape[1] != found[1].shape[1]:
        raise ValueError(f"samples has {found[0].shape[1]} columns, but data {found[1].shape[1]}")
    return found[0], found[1]
