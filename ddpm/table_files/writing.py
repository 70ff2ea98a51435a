"""Write tables to files."""

import csv
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from ddpm.files import atomic_path
from ddpm.table_files.columns import are_places
from ddpm.table_files.csv_layout import NUMBER, look_at
from ddpm.table_files.formats import format_of

SPECIAL = "\t;\r\n\"'"  # text that contains one of these needs quotation marks


def write(path: str | os.PathLike[str], table: Any) -> None:
    """Write an array [N, D] or a DataFrame, completely or not at all. `read` returns it again.

    Columns that are called 0, 1 and so on are written to a .csv file without names, if possible. A .npy file has no
    names, and one dtype for all columns.

    Raises:
        OSError: the file cannot be written.
        ValueError: see check_holds.
        ImportError: a library that writes this format is not installed.
    """
    suffix = check_holds(path, table)
    if suffix == ".npy":
        with atomic_path(path) as temporary, open(temporary, "wb") as file:
            np.save(file, table.to_numpy(_dtype_of(table)) if hasattr(table, "iloc") else np.asarray(table))
        return
    import pandas as pd

    frame = table if hasattr(table, "iloc") else pd.DataFrame(_native(np.asarray(table)))
    frame = frame.set_axis(list(map(str, frame.columns)), axis=1)
    with atomic_path(path) as temporary:
        if suffix == ".csv":
            _write_csv(frame, temporary, path)
        else:
            frame.to_parquet(temporary, index=False)


def check_holds(path: str | os.PathLike[str], table: Any) -> str:
    """Return the format of a file, if it can hold a table.

    Raises:
        ValueError: it cannot. A .npy file cannot hold text, and a .csv file cannot have names that are all numbers.
    """
    suffix = format_of(path)
    if suffix == ".npy" and _dtype_of(table).kind not in "fiub":
        raise ValueError(f"{path}: a .npy file holds only numbers, but the table has text: use .csv or .parquet")
    names = list(map(str, table.columns)) if hasattr(table, "columns") else []
    if suffix == ".csv" and names and not are_places(names) and all(map(NUMBER.fullmatch, names)):
        raise _like_numbers(path, names)
    return suffix


def _write_csv(frame: Any, temporary: Path, path: str | os.PathLike[str]) -> None:
    """Write a file and check that its first row is read back correctly, as names or as numbers.

    Columns that are called 0, 1 and so on are first tried without a row of names.
    """
    names = list(frame.columns)
    text = [value for column in frame if frame[column].dtype.kind == "O" for value in map(str, frame[column])]
    plain = not any(set(SPECIAL) & set(value) or value != value.strip() for value in (*names, *text))
    quoting = csv.QUOTE_MINIMAL if plain else csv.QUOTE_NONNUMERIC
    for header in (False, True) if are_places(names) else (True,):
        frame.to_csv(temporary, index=False, header=header, quoting=quoting)
        with suppress(ValueError):
            layout = look_at(temporary)
            if list(layout.columns) == names and bool(layout.skip) == header:
                return
    raise _like_numbers(path, names)


def _like_numbers(path: str | os.PathLike[str], names: list[str]) -> ValueError:
    return ValueError(f"{path}: the names of columns ({names[0]}, ...) look like a row of numbers: use .parquet")


def _dtype_of(table: Any) -> np.dtype[Any]:
    """Return a dtype that can hold all columns of a table."""
    if not hasattr(table, "iloc"):
        return np.asarray(table).dtype
    if not {dtype.kind for dtype in table.dtypes} <= set("fiub"):
        return np.dtype(object)
    return np.result_type(*(np.dtype(str(dtype).lower()) for dtype in table.dtypes))


def _native(array: Any) -> Any:
    """Return the array in the byte order of this machine."""
    return array.astype(array.dtype.newbyteorder("="), copy=False)
