"""Tables in and out of files: CSV, Parquet and .npy, with their names, order and dtypes."""

import csv
import importlib.util
import os
import tokenize
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ddpm import csv_files
from ddpm.files import atomic_path

SUFFIXES = (".csv", ".parquet", ".npy")
SHOWN = 6  # names of columns in a message
ROWS, NUMBERS = 2**16, 2**22  # that are looked at together, at most
LARGE = 2**26  # numbers, 512 MB of float64: more are read in parts
PLAIN = "\t;\r\n\"'"  # what text must not hold to be written without quotation marks


class Columns(NamedTuple):
    """The columns of a file.

    Attributes:
        names: in their order, that of the target too: text, or 0, 1 and so on where the file has no names.
        target: the place of the target; None where there is none.
    """

    names: tuple[str | int, ...]
    target: int | None


class Read(NamedTuple):
    """What was read.

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


def read(path: str | os.PathLike[str], target: str | None = None, columns: Sequence[str] | None = None) -> Read:
    """Read a table of finite numbers.

    Args:
        path: a .csv file in UTF-8, fields separated by commas, semicolons or tabs, with or without names in its first
            row; a .parquet file; or a .npy file, [N] or [N, D], which is mapped and not read.
        target: a column of classes; of a .csv file they are text, but where all are whole numbers, or True and False.
            A column without a name is called by its place, "0" the first.
        columns: the columns to read, in this order; None is all.

    Raises:
        OSError: the file cannot be read.
        ValueError: it holds no row, a missing value, a whole number that no float64 holds, or something other than
            finite numbers; names file, place and value.
        ImportError: what reads it is not installed.
    """
    path = Path(path)
    if format_of(path) == ".csv":
        return _read_csv(path, target, _with_target(columns, target))
    parts = parts_of(path, target, columns, rows=None)
    return Read(*next(parts.read()), parts.columns)


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
    path = Path(path)
    open_parts = _npy_parts if format_of(path) == ".npy" else _parquet_parts
    return open_parts(path, target, _with_target(columns, target), rows)


def names_of(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """Return the names of all columns of a file, or "0", "1" and so on."""
    if format_of(path) == ".csv":
        return csv_files.look_at(Path(path)).columns
    if format_of(path) == ".npy":
        return tuple(map(str, range(_map_npy(Path(path)).shape[1])))
    return tuple(_open_parquet(Path(path)).schema_arrow.names)


def is_large(path: str | os.PathLike[str], target: str | None = None, columns: Sequence[str] | None = None) -> bool:
    """Return whether a table would take more memory than LARGE numbers do, and can be read in parts."""
    if format_of(path) == ".csv":
        return False
    parts = parts_of(path, target, columns)
    return parts.rows * len(parts.columns.names) > LARGE


def write(path: str | os.PathLike[str], table: Any) -> None:
    """Write an array [N, D] or a DataFrame, whole or not at all; `read` gives it back.

    Columns that are called 0, 1 and so on get no names in a .csv file. A .npy file has no names, and one dtype for all
    columns.

    Raises:
        OSError: the file cannot be written.
        ValueError: see check_holds.
        ImportError: what writes it is not installed.
    """
    suffix = check_holds(path, table)
    if suffix == ".npy":
        with atomic_path(path) as temporary, open(temporary, "wb") as file:
            np.save(file, _as_array(table))
        return
    import pandas as pd

    frame = table if hasattr(table, "iloc") else pd.DataFrame(_native(np.asarray(table)))
    frame = frame.set_axis(list(map(str, frame.columns)), axis=1)
    with atomic_path(path) as temporary:
        if suffix == ".csv":
            _write_csv(frame, temporary, path)
        else:
            frame.to_parquet(temporary, index=False)


def _write_csv(frame: Any, temporary: Path, path: str | os.PathLike[str]) -> None:
    """Write a file whose first row is read as what it is; columns that are called by their place need no names."""
    names = list(frame.columns)
    text = [value for column in frame if frame[column].dtype.kind == "O" for value in map(str, frame[column])]
    plain = not any(set(PLAIN) & set(value) or value != value.strip() for value in (*names, *text))
    quoting = csv.QUOTE_MINIMAL if plain else csv.QUOTE_NONNUMERIC
    for header in (False, True) if _are_places(names) else (True,):
        frame.to_csv(temporary, index=False, header=header, quoting=quoting)
        with suppress(ValueError):
            layout = csv_files.look_at(temporary)
            if list(layout.columns) == names and bool(layout.skip) == header:
                return
    raise ValueError(f"{path}: the names of columns ({names[0]}, ...) look like a row of numbers: take .parquet")


def check_holds(path: str | os.PathLike[str], table: Any) -> str:
    """Return the format of a file that can hold a table.

    Raises:
        ValueError: it cannot: a .npy file has no text, and a .csv file no names that all are numbers.
    """
    suffix = format_of(path)
    if suffix == ".npy" and _as_array(table).dtype.kind not in "fiub":
        raise ValueError(f"{path}: a .npy file holds numbers alone, and the table has text: take .csv or .parquet")
    names = list(map(str, table.columns)) if hasattr(table, "columns") else []
    if suffix == ".csv" and names and not _are_places(names) and all(map(csv_files.NUMBER.fullmatch, names)):
        raise ValueError(f"{path}: the names of columns ({names[0]}, ...) look like a row of numbers: take .parquet")
    return suffix


def described(path: str | os.PathLike[str], rows: int, columns: Columns) -> str:
    """Return what was read, "points.csv: 150 rows, 4 columns (length, width, ...)"."""
    names = columns.names
    named = any(isinstance(name, str) for name in names)
    shown = ", ".join(" ".join(str(name).split()) for name in names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
    plural = "" if len(names) == 1 else "s"
    return f"{path}: {rows} rows, {len(names)} column{plural} ({shown if named else 'without names'})"


def _with_target(columns: Sequence[str] | None, target: str | None) -> list[str] | None:
    if columns is None:
        return None
    return list(dict.fromkeys((*columns, *(() if target is None else (target,)))))


def _columns(wanted: Sequence[str], target: str | None, named: bool) -> Columns:
    """Return what was chosen; without names they are counted anew."""
    if len(wanted) == 1 and target is not None:
        raise ValueError(f"a table must have a column beside the target; got {target!r} alone")
    names = tuple(wanted) if named else tuple(range(len(wanted)))
    return Columns(names, None if target is None else wanted.index(target))


def _at_once(rows: int, columns: Sequence[str]) -> int:
    """How many rows make a part."""
    return max(1, min(rows, NUMBERS // len(columns)))


def _are_places(names: Sequence[str]) -> bool:
    return list(names) == list(map(str, range(len(names))))


def _as_array(table: Any) -> Any:
    """A table as an array, of a dtype that holds all of its columns."""
    if not hasattr(table, "iloc"):
        return np.asarray(table)
    kinds = {dtype.kind for dtype in table.dtypes}
    if not kinds <= set("fiub"):
        return table.to_numpy(dtype=object)
    return table.to_numpy(np.result_type(*(np.dtype(str(dtype).lower()) for dtype in table.dtypes)))


def _native(array: Any) -> Any:
    """The same in the order of bytes of this machine."""
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _taken_apart(frame: Any, columns: Columns) -> tuple[Any, Any]:
    """Return x and y of a DataFrame of all columns."""
    frame.columns = list(columns.names)
    if columns.target is None:
        return frame, None
    name = columns.names[columns.target]
    return frame.drop(columns=name), frame[name].to_numpy()


# ---- CSV


def _read_csv(path: Path, target: str | None, only: Sequence[str] | None) -> Read:
    layout = csv_files.look_at(path)
    frame = csv_files.read(path, target, only).to_pandas()
    columns = _columns(list(only or layout.columns), target, layout.names is not None)
    x, y = _taken_apart(frame, columns)
    if found := _wrong_number(x):
        row, name, said = found
        raise ValueError(f"{csv_files.place_of(path, row)}, column {str(name)!r}: {said}")
    return Read(x, y if y is None else _classes(path, target, y), columns)


def _classes(path: Path, target: str | None, text: Any) -> Any:
    """Classes that were read as text: numbers or booleans where these are written just so."""
    different = np.unique(text)
    if set(different) <= {"True", "False"}:
        return text == "True"
    if all(csv_files.NUMBER.fullmatch(value) for value in different):
        try:
            numbers = [int(value) for value in different]
        except ValueError:
            if bad := [value for value in different if float(value) % 1 != 0]:  # NaN and infinity too
                raise ValueError(
                    f"{path}, column {target!r}: {bad[0]} is not a whole number; a target must hold classes"
                ) from None
            return text
        if all(str(number) == value and abs(number) < 2**63 for number, value in zip(numbers, different, strict=True)):
            return text.astype(np.int64)
    return text


def _wrong_number(x: Any) -> tuple[int, Any, str] | None:
    """Row, column and what is wrong of the first number that is not finite, or whole and beyond what float64 holds."""
    frame = hasattr(x, "iloc")
    for i in range(x.shape[1]):
        values = x.iloc[:, i].to_numpy() if frame else x[:, i]
        name = x.columns[i] if frame else i
        if values.dtype.kind == "f":
            wrong, said = ~np.isfinite(values), "is not a finite number"
        elif values.dtype.itemsize == 8:
            wrong = (values > csv_files.WHOLE) | (values < -csv_files.WHOLE)
            said = "has more digits than a float64: leave its column out, or name it as the target"
        else:
            continue
        if wrong.any():
            row = int(np.argmax(wrong))
            return row, name, f"{values[row]} {said}"
    return None


# ---- Parquet


def _open_parquet(path: Path) -> Any:
    import pyarrow
    from pyarrow import parquet

    if path.is_dir():
        raise IsADirectoryError(f"{path}: is a folder, not a file")
    try:
        return parquet.ParquetFile(path, memory_map=True)
    except (pyarrow.ArrowException, OSError) as error:
        if isinstance(error, FileNotFoundError | PermissionError):
            raise
        raise ValueError(f"{path}: is not a whole Parquet file ({error})") from error


def _parquet_parts(path: Path, target: str | None, only: Sequence[str] | None, rows: int | None) -> Parts:
    import pyarrow

    file, types = _open_parquet(path), pyarrow.types
    names, count = file.schema_arrow.names, file.metadata.num_rows
    if len(set(names)) < len(names):
        twice = next(name for i, name in enumerate(names) if name in names[:i])
        raise ValueError(f"{path}: two columns have the name {twice!r}")
    csv_files.check_names(path, [*(only or ()), *(() if target is None else (target,))], names)
    if count == 0:
        raise ValueError(f"{path}: has no rows")
    wanted = list(only or (name for name in names if not name.startswith("__index_level_")))  # pandas's, without a name
    for name in wanted:
        kind = file.schema_arrow.field(name).type
        if name != target and not (types.is_floating(kind) or types.is_integer(kind) or types.is_boolean(kind)):
            raise ValueError(
                f"{path}: column {name!r} holds {kind}, not numbers: leave it out, or name it as the target"
            )
    columns = _columns(wanted, target, not _are_places(wanted))

    def read() -> Iterator[tuple[Any, Any]]:
        first = 0
        try:
            tables = [file.read(wanted)] if rows is None else file.iter_batches(_at_once(rows, wanted), columns=wanted)
            for table in tables:
                yield _checked_parquet(path, table.select(wanted), columns, first)
                first += table.num_rows
        except (pyarrow.ArrowException, OSError) as error:
            raise ValueError(f"{path}: is not a whole Parquet file ({error})") from error

    return Parts(count, columns, read)


def _checked_parquet(path: Path, table: Any, columns: Columns, first: int) -> tuple[Any, Any]:
    """x and y of rows `first` and on, all numbers finite and none missing."""
    import pyarrow

    for name in table.schema.names:
        if table[name].null_count:
            at = first + pyarrow.array(table[name].is_null()).to_numpy(zero_copy_only=False).argmax()
            place = f"{path}, row {at} (from 0), column {name!r}"
            raise ValueError(f"{place}: is missing: leave the row out, or fill it in")
    frame = pyarrow.table({name: table[name] for name in table.schema.names}).to_pandas(ignore_metadata=True)
    x, y = _taken_apart(frame, columns)
    if found := _wrong_number(x):
        row, name, said = found
        raise ValueError(f"{path}, row {first + row} (from 0), column {str(name)!r}: {said}")
    return x, y


# ---- .npy


def _map_npy(path: Path) -> Any:
    """The array of a file, [N, D]."""
    try:
        # a memory map refuses pickles, and finds a file shorter than its header claims before memory is taken
        stored = np.lib.format.open_memmap(path, mode="r")
    except (ValueError, SyntaxError, tokenize.TokenError) as error:  # of a damaged header
        raise ValueError(f"{path}: is not a readable .npy file of numbers ({error})") from error
    if stored.dtype.kind not in "fiub" or stored.dtype.itemsize > 8:
        raise ValueError(f"{path}: holds {stored.dtype}, not numbers of at most 8 bytes")
    if stored.ndim not in (1, 2):
        raise ValueError(f"{path}: has shape {list(stored.shape)}, but tables are [N] or [N, D]")
    if stored.size == 0:
        raise ValueError(f"{path}: has no rows, its shape is {list(stored.shape)}")
    return stored.reshape(len(stored), -1)


def _npy_parts(path: Path, target: str | None, only: Sequence[str] | None, rows: int | None) -> Parts:
    array = _map_npy(path)
    places = list(map(str, range(array.shape[1])))
    csv_files.check_names(path, [*(only or ()), *(() if target is None else (target,))], places)
    wanted = list(only or places)
    columns = _columns(wanted, target, False)
    of_x = [int(name) for name in wanted if name != target]

    def read() -> Iterator[tuple[Any, Any]]:
        step = len(array) if rows is None else _at_once(rows, wanted)
        for start in range(0, len(array), step):
            part = array[start : start + step]
            x = part if of_x == list(range(array.shape[1])) else part[:, of_x]
            for at in range(0, len(x), ROWS):
                if found := _wrong_number(x[at : at + ROWS]):
                    row, column, said = found
                    place = f"{path}, row {start + at + row}, column {of_x[column]} (from 0)"
                    raise ValueError(f"{place}: {said}")
            yield x, None if target is None else np.asarray(part[:, int(target)])

    return Parts(len(array), columns, read)
