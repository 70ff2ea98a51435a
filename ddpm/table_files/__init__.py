"""Read and write tables as CSV, Parquet and .npy files, with column names, order and dtypes."""

import os
from collections.abc import Sequence
from pathlib import Path

from ddpm.table_files.columns import ROWS, Columns, Parts, Read
from ddpm.table_files.csv_layout import look_at
from ddpm.table_files.csv_reading import read_csv
from ddpm.table_files.formats import SUFFIXES, format_of
from ddpm.table_files.npy import map_npy, npy_parts
from ddpm.table_files.parquet import files_of, open_parquet, parquet_parts
from ddpm.table_files.writing import check_holds, write

__all__ = [
    "SUFFIXES",
    "Columns",
    "Parts",
    "Read",
    "check_holds",
    "described",
    "format_of",
    "names_of",
    "parts_of",
    "parts_of_large",
    "read",
    "write",
]

SHOWN = 6  # column names in a message, at most
LARGE = 2**26  # numbers (512 MB of float64): larger tables are read in parts


def read(path: str | os.PathLike[str], target: str | None = None, columns: Sequence[str] | None = None) -> Read:
    """Read a table of finite numbers.

    Args:
        path: a .csv file in UTF-8, fields separated by commas, semicolons or tabs, with or without names in its first
            row; a .parquet file, or a folder of them; or a .npy file, [N] or [N, D], which is memory-mapped.
        target: a column of classes. In a .csv file they are text, unless all are whole numbers, or True and False.
            A column without a name is called by its position: "0" is the first.
        columns: the columns to read, in this order; None is all.

    Raises:
        OSError: the file cannot be read.
        ValueError: the table has no rows, a missing value, a whole number with more digits than a float64 can hold, or
            something other than finite numbers. The message has the file, the position and the value.
        ImportError: a library that reads this format is not installed.
    """
    path = Path(path)
    if format_of(path) == ".csv":
        return read_csv(path, target, _with_target(columns, target))
    parts = parts_of(path, target, columns, rows=None)
    return Read(*next(parts.read()), parts.columns)


def parts_of(
    path: str | os.PathLike[str],
    target: str | None = None,
    columns: Sequence[str] | None = None,
    rows: int | None = ROWS,
) -> Parts:
    """Open a .parquet or .npy file as `read` does, in parts of at most `rows` rows, or in one part if `rows` is None.

    Raises:
        OSError, ValueError, ImportError: as for `read`. An error in a part is raised when that part is read.
    """
    path = Path(path)
    open_parts = npy_parts if format_of(path) == ".npy" else parquet_parts
    return open_parts(path, target, _with_target(columns, target), rows)


def names_of(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """Return the names of all columns of a file, or "0", "1" and so on if it has no names."""
    if format_of(path) == ".csv":
        return look_at(Path(path)).columns
    if format_of(path) == ".npy":
        return tuple(map(str, range(map_npy(Path(path)).shape[1])))
    return tuple(open_parquet(files_of(Path(path))[0]).schema_arrow.names)


def parts_of_large(
    path: str | os.PathLike[str], target: str | None = None, columns: Sequence[str] | None = None
) -> Parts | None:
    """Open a table of more than LARGE numbers as `parts_of` does. Return None for a smaller table or a .csv file."""
    if format_of(path) == ".csv":
        return None
    parts = parts_of(path, target, columns)
    return parts if parts.rows * len(parts.columns.names) > LARGE else None


def described(path: str | os.PathLike[str], rows: int, columns: Columns) -> str:
    """Return a description of a table, such as "points.csv: 150 rows, 4 columns (length, width, ...)"."""
    names = columns.names
    named = any(isinstance(name, str) for name in names)
    shown = ", ".join(" ".join(str(name).split()) for name in names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
    plural = "" if len(names) == 1 else "s"
    return f"{path}: {rows} rows, {len(names)} column{plural} ({shown if named else 'without names'})"


def _with_target(columns: Sequence[str] | None, target: str | None) -> list[str] | None:
    if columns is None:
        return None
    return list(dict.fromkeys((*columns, *(() if target is None else (target,)))))
