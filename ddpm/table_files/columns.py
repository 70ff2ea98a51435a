"""The columns of a file, what was read of them, and numbers that cannot be learnt from."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

ROWS, NUMBERS = 2**16, 2**22  # that are looked at together, at most
WHOLE = 2**53  # up to this, a float64 holds every whole number


class Columns(NamedTuple):
    """The columns of a file.

    Attributes:
        names: in their order, that of the target too: text, or 0, 1 and so on where the file has no names.
        target: the place of the target; None where there is none.
    """

    names: tuple[str | int, ...]
    target: int | None


class Read(NamedTuple):
    """A table and its target.

    Attributes:
        x: numbers, an array [N, D] of a .npy file, else a DataFrame.
        y: the target, [N], or None.
        columns: of both.
    """

    x: Any
    y: Any
    columns: Columns


class Parts(NamedTuple):
    """A table that is read in parts.

    Attributes:
        rows: N.
        columns: of all.
        read: gives x and y of parts, one after the other, as in Read; may be called again.
    """

    rows: int
    columns: Columns
    read: Callable[[], Iterator[tuple[Any, Any]]]


def check_names(path: Path, wanted: Sequence[str], names: Sequence[str]) -> None:
    """Raise ValueError unless all that is wanted is one of the names of columns."""
    for name in wanted:
        if name not in names:
            there = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
            raise ValueError(f"{path}: has no column {name!r}; its columns are {there}")


def columns_of(wanted: Sequence[str], target: str | None, named: bool) -> Columns:
    """Return what was chosen; without names they are counted anew."""
    if len(wanted) == 1 and target is not None:
        raise ValueError(f"a table must have a column beside the target; got {target!r} alone")
    names = tuple(wanted) if named else tuple(range(len(wanted)))
    return Columns(names, None if target is None else wanted.index(target))


def are_places(names: Sequence[str]) -> bool:
    """Return whether names are "0", "1" and so on."""
    return list(names) == list(map(str, range(len(names))))


def at_once(rows: int, columns: Sequence[str]) -> int:
    """Return how many rows make a part."""
    return max(1, min(rows, NUMBERS // len(columns)))


def take_apart(frame: Any, columns: Columns) -> tuple[Any, Any]:
    """Return x and y of a DataFrame of all columns."""
    frame.columns = list(columns.names)
    if columns.target is None:
        return frame, None
    name = columns.names[columns.target]
    return frame.drop(columns=name), frame[name].to_numpy()


def wrong_number(x: Any) -> tuple[int, Any, str] | None:
    """Return row, column and what is wrong of the first number that is not finite, or has more digits than float64."""
    frame = hasattr(x, "iloc")
    for i in range(x.shape[1]):
        values = x.iloc[:, i].to_numpy() if frame else x[:, i]
        name = x.columns[i] if frame else i
        if values.dtype.kind == "f":
            wrong, said = ~np.isfinite(values), "is not a finite number"
        elif values.dtype.itemsize == 8:
            wrong = (values > WHOLE) | (values < -WHOLE)
            said = "has more digits than a float64: leave its column out, or name it as the target"
        else:
            continue
        if wrong.any():
            row = int(np.argmax(wrong))
            return row, name, f"{values[row]} {said}"
    return None
