"""Find the first error in a CSV file, and say its line, its column and how to fix it."""

import re
from collections.abc import Callable
from pathlib import Path

from ddpm.table_files.columns import WHOLE
from ddpm.table_files.csv_layout import NUMBER, Layout, hint_for, is_missing, records

LONG = re.compile(r"\s*[-+]?\d{16,}\s*", re.ASCII)  # a whole number that a float64 may not hold

Wrong = Callable[[str], str | None]  # returns what is wrong with a field, or None


def no_number(field: str) -> str | None:
    """Return why a field is not a number, or None if it is one."""
    if is_missing(field):
        return f"{field!r} is missing: leave the row out, or fill it in" if field else no_class(field)
    if NUMBER.fullmatch(field):
        return None
    hint = hint_for(field) or "leave its column out, or name it as the target"
    return f"{field!r} is not a number: {hint}"


def no_class(field: str) -> str | None:
    """Return why a field is not a class, or None if it is one."""
    return None if field.strip() else "is missing: leave the row out, or fill it in"


def too_long(field: str) -> str | None:
    """Return why a whole number cannot be read exactly, or None if it can."""
    if LONG.fullmatch(field) and abs(int(field)) > WHOLE:
        return f"{field!r} has more digits than a float64 can hold: leave its column out, or name it as the target"
    return None


def diagnose(path: Path, layout: Layout, columns: list[str], wrong: Wrong) -> None:
    """Raise ValueError for the first row of another width than row 1, or the first wrong field of `columns`."""
    places = [(layout.columns.index(name), name) for name in columns]
    truths: tuple[int, str, str] | None = None
    for line, fields in records(path, layout):
        if len(fields) != layout.width:
            comma = layout.separator == "," and layout.width < len(fields)
            hint = ": is a comma used as a decimal point?" if comma else ""
            raise ValueError(
                f"{path}, line {line}: has {len(fields)} fields, but the first row has {layout.width}{hint}"
            )
        for i, name in places:
            if fields[i].strip().lower() in ("true", "false"):
                truths = truths or (line, name, fields[i])
            elif said := wrong(fields[i]):
                raise ValueError(f"{path}, line {line}, column {name!r}: {said}")
    if truths and wrong is no_number:  # a column of true and false alone would be boolean, but this one has numbers
        line, name, field = truths
        raise ValueError(f"{path}, line {line}, column {name!r}: {field!r} is not a number: write 1 or 0")


def check_quotes(path: Path, layout: Layout) -> None:
    """Raise ValueError if a quotation mark is not closed: the rest of the file would be one field."""
    with open(path, "rb") as file:
        count = sum(part.count(b'"') for part in iter(lambda: file.read(2**24), b""))
    if count % 2 == 0:
        return
    last, before = 0, 0
    for line, _ in records(path, layout):
        last, before = line, last
    raise ValueError(f"{path}, line {before + 1}: has a quotation mark that is not closed before line {last}")
