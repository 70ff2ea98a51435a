"""Scale columns as the ForestDiffusion paper does, and measure how near rows are to the training set."""

import numpy as np
from numpy.typing import NDArray

from benchmarks.quality.data import Array, Split
from ddpm.metrics import nearest_row

MOST = 2000  # rows that are compared with each other


def features(x: Array, classes: NDArray[np.intp] | None, split: Split) -> Array:
    """Return columns scaled to [0, 1] on the training rows, and the class as half of a one-hot vector.

    Two rows of different classes are then 1 apart in the city-block distance, as in the ForestDiffusion paper.
    """
    low, high = split.train.min(0), split.train.max(0)
    scaled = (x - low) / np.where(high > low, high - low, 1)
    if classes is None or split.train_classes is None:
        return scaled
    return np.concatenate((scaled, np.eye(split.train_classes.max() + 1)[classes] / 2), axis=1)


def nearest(x: Array, split: Split) -> float:
    """Return the median distance of a row to its nearest training row, in scaled columns."""
    return float(np.median(nearest_row(features(x[:MOST], None, split), features(split.train, None, split))))
