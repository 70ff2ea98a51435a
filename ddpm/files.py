"""Files: outputs that are complete or do not appear at all, and messages about files that cannot be read."""

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SHOWN = 300  # the most characters of a message about the content of a file


def one_line(said: object) -> str:
    """Return a message about the content of a file, which can be anything, as one line of bounded length."""
    text = " ".join(str(said).split())
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def check_output(path: str | os.PathLike[str], force: bool = False) -> None:
    """Check that `path` can be written, before hours of work are spent on it.

    Raises:
        FileNotFoundError: its folder does not exist.
        IsADirectoryError: it is a folder.
        PermissionError: its folder is not writable.
        OSError: its name is too long.
        FileExistsError: it exists, even as a broken link, and `force` is false.
    """
    path = Path(path)
    folder = Path(os.path.realpath(path)).parent
    if not folder.is_dir():
        raise FileNotFoundError(f"{path}: the folder {folder if path.is_symlink() else path.parent} does not exist")
    longest, length = _longest_name(folder), len(os.fsencode(path.name))
    if length > longest:
        raise OSError(f"{path.name[:40]}...: the name has {length} bytes, and the folder allows {longest}")
    if path.is_dir():
        raise IsADirectoryError(f"{path}: is a folder, not a file")
    if not os.access(folder, os.W_OK):
        raise PermissionError(f"{path}: no permission to write in the folder {folder}")
    if os.path.lexists(path) and not force:
        raise FileExistsError(f"{path}: exists already")


def _longest_name(folder: Path) -> int:
    """Return how many bytes a name in a folder may have; 255 if the system does not say."""
    try:
        return os.pathconf(folder, "PC_NAME_MAX")
    except (AttributeError, OSError):
        return 255


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside `path`. Its file replaces `path` if the block succeeds, and is removed otherwise.

    The temporary path does not exist yet. It keeps the suffix, by which many writers choose a format. It is in the same
    folder, because a file moves in one step only within a file system. A link is followed. If a file is replaced, the
    new one gets its mode.

    Raises the same errors as check_output, except FileExistsError.
    """
    check_output(path, force=True)
    path = Path(os.path.realpath(path))
    temporary = path.with_name(f".{secrets.token_hex(8)}{path.suffix}")
    try:
        yield temporary
        if path.exists():
            temporary.chmod(stat.S_IMODE(path.stat().st_mode))
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:  # Ctrl-C too must leave nothing behind
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno and error.filename in (None, os.fspath(temporary)):
            error.filename = os.fspath(path)  # if a disk is full, the system does not name the file
        raise
