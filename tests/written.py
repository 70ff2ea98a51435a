"""Files for the tests of tables, and what is said of bad ones."""

from pathlib import Path

import pytest

from ddpm import table_files


def written(path: Path, text: str) -> Path:
    """Write a text, and return where it is."""
    path.write_text(text, encoding="utf-8")
    return path


def refused(path: Path, *arguments: object) -> str:
    """Return what the error says, but for the name of the file."""
    with pytest.raises(ValueError, match=path.name) as raised:
        table_files.read(path, *arguments)  # type: ignore[arg-type]
    said = str(raised.value)
    assert said.startswith(str(path))
    return said.removeprefix(str(path)).removeprefix(": ").removeprefix(", ")
