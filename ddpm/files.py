"""Outputs that appear whole or not at all."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def check_output(path: str | os.PathLike[str], force: bool = False) -> None:
    """Raise now what would stop `path` from being written later, before hours of work are spent on it.

    Raises FileNotFoundError where its folder is missing, IsADirectoryError where it is a folder itself,
    PermissionError where its folder cannot be written, and, without `force`, FileExistsError where it exists.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path}: the folder {path.parent} does not exist")
    if path.is_dir():
        raise IsADirectoryError(f"{path}: is a folder, not a file")
    if not os.access(path.parent, os.W_OK):
        raise PermissionError(f"{path}: no permission to write in the folder {path.parent}")
    if path.exists() and not force:
        raise FileExistsError(f"{path}: exists already")


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside `path`; it becomes `path` when the block ends well, else it is removed.

    The temporary path does not exist yet and keeps the suffix, from which many writers choose a format. Its
    folder is that of `path`, because a file moves in one step only within a file system.
    Raises FileNotFoundError where that folder is missing, IsADirectoryError where `path` is a folder, and
    PermissionError where the folder cannot be written.
    """
    path = Path(path)
    check_output(path, force=True)
    temporary = path.with_name(f".{path.stem}.{secrets.token_hex(4)}{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    except BaseException:  # Ctrl-C too must leave nothing behind
        temporary.unlink(missing_ok=True)
        raise
