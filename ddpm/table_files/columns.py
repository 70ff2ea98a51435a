"""The columns of a file, tables read from it, and checks of names and numbers."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

ROWS, NUMBERS = 2**16, 2**22  # at most, in one part
WHOLE = 2**53  # a float64 holds every whole number up to this one


class Columns(NamedTuple):
    """The columns of a file.

    Attributes:
        names: names of all columns in order, the target included: text, or 0, 1 and so on if the file has no names.
        target: index of the target in `names`, or None.
    """

    names: tuple[str | int, ...]
    target: int | None


class Read(NamedTuple):
    """A table and its target.

    Attributes:
        x: numbers [N, D]: an array for a .npy file, a DataFrame otherwise.
        y: the target, [N], or None.
        columns: the columns of x and y.
    """

    x: Any
    y: Any
    columns: Columns


class Parts(NamedTuple):
    """A table that is read in parts.

    Attributes:
        rows: number of rows, N.
        columns: the columns of x and y.
        read: function that returns an iterator over x and y of each part, as in Read. It can be called again.
    """

    rows: int
    columns: Columns
    read: Callable[[], Iterator[tuple[Any, Any]]]


def check_names(path: Path, wanted: Sequence[str], names: Sequence[str]) -> None:
    """Raise ValueError unless every name in `wanted` is in `names`."""
    for name in wanted:
        if name not in names:
            there = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
            raise ValueError(f"{path}: has no column {name!r}; its columns are {there}")


def columns_of(wanted: Sequence[str], target: str | None, named: bool) -> Columns:
    """Return the chosen columns. Without names, they are numbered from 0 again."""
    if len(wanted) == 1 and target is not None:
        raise ValueError(f"a table must have a column besides the target; got {target!r} alone")
    names = tuple(wanted) if named else tuple(range(len(wanted)))
    return Columns(names, None if target is None else wanted.index(target))


def are_places(names: Sequence[str]) -> bool:
    """Return whether the names are "0", "1" and so on."""
    return list(names) == list(map(str, range(len(names))))


def at_once(rows: int, columns: Sequence[str]) -> int:
    """Return how many rows a part has: at most `rows`, and at most NUMBERS numbers."""
    return max(1, min(rows, NUMBERS // len(columns)))


def take_apart(frame: Any, columns: Columns) -> tuple[Any, Any]:
    """Name the columns of a DataFrame and split it into x and y."""
    frame.columns = list(columns.names)
    if columns.target is None:
        return frame, None
    name = columns.names[columns.target]
    return frame.drop(columns=name), frame[name].to_numpy()


def wrong_number(x: Any) -> tuple[int, Any, str] | None:
    """Return row, column and error of the first number that is not finite or has too many digits for a float64.

    Return None if all numbers are fine.
    """
    frame = hasattr(x, "iloc")
    for i in range(x.shape[1]):
        values = x.iloc[:, i].to_numpy() if frame else x[:, i]
        name = x.columns[i] if frame else i
        if values.dtype.kind == "f":
            wrong, said = ~np.isfinite(values), "is not a finite number"
        elif values.dtype.itemsize == 8:
            wrong = (values > WHOLE) | (values < -WHOLE)
            said = "has more digits than a float64 can hold: leave its column out, or name it as the target"
        else:
            continue
        if wrong.any():
            row = int(np.argmax(wrong))
            return row, name, f"{values[row]} {said}"
    return None
