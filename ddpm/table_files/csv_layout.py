"""Detect how a CSV file is written: its separator, and whether its first row holds names."""

import csv
import functools
import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

SEPARATORS = ";\t,"  # if several are possible, the first is chosen: commas may be decimal commas
UNNAMED = "Unnamed: "  # pandas calls a column without a name this, followed by its position
LOOKED_AT = 1000  # rows, at most, that decide whether the first one holds names

# patterns of fields that are not numbers, and how to fix each
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


class Layout(NamedTuple):
    """How a file is written.

    Attributes:
        separator: the character between fields.
        names: the names of the columns, or None if there are none.
        width: number of columns.
        skip: number of lines before the first row of numbers.
    """

    separator: str
    names: tuple[str, ...] | None
    width: int
    skip: int = 0

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns, or "0", "1" and so on."""
        return self.names or tuple(map(str, range(self.width)))


def look_at(path: Path) -> Layout:
    """Find out how a file is written, from its first rows.

    The first row holds names if one of these is true:

    - None of its fields is a number or looks like one, or a field is empty.
    - Some fields are different whole numbers, and not all of the others appear again below, as classes would.
    - All fields look like numbers, but a column below is text; or all are dates, and all fields below are numbers.
    - The fields are 0, 1, 2 and so on, as pandas writes for columns without names, and are unlikely to be data.

    Raises:
        ValueError: the file is empty, its names are missing, or two columns have the same name.
    """
    layouts = [Layout(separator, None, 0) for separator in SEPARATORS]
    firsts = [list(itertools.islice(records(path, layout), LOOKED_AT)) for layout in layouts]
    if not firsts[0]:
        raise ValueError(f"{path}: is empty")
    even = (i for i, rows in enumerate(firsts) if 1 < len(rows[0][1]) == len(rows[min(1, len(rows) - 1)][1]))
    chosen = next(even, SEPARATORS.index(","))
    (line, first), *rest = firsts[chosen]
    separator, width, below = SEPARATORS[chosen], len(first), [row for _, row in rest]
    if all(is_missing(field) for field in first) and (width == 1 or not any(first)):
        raise ValueError(f"{path}, line {line}: {first[0]!r} is read as a missing value: choose another name")
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
    others = [i for i, field in enumerate(first) if not (_is_value(field) or is_missing(field))]
    if not values or not all(field.strip() for field in first):
        return True
    if not others:
        dates = len(first) > 1 and all(DATE.fullmatch(field.strip()) for field in first)
        return _has_text(below) or (dates and bool(below) and all(NUMBER.fullmatch(x) for row in below for x in row))
    if not all(re.fullmatch(r"\s*\d+\s*", field, re.ASCII) for field in values) or len(set(values)) < len(values):
        return False
    return not all(any(first[i] in row[i : i + 1] for row in below) for i in others)


def _has_text(below: list[list[str]]) -> bool:
    """Return whether a column has no field that is a number, looks like one or is missing."""
    columns = zip(*below, strict=False)
    return any(not any(_is_value(field) or is_missing(field) for field in column) for column in columns)


def _are_fractions(below: list[list[str]]) -> bool:
    return len(below) > 1 and all(set(".eE") & set(field) for row in below for field in row)


def records(path: Path, layout: Layout) -> Iterator[tuple[int, list[str]]]:
    """Yield line number and fields of every row that is not empty and not skipped."""
    with open(path, newline="", encoding="utf-8-sig") as file:
        csv.field_size_limit(2**31 - 1)  # with a wrong separator, a whole line is one field
        reader = csv.reader(file, delimiter=layout.separator)
        try:
            for fields in reader:
                if fields and reader.line_num > layout.skip:
                    yield reader.line_num, fields
        except UnicodeDecodeError as error:
            raise _not_utf8(path) from error
        except csv.Error as error:
            raise ValueError(f"{path}, line {reader.line_num}: {error}") from error


def hint_for(field: str) -> str | None:
    """Return how to fix a field that is not a number, or None if that is not known."""
    found = next((hint for form, hint in HINTS if re.fullmatch(form, field.strip(), re.ASCII)), None)
    if found is None and any(c.isdigit() and not c.isascii() for c in field):
        return "write it with the digits 0 to 9"
    return found


def _is_value(field: str) -> bool:
    """Return whether a field is a number, or looks like one."""
    missing = is_missing(field)
    return not missing and bool(
        NUMBER.fullmatch(field) or hint_for(field) or field.strip().lower() in ("true", "false")
    )


def is_missing(field: str) -> bool:
    """Return whether pyarrow reads a field as a missing number."""
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
