"""Points in and out of files, and outputs that appear whole or not at all."""

import csv
import math
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

FLOAT32_MAX = float(np.finfo(np.float32).max)


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


def points_format(path: str | os.PathLike[str]) -> str:
    """Return ".npy" or ".csv", as the name of `path` ends; raise ValueError where it ends in neither."""
    suffix = Path(path).suffix.lower()
    if suffix not in (".npy", ".csv"):
        raise ValueError(f"{path}: points are kept in .npy or .csv files, not in {suffix or 'a file without suffix'}")
    return suffix


def read_points(path: str | os.PathLike[str]) -> np.ndarray:
    """Read points from a .npy file, [N] or [N, D], or a .csv file, one row a point; return float32 [N, D].

    A .csv file holds numbers separated by commas, and may begin with one row of names. Raises OSError where
    the file cannot be read, and ValueError, naming file, place and culprit, where it does not hold at least
    one point of finite numbers.
    """
    return _read_npy(path) if points_format(path) == ".npy" else _read_csv(path)


def write_points(path: str | os.PathLike[str], points: np.ndarray) -> None:
    """Write `points`, [N, D] float32, to a .npy or .csv file, atomically; `read_points` gives them back."""
    file_format = points_format(path)
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        if file_format == ".npy":
            np.save(file, points)
        else:
            np.savetxt(file, points, fmt="%.9g", delimiter=",")  # 9 digits tell any two float32 apart


def _read_npy(path: str | os.PathLike[str]) -> np.ndarray:
    try:
        # a memory map refuses pickles, and finds a file shorter than its header claims before memory is taken
        stored = np.lib.format.open_memmap(path, mode="r")
    except ValueError as error:
        raise ValueError(f"{path}: not a readable .npy file of numbers ({error})") from error
    if stored.dtype.kind not in "fiu":
        raise ValueError(f"{path}: holds {stored.dtype}, not floating-point numbers or integers")
    if stored.ndim not in (1, 2):
        raise ValueError(f"{path}: has shape {list(stored.shape)}, expected [N] or [N, D]")
    if stored.size == 0:
        raise ValueError(f"{path}: holds no points, its shape is {list(stored.shape)}")
    with np.errstate(over="ignore"):  # what overflows is reported below
        points = stored.reshape(len(stored), -1).astype(np.float32)
    bad = np.argwhere(~np.isfinite(points))
    if len(bad):
        row, column = bad[0]
        value = stored.reshape(points.shape)[row, column]
        raise ValueError(f"{path}: row {row}, column {column} (from 0): {value} is not a finite float32 number")
    return points


def _read_csv(path: str | os.PathLike[str]) -> np.ndarray:
    rows: list[list[float]] = []
    width = 0  # of the first row, names or numbers
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            for fields in reader:
                if not fields:
                    continue  # an empty line
                place = f"{path}, line {reader.line_num}"
                if not width:
                    width = len(fields)
                    if not any(_is_number(field) for field in fields):
                        continue  # names
                if len(fields) != width:
                    raise ValueError(f"{place}: {len(fields)} fields, but the first row has {width}")
                rows.append([_number(field, f"{place}, field {i}") for i, field in enumerate(fields, start=1)])
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not a text file in UTF-8 ({error.reason} at byte {error.start})") from error
    except csv.Error as error:
        raise ValueError(f"{path}, line {reader.line_num}: not a .csv file ({error})") from error
    if not rows:
        raise ValueError(f"{path}: holds no points")
    return np.array(rows, dtype=np.float32)


def _is_number(field: str) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True


def _number(field: str, place: str) -> float:
    if not field.strip():
        raise ValueError(f"{place}: is empty")
    if not _is_number(field):
        raise ValueError(f"{place}: {field!r} is not a number")
    value = float(field)
    if math.isnan(value) or abs(value) > FLOAT32_MAX:
        raise ValueError(f"{place}: {field!r} is not a finite float32 number")
    return value
