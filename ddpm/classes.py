"""The classes of rows: their names, how many rows each has, and the class of each sample."""

import functools
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from ddpm.batches import GROUP, permutation
from kernels.constants import CLASSES
from kernels.place import MOST_SAMPLES
from kernels.reference.noise import MASK

MOST = 1000  # classes
SHOWN = 10  # classes in a message


def classes_of(y: ArrayLike, count: int) -> tuple[NDArray[Any], NDArray[np.intp], NDArray[np.intp]]:
    """Return the sorted classes of `count` rows, the class index of each row, and the number of rows of each class.

    Raises:
        ValueError: `y` is not one class (whole number, boolean or string) for each row, or has too many classes.
    """
    y = np.asarray(y)
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.shape != (count,):
        raise ValueError(f"y must have shape ({count},), a class for each row of X; got {y.shape}")
    if not (y.dtype.kind in "biufU" or all(isinstance(value, str) for value in y)):
        raise ValueError(
            f"Unknown label type: y must hold classes: numbers, booleans or strings, none missing; got {y.dtype}"
        )
    if y.dtype.kind == "f" and np.isnan(y).any():
        raise ValueError("y must hold a class for each row; some are NaN")
    if y.dtype.kind == "f" and (y != np.round(y)).any():
        raise ValueError("y must hold classes; got numbers that are not whole: give them as a column of X")
    names, index, counts = np.unique(y, return_inverse=True, return_counts=True)
    if len(names) > MOST:
        raise ValueError(f"y must hold at most {MOST} different classes; got {len(names)}")
    return names, index, counts


def check_classes(names: NDArray[Any], counts: NDArray[Any]) -> None:
    """Raise ValueError unless these are classes and their numbers of rows, as `classes_of` returns them."""
    if names.ndim != 1 or not 1 <= len(names) <= MOST or names.dtype.kind not in "biufU":
        raise ValueError(f"classes must be from 1 to {MOST} numbers or strings; got {names.dtype} {list(names.shape)}")
    if not np.array_equal(np.unique(names), names):
        raise ValueError("classes must be sorted and different")
    if counts.shape != names.shape or counts.dtype.kind not in "iu":
        raise ValueError(f"class_counts must be whole numbers [{len(names)}]; got {counts.dtype} {list(counts.shape)}")
    if not ((counts >= 1) & (counts <= MOST_SAMPLES)).all():
        raise ValueError(f"class_counts must be from 1 to {MOST_SAMPLES}; got {counts.min()} to {counts.max()}")


def index_of(y: ArrayLike, names: NDArray[Any], count: int) -> NDArray[np.intp]:
    """Return the class index of each of `count` rows.

    Raises:
        ValueError: `y` is not one of the classes `names` for each row.
    """
    y = np.asarray(y)
    if y.shape != (count,):
        raise ValueError(f"y must have shape ({count},); got {y.shape}")
    if (names.dtype.kind in "UO") != (y.dtype.kind in "UO"):  # a file may hold numbers as text
        order = np.argsort(names.astype(str))
        return order[index_of(y.astype(str), names.astype(str)[order], count)]
    index = np.searchsorted(names, y).clip(max=len(names) - 1)
    unknown = names[index] != y
    if unknown.any():
        shown = ", ".join(map(str, names[:SHOWN])) + (", ..." if len(names) > SHOWN else "")
        raise ValueError(f"y must hold classes seen in fit, {shown}; got {y[unknown][0]}")
    return index


def draw(counts: NDArray[np.intp], count: int, first: int, seed: int) -> NDArray[np.intp]:
    """Return the class indices of samples first ... first + count - 1, [count].

    Let N be the sum of `counts`. The samples from k N to (k + 1) N - 1 have each class as often as `counts` says, in a
    different random order for each k. If N is too large for memory, `counts` is scaled down.
    """
    if counts.sum() > GROUP:
        counts = np.maximum(1, np.round(counts * (GROUP / counts.sum()))).astype(np.intp)
    rows = int(counts.sum())
    ends, parts = np.cumsum(counts), []
    for block in range(first // rows, (first + count - 1) // rows + 1):
        low, high = max(first - block * rows, 0), min(first + count - block * rows, rows)
        parts.append(np.searchsorted(ends, _order(rows, seed, block)[low:high], side="right"))
    return np.concatenate(parts)


@functools.lru_cache(maxsize=2)  # with many rows, consecutive calls need the same block
def _order(rows: int, seed: int, block: int) -> NDArray[np.int64]:
    """Return the random order of a block of samples. The number of the block fills two 32-bit words of the counter."""
    found: NDArray[np.int64] = permutation(rows, seed, block & MASK, CLASSES, part=block >> 32).numpy()
    return found


def log_shares(counts: NDArray[np.intp]) -> NDArray[np.float64]:
    """Return the logarithm of each class's share of all rows."""
    return np.log(counts / counts.sum())


def one_hot(index: NDArray[np.intp], classes: int) -> torch.Tensor:
    """Return one-hot rows, [N, classes] float32."""
    return torch.eye(classes)[torch.from_numpy(index)]
