"""CSV files, read by pyarrow; where it fails, which line and column are wrong, and what to do about it."""

import csv
import functools
import itertools
import mmap
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import pyarrow

SEPARATORS = ";\t,"  # where several are possible, the first: commas may be those of decimals
UNNAMED = "Unnamed: "  # pandas's name for a column without one, with its place
LOOKED_AT = 1000  # rows that show whether the first is one of names
BLOCK = 2**20  # bytes that pyarrow reads at a time

# what a field that is not a number looks like, and what its owner might do
HINTS = (
    (r"[-+]?\d{1,3}(,\d{3})+(\.\d*)?", "write thousands without separators"),
    (r"[-+]?\d*,\d+(e[-+]?\d+)?", "write a decimal point, not a comma"),
    (r"[-+]?\d{1,3}([ '.\u00a0\u202f]\d{3})+([.,]\d*)?", "write thousands without separators"),
    (r"[-+]?\d+(_\d+)+(\.\d*)?", "write it without underscores"),
    (r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}([ T].*)?", "write a date as a number, of days for example"),
    (r"\d{1,2}:\d{2}(:\d{2}.*)?", "write a time as a number, of seconds for example"),
    (r"[-+]?[\d.]+\s*[%€$£]|[€$£]\s*[\d.]+", "write the number alone"),
    (r"[-+]?0[xX][0-9a-fA-F]+", "write it in decimal"),
)
NUMBER = re.compile(r"\s*[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?\s*|\s*[-+]?(inf(inity)?|nan)\s*", re.IGNORECASE | re.ASCII)
DATE = re.compile(r"\d{1,4}[-/.]\d{1,2}([-/.]\d{1,4})?([ T].*)?|\d{1,2}:\d{2}(:\d{2}.*)?", re.ASCII)
LONG = re.compile(r"\s*[-+]?\d{16,}\s*", re.ASCII)  # a whole number that a float64 may not hold
WHOLE = 2**53  # up to this, it holds every one


