"""Read a table for training, and print what was read."""

from pathlib import Path
from typing import Any

from ddpm.commands.output import say


def read_table(data: Path, target: str | None, columns: list[str] | None) -> Any:
    """Read a table of at least two rows, and print what was read."""
    from ddpm import table_files

    found = table_files.read(data, target, columns)
    say(table_files.described(data, len(found.x), found.columns), once=True)
    if len(found.x) < 2:
        raise ValueError(f"{data}: has only one row; training needs at least two")
    return found
