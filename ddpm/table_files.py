"""Tables in and out of files: CSV, Parquet and .npy, with their names, order and dtypes."""

import importlib.util
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ddpm import csv_files
from ddpm.files import atomic_path

SUFFIXES = (".csv", ".parquet", ".npy")
SHOWN = 6  # names of columns in a message
ROWS = 2**20  # of a .npy file that are looked at together


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
    text = () if target is None else (target,)
    only = None if columns is None else list(dict.fromkeys((*columns, *text)))
    if suffix == ".npy":
        return _read_npy(path, target, only)
    arrow = csv_files.read(path, text, only) if suffix == ".csv" else _read_parquet(path, text, only)
    frame = arrow.to_pandas()
    for name in frame.columns:
        values = frame[name]
        if values.dtype.kind == "f" and not np.isfinite(values.to_numpy()).all():
            row = int(np.argmax(~np.isfinite(values.to_numpy())))
            place = csv_files.place_of(path, row) if suffix == ".csv" else f"{path}, row {row} (from 0)"
            raise ValueError(f"{place}, column {name!r}: {values.iloc[row]} is not a finite number")
    if suffix == ".csv" and csv_files.look_at(path).names is None:
        frame.columns = [int(name) for name in frame.columns]
    return frame


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


def described(path: str | os.PathLike[str], table: Any) -> str:
    """Return what was read, "points.csv: 150 rows, 4 columns (length, width, ...)"."""
    names = names_of(table)
    named = any(isinstance(name, str) for name in names)
    shown = ", ".join(map(str, names[:SHOWN])) + (", ..." if len(names) > SHOWN else "")
    plural = "" if len(names) == 1 else "s"
    return f"{path}: {len(table)} rows, {len(names)} column{plural} ({shown if named else 'without names'})"


def _read_parquet(path: Path, text: Sequence[str], only: Sequence[str] | None) -> Any:
    import pyarrow
    from pyarrow import parquet

    try:
        names = parquet.read_schema(path).names
        if twice := [name for name in names if names.count(name) > 1]:
            raise ValueError(f"{path}: two columns have the name {twice[0]!r}")
        csv_files.check_names(path, [*(only or ()), *text], names)
        table = parquet.read_table(path, columns=only)
    except pyarrow.ArrowInvalid as error:
        raise ValueError(f"{path}: is not a whole Parquet file ({error})") from error
    if table.num_rows == 0:
        raise ValueError(f"{path}: has no rows")
    types = pyarrow.types
    for name in table.schema.names:
        kind = table.schema.field(name).type
        if not (name in text or types.is_floating(kind) or types.is_integer(kind) or types.is_boolean(kind)):
            raise ValueError(
                f"{path}: column {name!r} holds {kind}, not numbers: leave it out, or name it as the target"
            )
        if table[name].null_count:
            row = table[name].is_null().index(True).as_py()
            place = f"{path}, row {row} (from 0), column {name!r}"
            raise ValueError(f"{place}: is missing: leave the row out, or fill it in")
    return table.select(only) if only is not None else table


def _read_npy(path: Path, target: str | None, only: Sequence[str] | None) -> Any:
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
    rows = stored.reshape(len(stored), -1)
    for start in range(0, len(rows), ROWS):
        finite = np.isfinite(rows[start : start + ROWS])
        if not finite.all():
            row, column = np.argwhere(~finite)[0]
            value = rows[start + row, column]
            raise ValueError(f"{path}, row {start + row}, column {column} (from 0): {value} is not a finite number")
    if target is None and only is None:
        return rows
    csv_files.check_names(path, only or [str(target)], list(map(str, range(rows.shape[1]))))
    import pandas as pd

    frame = pd.DataFrame(np.asarray(rows))
    return frame if only is None else frame[[int(name) for name in only]]
