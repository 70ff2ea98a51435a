"""Read CSV files with pyarrow."""

import itertools
import mmap
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ddpm.table_files.columns import WHOLE, Read, check_names, columns_of, take_apart, wrong_number
from ddpm.table_files.csv_faults import check_quotes, diagnose, no_class, no_number, too_long
from ddpm.table_files.csv_layout import NUMBER, UNNAMED, Layout, look_at, records

if TYPE_CHECKING:
    import pyarrow

BLOCK = 2**20  # bytes that pyarrow reads at a time


def read_csv(path: Path, target: str | None, only: Sequence[str] | None) -> Read:
    """Read a file whose columns are numbers, except the target, which is text.

    Args:
        path: a file in UTF-8, fields separated by commas, semicolons or tabs, with or without names in its first row.
        target: a column of classes.
        only: the columns to read, in this order; None is all.

    Raises:
        OSError: the file cannot be read.
        ValueError: the file has no rows, or a field is not a finite number. The message has line and column.
    """
    layout = look_at(path)
    check_names(path, [*(only or ()), *(() if target is None else (target,))], layout.columns)
    if only is None and (places := [i for i, name in enumerate(layout.names or ()) if name.startswith(UNNAMED)]):
        place = f"{path}, line {layout.skip}, column {places[0] + 1}"
        raise ValueError(f"{place}: has no name: give it one, or choose the other columns")
    columns = columns_of(list(only or layout.columns), target, layout.names is not None)
    quoted = _holds(path, b'"')
    table = _parsed(path, layout, target, list(only or layout.columns), quoted)
    if quoted:
        check_quotes(path, layout)
    _check(path, layout, target, table)
    x, y = take_apart(table.to_pandas(), columns)
    if found := wrong_number(x):
        row, name, said = found
        line, _ = next(itertools.islice(records(path, layout), row, None))
        raise ValueError(f"{path}, line {line}, column {str(name)!r}: {said}")
    return Read(x, y if y is None else _classes(path, target, y), columns)


def _check(path: Path, layout: Layout, target: str | None, table: "pyarrow.Table") -> None:
    """Raise ValueError if pyarrow read something that is not a number, or a number that is not in the file."""
    from pyarrow import types

    if table.num_rows == 0:
        raise ValueError(f"{path}: has no rows" + (", only the names of columns" if layout.skip else ""))
    kinds = {name: table.schema.field(name).type for name in table.schema.names if name != target}
    for name, kind in kinds.items():
        number = types.is_floating(kind) or types.is_integer(kind) or types.is_boolean(kind)
        if table[name].null_count or not number:
            diagnose(path, layout, [name], no_number)
            raise ValueError(f"{path}: column {name!r} holds {kind}, not numbers")
    if target is not None and _any_empty(table[target]):
        diagnose(path, layout, [target], no_class)
    integers = [name for name, kind in kinds.items() if types.is_integer(kind)]
    if integers and _holds(path, b"0x", b"0X"):  # pyarrow reads hexadecimal numbers
        diagnose(path, layout, integers, no_number)
    if whole := [name for name, kind in kinds.items() if types.is_floating(kind) and _all_whole(table[name])]:
        diagnose(path, layout, whole, too_long)


def _parsed(path: Path, layout: Layout, target: str | None, wanted: list[str], quoted: bool) -> "pyarrow.Table":
    import pyarrow
    from pyarrow import csv as arrow

    types = {} if target is None else {target: pyarrow.string()}
    # pyarrow guesses types from the first block: whole numbers there may be followed by other numbers
    wider = {"int64": pyarrow.float64(), "null": pyarrow.float64()}
    with open(path, "rb") as file:
        longest = max(map(len, itertools.islice(file, layout.skip + 1)))
    while True:
        try:
            return arrow.read_csv(
                path,
                arrow.ReadOptions(
                    column_names=layout.columns, skip_rows=layout.skip, block_size=max(BLOCK, 4 * longest)
                ),
                arrow.ParseOptions(delimiter=layout.separator, newlines_in_values=quoted),
                arrow.ConvertOptions(column_types=types, include_columns=wanted),
            )
        except pyarrow.ArrowInvalid as error:
            column = re.match(r"In CSV column #(\d+).*conversion error to (\w+)", str(error))
            if column is None or column[2] not in wider:
                diagnose(path, layout, [name for name in wanted if name != target], no_number)
                raise ValueError(f"{path}: {error}") from error
            types[layout.columns[int(column[1])]] = wider[column[2]]


def _classes(path: Path, target: str | None, text: Any) -> Any:
    """Return classes as integers or booleans if their text is exactly that of integers or booleans, else as text."""
    different = np.unique(text)
    if set(different) <= {"True", "False"}:
        return text == "True"
    if all(NUMBER.fullmatch(value) for value in different):
        try:
            numbers = [int(value) for value in different]
        except ValueError:
            if bad := [value for value in different if float(value) % 1 != 0]:  # also true for NaN and infinity
                raise ValueError(
                    f"{path}, column {target!r}: {bad[0]} is not a whole number; a target must hold classes"
                ) from None
            return text
        if all(str(number) == value and abs(number) < 2**63 for number, value in zip(numbers, different, strict=True)):
            return text.astype(np.int64)
    return text


def _any_empty(column: "pyarrow.ChunkedArray") -> bool:
    from pyarrow import compute

    return column.null_count > 0 or bool(compute.any(compute.equal(compute.utf8_trim_whitespace(column), "")).as_py())


def _all_whole(column: "pyarrow.ChunkedArray") -> bool:
    """Return whether all numbers of a column are whole, and some have an absolute value above WHOLE."""
    from pyarrow import compute

    ends = compute.min_max(column)
    if ends["min"].as_py() >= -WHOLE and ends["max"].as_py() <= WHOLE:
        return False
    x = column.to_numpy()
    return bool((x == x.round()).all())


def _holds(path: Path, *parts: bytes) -> bool:
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return any(content.find(part) >= 0 for part in parts)
