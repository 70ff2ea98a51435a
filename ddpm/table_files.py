"""Tables in and out of files: CSV, Parquet and .npy, with their names, order and dtypes."""

import importlib.util
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ddpm import csv_files
from ddpm.files import atomic_path

SUFFIXES = (".csv", ".parquet", ".npy")
SHOWN = 6  # names of columns in a message
ROWS = 2**16  # that are looked at together
LARGE = 2**26  # numbers, 512 MB of float64: more are read in parts


def format_of(path: str | os.PathLike[str]) -> str:
    """Return one of SUFFIXES, the end of a file's name in lower case.

    Raises:
        ValueError: it is another.
        ImportError: what reads and writes it is not installed.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(f"{path}: tables are kept in {', '.join(SUFFIXES[:-1])} and {SUFFIXES[-1]} files")
    if suffix != ".npy":
        for library in ("pyarrow", "pandas"):
            if importlib.util.find_spec(library) is None:
                raise ImportError(f"{path}: needs {library}: pip install 'fused-ddpm[tables]'")
    return suffix


def read(path: str | os.PathLike[str], target: str | None = None, columns: Sequence[str] | None = None) -> Any:
    """Read a table of finite numbers.

    Args:
        path: a .csv file in UTF-8, fields separated by commas, semicolons or tabs, with or without names in its first
            row; a .parquet file; or a .npy file, [N] or [N, D], which is mapped and not read.
        target: a column that holds classes, text too. A column without a name is called by its place, "0" the first.
        columns: the columns to read, in this order; None is all.

    Returns:
        An array [N, D] of a .npy file of all columns, else a DataFrame; its columns are called 0, 1 and so on where the
        file has no names.

    Raises:
        OSError: the file cannot be read.
        ValueError: it holds no row, a missing value, or something other than finite numbers; names file, place and
            value.
        ImportError: what reads it is not installed.
    """
    path, suffix = Path(path), format_of(path)
    if suffix == ".csv":
        return _read_csv(path, target, _with_target(columns, target))
    (table,) = parts_of(path, target, columns, rows=None).read()
    return table


class Parts(NamedTuple):
    """A table that is read in parts.

    Attributes:
        rows: N.
        names: of the columns, or their places.
        read: gives parts as `read` gives a table, one after the other; may be called again.
    """

    rows: int
    names: tuple[str | int, ...]
    read: Callable[[], Iterator[Any]]


def parts_of(
    path: str | os.PathLike[str],
    target: str | None = None,
    columns: Sequence[str] | None = None,
    rows: int | None = ROWS,
) -> Parts:
    """Open a .parquet or .npy file as `read` does, in parts of at most `rows` rows; None is one part.

    Raises:
        As `read`; what is found in a part, when it is read.
    """
    path, only = Path(path), _with_target(columns, target)
    if format_of(path) == ".npy":
        return _npy_parts(path, target, only, rows)
    return _parquet_parts(path, () if target is None else (target,), only, rows)


def is_large(path: str | os.PathLike[str], target: str | None = None, columns: Sequence[str] | None = None) -> bool:
    """Return whether a table would take more memory than LARGE numbers do, and can be read in parts."""
    if format_of(path) == ".csv":
        return False
    parts = parts_of(path, target, columns)
    return parts.rows * len(parts.names) > LARGE


def _with_target(columns: Sequence[str] | None, target: str | None) -> list[str] | None:
    if columns is None:
        return None
    return list(dict.fromkeys((*columns, *(() if target is None else (target,)))))


def write(path: str | os.PathLike[str], table: Any) -> None:
    """Write an array [N, D] or a DataFrame, whole or not at all; `read` gives it back.

    Columns that are called by their place get no names in a .csv file. A .npy file has no names, and one dtype for all
    columns.

    Raises:
        OSError: the file cannot be written.
        ValueError: a .npy file cannot hold the table, because it has text.
        ImportError: what writes it is not installed.
    """
    suffix = format_of(path)
    check_holds(path, table)
    if suffix == ".npy":
        with atomic_path(path) as temporary, open(temporary, "wb") as file:
            np.save(file, np.asarray(table))
        return
    import pandas as pd

    frame = table if hasattr(table, "iloc") else pd.DataFrame(table)
    named = any(isinstance(name, str) for name in frame.columns)
    with atomic_path(path) as temporary:
        if suffix == ".csv":
            frame.to_csv(temporary, index=False, header=named)
        else:
            frame.set_axis(list(map(str, frame.columns)), axis=1).to_parquet(temporary, index=False)


def check_holds(path: str | os.PathLike[str], table: Any) -> None:
    """Raise ValueError where the format of a file cannot hold a table."""
    if format_of(path) == ".npy" and np.asarray(table).dtype.kind not in "fiub":
        raise ValueError(f"{path}: a .npy file holds numbers alone, and the table has text: take .csv or .parquet")


def split(table: Any, target: str | None) -> tuple[Any, Any]:
    """Return what `read` gave without the column of the target, and that column; None for none."""
    if target is None:
        return table, None
    name = target if target in table.columns else int(target)
    return table.drop(columns=name), table[name].to_numpy()


def names_of(table: Any) -> tuple[str | int, ...]:
    """Return the names of the columns, or their places."""
    return tuple(table.columns) if hasattr(table, "columns") else tuple(range(table.shape[1]))


def described(path: str | os.PathLike[str], rows: int, names: Sequence[object]) -> str:
    """Return what was read, "points.csv: 150 rows, 4 columns (length, width, ...)"."""
    named = any(isinstance(name, str) for name in names)
    shown = ", ".join(map(str, names[:SHOWN])) + (", ..." if len(names) > SHOWN else "")
    plural = "" if len(names) == 1 else "s"
    return f"{path}: {rows} rows, {len(names)} column{plural} ({shown if named else 'without names'})"


def _read_csv(path: Path, target: str | None, only: Sequence[str] | None) -> Any:
    frame = csv_files.read(path, () if target is None else (target,), only).to_pandas()
    found = _not_finite(frame)
    if found is not None:
        row, name, value = found
        raise ValueError(f"{csv_files.place_of(path, row)}, column {name!r}: {value} is not a finite number")
    if csv_files.look_at(path).names is None:
        frame.columns = [int(name) for name in frame.columns]
    return frame


def _not_finite(frame: Any) -> tuple[int, Any, Any] | None:
    """Row, column and value of the first number that is infinite or NaN."""
    for name in frame.columns:
        if frame[name].dtype.kind == "f":
            finite = np.isfinite(frame[name].to_numpy())
            if not finite.all():
                row = int(np.argmin(finite))
                return row, name, frame[name].iloc[row]
    return None


def _parquet_parts(path: Path, text: Sequence[str], only: Sequence[str] | None, rows: int | None) -> Parts:
    import pyarrow
    from pyarrow import parquet

    try:
        file = parquet.ParquetFile(path, memory_map=True)
    except pyarrow.ArrowInvalid as error:
        raise ValueError(f"{path}: is not a whole Parquet file ({error})") from error
    names, count, types = file.schema_arrow.names, file.metadata.num_rows, pyarrow.types
    if twice := [name for name in names if names.count(name) > 1]:
        raise ValueError(f"{path}: two columns have the name {twice[0]!r}")
    csv_files.check_names(path, [*(only or ()), *text], names)
    if count == 0:
        raise ValueError(f"{path}: has no rows")
    wanted = list(only or names)
    for name in wanted:
        kind = file.schema_arrow.field(name).type
        if not (name in text or types.is_floating(kind) or types.is_integer(kind) or types.is_boolean(kind)):
            raise ValueError(
                f"{path}: column {name!r} holds {kind}, not numbers: leave it out, or name it as the target"
            )

    def read() -> Iterator[Any]:
        if rows is None:
            yield _checked_parquet(path, file.read(wanted).select(wanted), 0)
            return
        first = 0
        for batch in file.iter_batches(rows, columns=wanted):
            yield _checked_parquet(path, pyarrow.Table.from_batches([batch]).select(wanted), first)
            first += len(batch)

    return Parts(count, tuple(wanted), read)


def _checked_parquet(path: Path, table: Any, first: int) -> Any:
    """A DataFrame of rows `first` and on, all numbers finite and none missing."""
    for name in table.schema.names:
        if table[name].null_count:
            place = f"{path}, row {first + table[name].is_null().index(True).as_py()} (from 0), column {name!r}"
            raise ValueError(f"{place}: is missing: leave the row out, or fill it in")
    frame = table.to_pandas(ignore_metadata=True)
    found = _not_finite(frame)
    if found is not None:
        row, name, value = found
        raise ValueError(f"{path}, row {first + row} (from 0), column {name!r}: {value} is not a finite number")
    return frame


def _npy_parts(path: Path, target: str | None, only: Sequence[str] | None, rows: int | None) -> Parts:
    try:
        # a memory map refuses pickles, and finds a file shorter than its header claims before memory is taken
        stored = np.lib.format.open_memmap(path, mode="r")
    except ValueError as error:
        raise ValueError(f"{path}: is not a readable .npy file of numbers ({error})") from error
    if stored.dtype.kind not in "fiub":
        raise ValueError(f"{path}: holds {stored.dtype}, not numbers")
    if stored.ndim not in (1, 2):
        raise ValueError(f"{path}: has shape {list(stored.shape)}, but tables are [N] or [N, D]")
    if stored.size == 0:
        raise ValueError(f"{path}: has no rows, its shape is {list(stored.shape)}")
    array = stored.reshape(len(stored), -1)
    places = list(map(str, range(array.shape[1])))
    csv_files.check_names(path, [*(only or ()), *([] if target is None else [target])], places)
    wanted = tuple(int(name) for name in only or places)

    def read() -> Iterator[Any]:
        step = rows or len(array)
        for start in range(0, len(array), step):
            part = array[start : start + step]
            _check_finite(path, part, start)
            if target is None and only is None:
                yield part
            else:
                import pandas as pd

                yield pd.DataFrame(np.asarray(part))[list(wanted)]

    return Parts(len(array), wanted, read)


def _check_finite(path: Path, array: Any, first: int) -> None:
    for start in range(0, len(array), ROWS):
        finite = np.isfinite(array[start : start + ROWS])
        if not finite.all():
            row, column = np.argwhere(~finite)[0]
            place = f"{path}, row {first + start + row}, column {column} (from 0)"
            raise ValueError(f"{place}: {array[start + row, column]} is not a finite number")
