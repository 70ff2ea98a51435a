"""Helpers for the tests of tables: write a file, and return the error for a bad one."""

from pathlib import Path

import pytest

from ddpm import table_files


def written(path: Path, text: str) -> Path:
    """Write a text to a path, and return the path."""
    path.write_text(text, encoding="utf-8")
    return path


def refused(path: Path, *arguments: object) -> str:
    """Check that a file is refused, and return the error without the name of the file."""
    with pytest.raises(ValueError, match=path.name) as raised:
        table_files.read(path, *arguments)  # type: ignore[arg-type]
    said = str(raised.value)
    assert said.startswith(str(path))
    return said.removeprefix(str(path)).removeprefix(": ").removeprefix(", ")
