"""CSV files, read by pyarrow; where it fails, which line and column are wrong, and what to do about it."""

import csv
import functools
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import pyarrow

SEPARATORS = ",;\t"

# what a field that is not a number looks like, and what its owner might do
HINTS = (
    (r"[-+]?\d{1,3}(,\d{3})+(\.\d*)?", "write thousands without separators"),
    (r"[-+]?\d*,\d+(e[-+]?\d+)?", "write a decimal point, not a comma"),
    (r"[-+]?\d{1,3}([ '.\u00a0\u202f]\d{3})+([.,]\d*)?", "write thousands without separators"),
    (r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}.*", "write a date as a number, of days for example"),
    (r"\d{1,2}:\d{2}.*", "write a time as a number, of seconds for example"),
    (r"[-+]?[\d.]+\s*[%€$£]|[€$£]\s*[\d.]+", "write the number alone"),
)
NUMBER = re.compile(r"\s*[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?\s*|\s*[-+]?(inf(inity)?|nan)\s*", re.IGNORECASE | re.ASCII)


class Layout(NamedTuple):
    """How a file is written.

    Attributes:
        separator: of its fields.
        names: of its columns; None where its first row is one of numbers.
        width: how many columns.
        skip: lines up to that of the names.
    """

    separator: str
    names: tuple[str, ...] | None
    width: int
    skip: int = 0


def read(path: Path, text: Sequence[str] = (), only: Sequence[str] | None = None) -> "pyarrow.Table":
    """Read a file whose columns are numbers; named "0", "1" and so on where its first row holds numbers.

    Args:
        path: a file in UTF-8, fields separated by commas, semicolons or tabs, perhaps a row of names above.
        text: columns that may hold text, too.
        only: the columns to read, in this order; None is all.

    Raises:
        OSError: the file cannot be read.
        ValueError: it holds no row, or something other than a finite number; names line and column.
    """
    import pyarrow
    from pyarrow import csv as arrow

    layout = look_at(path)
    names = layout.names or tuple(map(str, range(layout.width)))
    check_names(path, [*(only or ()), *text], names)
    wanted = list(only or names)
    types: dict[str, pyarrow.DataType] = {}
    while True:
        try:
            table = arrow.read_csv(
                path,
                arrow.ReadOptions(column_names=names, skip_rows=layout.skip),
                arrow.ParseOptions(delimiter=layout.separator),
                arrow.ConvertOptions(column_types=types, include_columns=wanted, strings_can_be_null=True),
            )
            break
        except pyarrow.ArrowInvalid as error:
            # types are guessed from the first megabyte: a whole number there may be any number further on
            column = re.match(r"In CSV column #(\d+).*conversion error to (\w+)", str(error))
            wider = {"int64": pyarrow.float64(), "null": pyarrow.float64(), "bool": pyarrow.string()}
            guessed = column and (wider.get(column[2]) or (names[int(column[1])] in text and pyarrow.string()))
            if not column or not guessed or types.get(names[int(column[1])]) == guessed:
                _diagnose(path, layout, [name for name in wanted if name not in text])
                raise ValueError(f"{path}: {error}") from error
            types[names[int(column[1])]] = guessed
    if table.num_rows == 0:
        raise ValueError(f"{path}: has no rows" + (", but names of columns" if layout.names else ""))
    numbers = (pyarrow.types.is_floating, pyarrow.types.is_integer, pyarrow.types.is_boolean)
    for name in wanted:
        kind = table.schema.field(name).type
        if table[name].null_count or not (name in text or any(is_one(kind) for is_one in numbers)):
            _diagnose(path, layout, [name], missing=True, text=name in text)
            raise ValueError(f"{path}: column {name!r} holds {kind}, not numbers")
    return table


def place_of(path: Path, row: int) -> str:
    """Return where a row of the table, counted from 0, stands in the file."""
    layout = look_at(path)
    for at, (line, _) in enumerate(_records(path, layout), start=-(layout.names is not None)):
        if at == row:
            return f"{path}, line {line}"
    return f"{path}, row {row}"


