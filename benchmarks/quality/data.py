"""The data: distributions whose entropy is known and tables from scikit-learn, split into training and test rows."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ddpm.datasets import DISTRIBUTIONS, Distribution

Array = NDArray[np.float64]

POINTS = 10_000  # for training, and as many for testing
SHARE = 0.2  # of the rows of a table, for testing


class Split(NamedTuple):
    """Training rows and test rows, with their classes: whole numbers from 0, or None if there are no classes."""

    train: Array
    test: Array
    train_classes: NDArray[np.intp] | None = None
    test_classes: NDArray[np.intp] | None = None


def distribution_split(distribution: Distribution, seed: int) -> Split:
    """Draw points for training and for testing."""
    train, test = (distribution.sample(POINTS, 2 * seed + k).double().numpy() for k in (0, 1))
    return Split(train, test)


def table_split(name: str, seed: int) -> Split:
    """Split a table as the ForestDiffusion paper does (Jolicoeur-Martineau 2024): 80 to 20, with equal class shares."""
    from sklearn.model_selection import train_test_split

    x, y = TABLES[name](return_X_y=True)
    return Split(*train_test_split(x, y, test_size=SHARE, random_state=seed, stratify=y))


def _loader(name: str) -> Callable[..., Any]:
    def load(**options: Any) -> Any:
        from sklearn import datasets

        return getattr(datasets, f"load_{name}")(**options)

    return load


TABLES = {name.replace("_", "-"): _loader(name) for name in ("iris", "wine", "breast_cancer")}
DATA = (*DISTRIBUTIONS, *TABLES)


def split(name: str, seed: int) -> Split:
    """Return the split of a data set for a seed."""
    return distribution_split(DISTRIBUTIONS[name], seed) if name in DISTRIBUTIONS else table_split(name, seed)
