"""The tables of users (arrays, DataFrames and tensors): read as numbers, and returned in the form that they had."""

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

Array = NDArray[np.float64]

KINDS = ("array", "frame", "tensor")
DECIMALS = 6  # at most; a column that needs more is not rounded
LOOKED_AT = 100_000  # about this many rows are searched for numbers that float32 cannot tell apart


@dataclass(frozen=True)
class Table:
    """The form of a table.

    Attributes:
        kind: "array", "frame" or "tensor".
        dtypes: the name of the dtype of each column of a DataFrame, or of the whole of another table.
        names: the names of the columns of a DataFrame, None for another table.
        decimals: the number of decimals of each column; None for a column that is not rounded.

    Raises:
        ValueError: an unknown kind, or a dtype that tables of this kind cannot have.
    """

    kind: str
    dtypes: tuple[str, ...]
    names: tuple[Any, ...] | None = None
    decimals: tuple[int | None, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}; got {self.kind!r}")
        for dtype in self.dtypes:
            if not _has_dtype(self.kind, dtype):
                raise ValueError(f"X must hold numbers; got {self.kind} of {dtype!r}")

    @classmethod
    def of(cls, X: Any) -> "Table":
        """Return the form of X, without decimals.

        Raises:
            ValueError: X holds something other than numbers, or two columns of a DataFrame have the same name.
        """
        if isinstance(X, torch.Tensor):
            return cls("tensor", (str(X.dtype).removeprefix("torch."),))
        if not hasattr(X, "iloc"):
            dtype = X.dtype if hasattr(X, "dtype") else np.asarray(X).dtype
            if getattr(dtype, "kind", "O") not in "fiubcO":  # scikit-learn checks complex numbers and objects
                raise ValueError(f"X must hold numbers; got {dtype}")
            return cls("array", (str(dtype),))
        if not X.columns.is_unique:
            raise ValueError(
                f"X has columns of the same name: {', '.join(map(str, X.columns[X.columns.duplicated()]))}"
            )
        text = [str(name) for name, dtype in zip(X.columns, X.dtypes, strict=True) if dtype.kind not in "fiub"]
        if text:
            raise ValueError(
                f"X has columns that are not numbers: {', '.join(text)}; drop them, encode them as numbers, or give "
                "one of them as y"
            )
        return cls("frame", tuple(map(str, X.dtypes)), tuple(X.columns))

    def with_decimals(self, x: Array) -> "Table":
        """Return the same form with the decimals of the rows x, [N, columns]."""
        columns = zip(x.T, self._dtypes(x.shape[1]), strict=True)
        return dataclasses.replace(self, decimals=tuple(_decimals(column, dtype) for column, dtype in columns))

    def _dtypes(self, columns: int) -> tuple[str, ...]:
        return self.dtypes if self.kind == "frame" else self.dtypes * columns

    @property
    def whole(self) -> NDArray[np.bool_]:
        """Which columns have a dtype of whole numbers: [columns] bool, or [1] for all columns."""
        return np.array([_kind(dtype) in "iub" for dtype in self.dtypes])

    def continuous(self, x: Array, seed: int, moved: NDArray[np.bool_] | None = None) -> Array:
        """Return rows with each whole number moved at random by up to 0.5, so that their density has no peaks.

        A constant column does not change. In any other column of whole numbers, the range is widened by 0.5 at both
        ends.

        Args:
            x: the rows, [N, columns].
            seed: the seed of the random numbers.
            moved: if x is only a part of a table, which columns of the table are not constant. The ends of the range
                are then left to chance.
        """
        whole = moved is None
        moved = self.whole & (x.min(0) < x.max(0) if moved is None else moved)
        if not moved.any():
            return x
        by = np.random.default_rng(seed).uniform(-0.5, 0.5, x.shape)
        if whole:
            columns = np.arange(x.shape[1])
            by[x.argmin(0), columns], by[x.argmax(0), columns] = -0.5, 0.5
        return x + np.where(moved, by, 0.0)

    def like_given(self, x: Array, low: Array, high: Array) -> Any:
        """Return rows [N, columns] as a table of this form, with whole numbers from `low` to `high`."""
        x = np.where(self.whole, np.clip(np.round(x), low, high), x)
        for column, decimals in zip(x.T, self.decimals, strict=True):
            if decimals is not None:
                np.round(column, decimals, out=column)
        dtypes = self._dtypes(x.shape[1])
        columns = [_within(column, dtype) for column, dtype in zip(x.T, dtypes, strict=True)]
        if self.kind == "tensor":
            return torch.from_numpy(np.stack(columns, axis=1)).to(getattr(torch, dtypes[0]))
        if self.kind == "array":
            return np.stack(columns, axis=1).astype(dtypes[0] if _kind(dtypes[0]) in "fiub" else np.float64)
        import pandas as pd

        series = [pd.Series(column).astype(dtype) for column, dtype in zip(columns, dtypes, strict=True)]
        return pd.concat(series, axis=1).set_axis(list(self.names or ()), axis=1)