def look_at(path: Path) -> Layout:
    """Return how a file is written, from its first row that is not empty.

    Raises:
        ValueError: there is none, or it does not name every column once.
    """
    with open(path, newline="", encoding="utf-8-sig") as file:
        try:
            first = next((line for line in file if line.strip()), "")
        except UnicodeDecodeError as error:
            raise _not_utf8(path) from error
    if not first:
        raise ValueError(f"{path}: is empty")
    # of semicolons and commas, the commas may be those of decimals
    separator = next((s for s in ";\t," if s in first), ",")
    line, fields = next(iter(_records(path, Layout(separator, None, 0))))
    place = f"{path}, line {line}"
    if any(NUMBER.fullmatch(field) and not _is_missing(field) for field in fields):
        return Layout(separator, None, len(fields))
    if all(_is_missing(field) for field in fields):
        raise ValueError(f"{place}: {fields[0]!r} is a missing number, or looks like one: take another name")
    names = [field.strip() for field in fields]
    for column, name in enumerate(names):
        if not name:
            raise ValueError(f"{place}, column {column + 1}: has no name")
        if name in names[:column]:
            raise ValueError(f"{place}: two columns have the name {name!r}")
    return Layout(separator, tuple(names), len(names), line)


def check_names(path: Path, wanted: Sequence[str], names: Sequence[str]) -> None:
    """Raise ValueError unless all that is wanted is one of the names of columns."""
    for name in wanted:
        if name not in names:
            there = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
            raise ValueError(f"{path}: has no column {name!r}; its columns are {there}")


def _records(path: Path, layout: Layout) -> Iterator[tuple[int, list[str]]]:
    """The line and the fields of every row that is not empty, that of names too."""
    with open(path, newline="", encoding="utf-8-sig") as file:
        reader = csv.reader(file, delimiter=layout.separator)
        try:
            for fields in reader:
                if fields:
                    yield reader.line_num, fields
        except UnicodeDecodeError as error:
            raise _not_utf8(path) from error
        except csv.Error as error:
            raise ValueError(f"{path}, line {reader.line_num}: {error}") from error


def _diagnose(path: Path, layout: Layout, columns: list[str], missing: bool = False, text: bool = False) -> None:
    """Raise at the first row that has another width, or at the first field of some columns that is not a number."""
    names = list(layout.names or map(str, range(layout.width)))
    wanted = [(names.index(name), name) for name in columns]
    for at, (line, fields) in enumerate(_records(path, layout)):
        if len(fields) != layout.width:
            raise ValueError(
                f"{path}, line {line}: has {len(fields)} fields, but the first row {layout.width}"
                + (": is a comma that of a decimal?" if layout.separator == "," and layout.width < len(fields) else "")
            )
        if at == 0 and layout.names:
            continue
        for i, name in wanted:
            place = f"{path}, line {line}, column {name!r}"
            if missing and _is_missing(fields[i]):
                said = f"{fields[i]!r} is" if fields[i] else "is"
                raise ValueError(f"{place}: {said} missing: leave the row out, or fill it in")
            if not (text or NUMBER.fullmatch(fields[i]) or _is_missing(fields[i])):
                raise ValueError(f"{place}: {fields[i]!r} is not a number{_hint(fields[i])}")


def _hint(field: str) -> str:
    found = next((hint for form, hint in HINTS if re.fullmatch(form, field.strip(), re.ASCII)), None)
    if found is None and any(c.isdigit() and not c.isascii() for c in field):
        found = "write it with the digits 0 to 9"
    return f": {found or 'leave its column out, or name it as the target'}"


def _is_missing(field: str) -> bool:
    return field.strip() in _missing()


@functools.cache
def _missing() -> frozenset[str]:
    from pyarrow import csv as arrow

    return frozenset(arrow.ConvertOptions().null_values)


def _not_utf8(path: Path) -> ValueError:
    content = path.read_bytes()
    try:
        content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        return ValueError(f"{path}, line {line}: is not text in UTF-8: save the file as UTF-8")
    return ValueError(f"{path}: is not text in UTF-8: save the file as UTF-8")
