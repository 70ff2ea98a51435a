"""The tables of users: arrays, DataFrames and tensors, read as numbers and given back as they were."""

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

Array = NDArray[np.float64]

KINDS = ("array", "frame", "tensor")
DECIMALS = 6  # a column that needs more is taken for one of any numbers
LOOKED_AT = 100_000  # rows in which numbers are counted that float32 cannot tell apart


@dataclass(frozen=True)
class Table:
    """The kind of a table.

    Attributes:
        kind: "array", "frame" or "tensor".
        dtypes: the name of that of each column of a DataFrame, or of all of another table.
        names: of the columns of a DataFrame.
        decimals: with how many each column of floating-point numbers is written, None where it has any numbers.

    Raises:
        ValueError: no such kind, or a dtype that none of its tables has.
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
        """Return what X is.

        Raises:
                ValueError: it holds anything but numbers, or a DataFrame has two columns of one name.
        """
        if isinstance(X, torch.Tensor):
            return cls("tensor", (str(X.dtype).removeprefix("torch."),))
        if not hasattr(X, "iloc"):
            dtype = X.dtype if hasattr(X, "dtype") else np.asarray(X).dtype
            if getattr(dtype, "kind", "O") not in "fiubcO":  # complex numbers and objects are looked at by scikit-learn
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
        """Return the same with the decimals of rows x [N, columns]."""
        columns = zip(x.T, self._dtypes(x.shape[1]), strict=True)
        return dataclasses.replace(self, decimals=tuple(_decimals(column, dtype) for column, dtype in columns))

    def _dtypes(self, columns: int) -> tuple[str, ...]:
        return self.dtypes if self.kind == "frame" else self.dtypes * columns

    @property
    def whole(self) -> NDArray[np.bool_]:
        """Which columns hold whole numbers by their dtype: [columns], or [1] for all."""
        return np.array([_kind(dtype) in "iub" for dtype in self.dtypes])

    def continuous(self, x: Array, seed: int, moved: NDArray[np.bool_] | None = None) -> Array:
        """Return rows with each whole number anywhere within half of one: a density has no peak there.

        A column that is constant stays so. The range of any other begins half below its least number and ends half
        above its greatest, so that both lie within it. Of a part of a table, `moved` says which columns are not
        constant, and the range is left to chance.
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
        """Return rows [N, columns] as a table of this kind, whole numbers from `low` to `high`."""
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
    """Return name and how many different numbers, in float64 and in float32, of each column that loses a tenth of them.

    Of many rows, those that are looked at are spread evenly.
    """
    every = slice(None, None, max(1, len(exact) // LOOKED_AT))
    counts = [(len(np.unique(x)), len(np.unique(z))) for x, z in zip(exact[every].T, single[every].T, strict=True)]
    return [(name, *found) for name, found in zip(names, counts, strict=True) if found[1] < 0.9 * found[0]]


def as_array(X: Any) -> Any:
    """Return a tensor as an array, and anything else as it is."""
    if not isinstance(X, torch.Tensor):
        return X
    return (X.double() if X.dtype == torch.bfloat16 else X).detach().cpu().numpy()


def _decimals(column: Array, dtype: str) -> int | None:
    """The decimals with which all numbers of a column are written; None where six are too few, or it has no floats."""
    if _kind(dtype) not in "fO":
        return None
    given = np.dtype(_numpy_name(dtype) if _kind(dtype) == "f" else "float64")
    exact = column.astype(given)
    fits = (d for d in range(DECIMALS + 1) if np.array_equal(np.round(column, d).astype(given), exact))
    return next(fits, None)


def _within(column: Array, dtype: str) -> Array:
    """The numbers within those that a dtype holds: a cast of others would wrap without a word."""
    kind, name = _kind(dtype), _numpy_name(dtype)
    if kind == "f":
        return np.clip(column, float(np.finfo(name).min), float(np.finfo(name).max))
    if kind not in "iu":
        return column
    low, high = (float(bound) for bound in (np.iinfo(name).min, np.iinfo(name).max))
    return np.clip(column, low, high if int(high) <= np.iinfo(name).max else np.nextafter(high, 0))


def _numpy_name(dtype: str) -> str:
    """NumPy's name of a dtype of NumPy, torch or pandas ("Int64", "boolean", "double[pyarrow]")."""
    name = dtype.split("[")[0]
    name = name.lower() if name[:1].isupper() else name
    return {"boolean": "bool", "bfloat16": "float32"}.get(name, name)


def _kind(dtype: str) -> str:
    """NumPy's letter for a dtype."""
    try:
        return np.dtype(_numpy_name(dtype)).kind
    except TypeError:
        return "O"


def _has_dtype(kind: str, dtype: str) -> bool:
    """Whether there are tables of a kind with a dtype; of complex numbers and of objects, scikit-learn says more."""
    if kind == "tensor":
        return isinstance(getattr(torch, dtype, None), torch.dtype)
    try:
        if kind == "array":
            return np.dtype(dtype).kind in "fiubcO"
        import pandas as pd

        return pd.api.types.pandas_dtype(dtype).kind in "fiub"
    except (TypeError, ValueError, SyntaxError):  # a name may be that of a structure
        return False
