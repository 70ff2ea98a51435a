"""How close the samples of a model are to data: distances, a classifier's accuracy, and coverage.

All functions take rows of numbers, [N, D]. Distances are in the unit of the columns, so scale the columns first. Even
samples from the distribution of the data do not get a perfect score: compare with the score of fresh data (see
`ddpm.evaluate`).
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kernels import arguments

Array = NDArray[np.float64]

FOLDS = 5  # of the classifier's cross-validation
ROWS = 5000  # of each side in the exact distance, which needs N^2 numbers and more than N^2 time


def wasserstein_by_column(samples: ArrayLike, data: ArrayLike) -> Array:
    """Return the Wasserstein-1 distance of each column.

    It is the mean distance that the mass of one histogram has to move to become the other.

    Args:
        samples: [N, D], finite.
        data: [M, D], finite.

    Returns:
        The distances, [D] float64, in the units of the columns.

    Raises:
        ValueError: the rows are empty, not finite, or of different widths.
    """
    from scipy.stats import wasserstein_distance

    a, b = _rows(samples, data)
    return np.array([wasserstein_distance(u, v) for u, v in zip(a.T, b.T, strict=True)])


def sliced_wasserstein(samples: ArrayLike, data: ArrayLike, *, projections: int = 500, random_state: int = 0) -> float:
    """Return the mean Wasserstein-1 distance of the rows projected on random directions (Bonneel 2015).

    Args:
        samples: [N, D], finite.
        data: [M, D], finite.
        projections: the number of directions.
        random_state: the seed of the directions.

    Raises:
        TypeError, ValueError: a bad argument.
        ImportError: POT is not installed.
    """
    ot = _optimal_transport()
    projections = arguments.integer("projections", projections, 1, 2**24)
    a, b = _rows(samples, data)
    return float(ot.sliced_wasserstein_distance(a, b, n_projections=projections, p=1, seed=random_state))


def wasserstein(samples: ArrayLike, data: ArrayLike, *, metric: str = "euclidean", rows: int = ROWS) -> float:
    """Return the exact Wasserstein-1 distance between two sets of rows.

    Args:
        samples: [N, D], finite.
        data: [M, D], finite.
        metric: the distance between two rows, a name that scipy.spatial.distance.cdist knows, such as "cityblock".
        rows: only the first `rows` rows of each set are used.

    Raises:
        TypeError, ValueError: a bad argument.
        ImportError: POT is not installed.
    """
    ot = _optimal_transport()
    a, b = (side[: arguments.integer("rows", rows, 1, 2**24)] for side in _rows(samples, data))
    uniform = [np.full(len(side), 1 / len(side)) for side in (a, b)]
    return float(ot.emd2(*uniform, ot.dist(a, b, metric=metric), numItermax=10**7))


def c2st(samples: ArrayLike, data: ArrayLike, *, random_state: int = 0) -> float:
    """Return the cross-validated accuracy of a classifier that tells samples from data (Lopez-Paz and Oquab 2017).

    It is 0.5 if the classifier cannot tell them apart, and 1 if it always can. The classifier is scikit-learn's
    gradient boosting. The larger set is cut to the size of the smaller.

    Args:
        samples: [N, D], finite, at least 5 rows.
        data: [M, D], finite, at least 5 rows.
        random_state: the seed of the folds and of the classifier.

    Raises:
        ValueError: the rows are not finite, of different widths, or too few.
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
    """Return the share of data rows that have a sample nearby (Naeem 2020, Eq. 9).

    Nearby means at most as far as the k-th nearest other data row. Samples from the distribution of the data, as
    many as there are data rows, cover about 1 - 1/2^k of the rows.

    Args:
        samples: [N, D], finite.
        data: [M, D], finite, at least 2 rows.
        neighbors: k, from 1 to M - 1.

    Raises:
        TypeError, ValueError: a bad argument.
    """
    from sklearn.neighbors import NearestNeighbors

    a, b = _rows(samples, data)
    if len(b) < 2:
        raise ValueError(f"data must have at least 2 rows; got {len(b)}")
    neighbors = arguments.integer("neighbors", neighbors, 1, len(b) - 1)
    radius = NearestNeighbors(n_neighbors=neighbors + 1).fit(b).kneighbors(b)[0][:, -1]  # the nearest is the row itself
    nearest = NearestNeighbors(n_neighbors=1).fit(a).kneighbors(b)[0][:, 0]
    return float((nearest <= radius).mean())


def nearest_row(rows: ArrayLike, train: ArrayLike, *, metric: str = "cityblock") -> Array:
    """Return the distance of each row to the nearest training row; it is 0 for a copy of a training row.

    Args:
        rows: [N, D], finite.
        train: [M, D], finite.
        metric: the distance between two rows, a name that scikit-learn's NearestNeighbors knows.

    Returns:
        The distances, [N] float64.

    Raises:
        ValueError: the rows are empty, not finite, or of different widths, or the metric is unknown.
    """
    from sklearn.neighbors import NearestNeighbors

    a, b = _rows(rows, train)
    found: Array = NearestNeighbors(n_neighbors=1, metric=metric).fit(b).kneighbors(a)[0][:, 0]
    return found


def gaussian_mixture(x: ArrayLike, *, random_state: int = 0) -> Any:
    """Fit mixtures of Gaussians to rows and return the one with the lowest BIC: a baseline that a model should beat.

    A mixture has up to 20 Gaussians if there are 1000 rows or more, and up to 3 if there are fewer.

    Args:
        x: the rows, [N, D].
        random_state: the seed of the fits.

    Returns:
        A fitted sklearn.mixture.GaussianMixture.
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
        raise ValueError(
            f"samples and data must have the same number of columns; got {found[0].shape[1]} and {found[1].shape[1]}"
        )
    return found[0], found[1]