def collapsed(exact: Array, single: NDArray[np.float32], names: Iterable[Any]) -> list[tuple[Any, int, int]]:
    """Return the columns that lose more than a tenth of their different numbers in float32.

    Each is returned as its name and its counts of different numbers in float64 and in float32. If there are many rows,
    only some of them are counted, evenly spaced.
    """
    every = slice(None, None, max(1, len(exact) // LOOKED_AT))
    counts = [(len(np.unique(x)), len(np.unique(z))) for x, z in zip(exact[every].T, single[every].T, strict=True)]
    return [(name, *found) for name, found in zip(names, counts, strict=True) if found[1] < 0.9 * found[0]]


def as_array(X: Any) -> Any:
    """Return a tensor as a NumPy array, and anything else as it is."""
    if not isinstance(X, torch.Tensor):
        return X
    return (X.double() if X.dtype == torch.bfloat16 else X).detach().cpu().numpy()


def _decimals(column: Array, dtype: str) -> int | None:
    """Return the decimals of the numbers of a column; None if six are too few, or if the dtype is not floating."""
    if _kind(dtype) not in "fO":
        return None
    given = np.dtype(_numpy_name(dtype) if _kind(dtype) == "f" else "float64")
    exact = column.astype(given)
    fits = (d for d in range(DECIMALS + 1) if np.array_equal(np.round(column, d).astype(given), exact))
    return next(fits, None)


def _within(column: Array, dtype: str) -> Array:
    """Clip numbers to the range of a dtype. Without this, a cast could wrap silently."""
    kind, name = _kind(dtype), _numpy_name(dtype)
    if kind == "f":
        return np.clip(column, float(np.finfo(name).min), float(np.finfo(name).max))
    if kind not in "iu":
        return column
    low, high = (float(bound) for bound in (np.iinfo(name).min, np.iinfo(name).max))
    return np.clip(column, low, high if int(high) <= np.iinfo(name).max else np.nextafter(high, 0))


def _numpy_name(dtype: str) -> str:
    """Return NumPy's name of a dtype of NumPy, torch or pandas ("Int64", "boolean", "double[pyarrow]")."""
    name = dtype.split("[")[0]
    name = name.lower() if name[:1].isupper() else name
    return {"boolean": "bool", "bfloat16": "float32"}.get(name, name)


def _kind(dtype: str) -> str:
    """Return NumPy's letter for the kind of a dtype, "O" if it is unknown."""
    try:
        return np.dtype(_numpy_name(dtype)).kind
    except TypeError:
        return "O"


def _has_dtype(kind: str, dtype: str) -> bool:
    """Return whether tables of a kind can have a dtype.

    Arrays of complex numbers and of objects can: scikit-learn checks them later.
    """
    if kind == "tensor":
        return isinstance(getattr(torch, dtype, None), torch.dtype)
    try:
        if kind == "array":
            return np.dtype(dtype).kind in "fiubcO"
        import pandas as pd

        return pd.api.types.pandas_dtype(dtype).kind in "fiub"
    except (TypeError, ValueError, SyntaxError):  # NumPy may read a name as a structured dtype
        return False