class Layout(NamedTuple):
    """How a file is written.

    Attributes:
        separator: of its fields.
        names: of its columns; None where it has none.
        width: how many columns.
        skip: lines before the first row of numbers.
    """

    separator: str
    names: tuple[str, ...] | None
    width: int
    skip: int = 0

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns, or "0", "1" and so on."""
        return self.names or tuple(map(str, range(self.width)))


def read(path: Path, target: str | None = None, only: Sequence[str] | None = None) -> "pyarrow.Table":
    """Read a file whose columns are numbers, but for the target, which is text.

    Args:
        path: a file in UTF-8, fields separated by commas, semicolons or tabs, perhaps a row of names above.
        target: a column of classes.
        only: the columns to read, in this order; None is all.

    Raises:
        OSError: the file cannot be read.
        ValueError: it holds no row, or something other than a finite number; names line and column.
    """
    from pyarrow import types

    layout = look_at(path)
    check_names(path, [*(only or ()), *(() if target is None else (target,))], layout.columns)
    wanted = list(only or layout.columns)
    if only is None and layout.names and any(name.startswith(UNNAMED) for name in layout.names):
        place = next(i for i, name in enumerate(layout.names) if name.startswith(UNNAMED))
        raise ValueError(
            f"{path}, line {layout.skip}, column {place + 1}: has no name: give it one, or choose the other columns"
        )
    if _holds(path, b'"'):
        _check_quotes(path, layout)
    numbers = [name for name in wanted if name != target]
    table = _parsed(path, layout, target, wanted)
    if table.num_rows == 0:
        raise ValueError(f"{path}: has no rows" + (", but names of columns" if layout.skip else ""))
    for name in wanted:
        kind = table.schema.field(name).type
        number = types.is_floating(kind) or types.is_integer(kind) or types.is_boolean(kind)
        if table[name].null_count or not (number or name == target):
            _diagnose(path, layout, [name], _no_number)
            raise ValueError(f"{path}: column {name!r} holds {kind}, not numbers")
    if target is not None:
        _diagnose_where(_any_empty(table[target]), path, layout, [target], _no_class)
    integers = [name for name in numbers if types.is_integer(table.schema.field(name).type)]
    _diagnose_where(bool(integers) and _holds(path, b"0x", b"0X"), path, layout, integers, _no_number)
    whole = [name for name in numbers if types.is_floating(table.schema.field(name).type) and _all_whole(table[name])]
    _diagnose_where(bool(whole), path, layout, whole, _too_long)
    return table


def _parsed(path: Path, layout: Layout, target: str | None, wanted: list[str]) -> "pyarrow.Table":
    import pyarrow
    from pyarrow import csv as arrow

    types = {} if target is None else {target: pyarrow.string()}
    # types are guessed from the first block: a whole number there may be any number further on
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
                arrow.ParseOptions(delimiter=layout.separator, newlines_in_values=_holds(path, b'"')),
                arrow.ConvertOptions(column_types=types, include_columns=wanted),
            )
        except pyarrow.ArrowInvalid as error:
            column = re.match(r"In CSV column #(\d+).*conversion error to (\w+)", str(error))
            if column is None or column[2] not in wider:
                _diagnose(path, layout, [name for name in wanted if name != target], _no_number)
                raise ValueError(f"{path}: {error}") from error
            types[layout.columns[int(column[1])]] = wider[column[2]]


def place_of(path: Path, row: int) -> str:
    """Return where a row of the table, counted from 0, stands in the file."""
    line, _ = next(itertools.islice(_records(path, look_at(path)), row, None), (row, []))
    return f"{path}, line {line}"


def look_at(path: Path) -> Layout:
    """Return how a file is written, from its first rows.

    The first row is one of names

    - where none of its fields is a number, or looks like one, or one is empty;
    - where some are whole numbers, all different, and the others are not all found again below, as classes are;
    - where all are numbers, but a column below is text; or all are dates, and the rest are numbers;
    - where they are 0, 1, 2 and so on, which pandas writes for columns without names, and hardly by chance.

    Raises:
        ValueError: the file is empty, or its row of names does not name every column once.
    """
    layouts = [Layout(separator, None, 0) for separator in SEPARATORS]
    firsts = [list(itertools.islice(_records(path, layout), LOOKED_AT)) for layout in layouts]
    if not firsts[0]:
        raise ValueError(f"{path}: is empty")
    even = (i for i, rows in enumerate(firsts) if 1 < len(rows[0][1]) == len(rows[min(1, len(rows) - 1)][1]))
    chosen = next(even, SEPARATORS.index(","))
    (line, first), *rest = firsts[chosen]
    separator, width, below = SEPARATORS[chosen], len(first), [row for _, row in rest]
    if all(_is_missing(field) for field in first) and (width == 1 or not any(first)):
        raise ValueError(f"{path}, line {line}: {first[0]!r} is missing, or looks so: take another name")
    if first == list(map(str, range(width))) and (width > 2 or _has_text(below) or _are_fractions(below)):
        return Layout(separator, None, width, line)
    if not _are_names(first, below):
        return Layout(separator, None, width)
    names = tuple(field.strip() or f"{UNNAMED}{i}" for i, field in enumerate(first))
    if len(set(names)) < width:
        twice = next(name for i, name in enumerate(names) if name in names[:i])
        raise ValueError(f"{path}, line {line}: two columns have the name {twice!r}")
    return Layout(separator, names, width, line)


def _are_names(first: list[str], below: list[list[str]]) -> bool:
    values = [field for field in first if _is_value(field)]
    others = [i for i, field in enumerate(first) if not (_is_value(field) or _is_missing(field))]
    if not values or not all(field.strip() for field in first):
        return True
    if not others:
        dates = len(first) > 1 and all(DATE.fullmatch(field.strip()) for field in first)
        return _has_text(below) or (dates and bool(below) and all(NUMBER.fullmatch(x) for row in below for x in row))
    if not all(re.fullmatch(r"\s*\d+\s*", field, re.ASCII) for field in values) or len(set(values)) < len(values):
        return False
    return not all(any(first[i] in row[i : i + 1] for row in below) for i in others)


def _has_text(below: list[list[str]]) -> bool:
    """Whether no field of a column is a number, or looks like one."""
    columns = zip(*below, strict=False)
    return any(not any(_is_value(field) or _is_missing(field) for field in column) for column in columns)


def _are_fractions(below: list[list[str]]) -> bool:
    return len(below) > 1 and all(set(".eE") & set(field) for row in below for field in row)


def check_names(path: Path, wanted: Sequence[str], names: Sequence[str]) -> None:
    """Raise ValueError unless all that is wanted is one of the names of columns."""
    for name in wanted:
        if name not in names:
            there = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
            raise ValueError(f"{path}: has no column {name!r}; its columns are {there}")


def _records(path: Path, layout: Layout) -> Iterator[tuple[int, list[str]]]:
    """The line and the fields of every row that is not empty, without those that are skipped."""
    with open(path, newline="", encoding="utf-8-sig") as file:
        csv.field_size_limit(2**31 - 1)  # of a file with another separator, a line is one field
        reader = csv.reader(file, delimiter=layout.separator)
        try:
            for fields in reader:
                if fields and reader.line_num > layout.skip:
                    yield reader.line_num, fields
        except UnicodeDecodeError as error:
            raise _not_utf8(path) from error
        except csv.Error as error:
            raise ValueError(f"{path}, line {reader.line_num}: {error}") from error


# ---- what is wrong with a field; None where nothing is

Wrong = Callable[[str], str | None]


def _no_number(field: str) -> str | None:
    if _is_missing(field):
        return f"{field!r} is missing: leave the row out, or fill it in" if field else _no_class(field)
    if NUMBER.fullmatch(field):
        return None
    hint = _hint(field) or "leave its column out, or name it as the target"
    return f"{field!r} is not a number: {hint}"


def _no_class(field: str) -> str | None:
    return None if field.strip() else "is missing: leave the row out, or fill it in"


def _too_long(field: str) -> str | None:
    if LONG.fullmatch(field) and abs(int(field)) > WHOLE:
        return f"{field!r} has more digits than a float64: leave its column out, or name it as the target"
    return None


def _diagnose_where(doubtful: bool, path: Path, layout: Layout, columns: list[str], wrong: Wrong) -> None:
    if doubtful:
        _diagnose(path, layout, columns, wrong)


def _diagnose(path: Path, layout: Layout, columns: list[str], wrong: Wrong) -> None:
    """Raise at the first row of another width than the first, or at the first field of some columns that is wrong."""
    places = [(layout.columns.index(name), name) for name in columns]
    truths: tuple[int, str, str] | None = None
    for line, fields in _records(path, layout):
        if len(fields) != layout.width:
            comma = layout.separator == "," and layout.width < len(fields)
            hint = ": is a comma that of a decimal?" if comma else ""
            raise ValueError(f"{path}, line {line}: has {len(fields)} fields, but the first row {layout.width}{hint}")
        for i, name in places:
            if fields[i].strip().lower() in ("true", "false"):
                truths = truths or (line, name, fields[i])
            elif said := wrong(fields[i]):
                raise ValueError(f"{path}, line {line}, column {name!r}: {said}")
    if truths and wrong is _no_number:  # among numbers: alone they are a column of booleans
        line, name, field = truths
        raise ValueError(f"{path}, line {line}, column {name!r}: {field!r} is not a number: write 1 or 0")


def _hint(field: str) -> str | None:
    found = next((hint for form, hint in HINTS if re.fullmatch(form, field.strip(), re.ASCII)), None)
    if found is None and any(c.isdigit() and not c.isascii() for c in field):
        return "write it with the digits 0 to 9"
    return found


def _is_value(field: str) -> bool:
    """Whether a field is a number, or looks like one."""
    missing = _is_missing(field)
    return not missing and bool(NUMBER.fullmatch(field) or _hint(field) or field.strip().lower() in ("true", "false"))


def _is_missing(field: str) -> bool:
    return field.strip() in _missing()


@functools.cache
def _missing() -> frozenset[str]:
    from pyarrow import csv as arrow

    return frozenset(arrow.ConvertOptions().null_values)


def _any_empty(column: "pyarrow.ChunkedArray") -> bool:
    from pyarrow import compute

    return column.null_count > 0 or bool(compute.any(compute.equal(compute.utf8_trim_whitespace(column), "")).as_py())


def _all_whole(column: "pyarrow.ChunkedArray") -> bool:
    """Whether the numbers of a column are whole, and some are beyond those that a float64 holds."""
    from pyarrow import compute

    ends = compute.min_max(column)
    if ends["min"].as_py() >= -WHOLE and ends["max"].as_py() <= WHOLE:
        return False
    x = column.to_numpy()
    return bool((x == x.round()).all())


def _holds(path: Path, *parts: bytes) -> bool:
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return any(content.find(part) >= 0 for part in parts)


def _check_quotes(path: Path, layout: Layout) -> None:
    """Raise where a quotation mark is not closed: what follows would be one field."""
    with open(path, "rb") as file:
        count = sum(part.count(b'"') for part in iter(lambda: file.read(2**24), b""))
    if count % 2 == 0:
        return
    last, before = 0, 0
    for line, _ in _records(path, layout):
        last, before = line, last
    raise ValueError(f"{path}, line {before + 1}: has a quotation mark that is not closed before line {last}")


def _not_utf8(path: Path) -> ValueError:
    content = path.read_bytes()
    try:
        content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        return ValueError(f"{path}, line {line}: is not text in UTF-8: save the file as UTF-8")
    return ValueError(f"{path}: is not text in UTF-8: save the file as UTF-8")
