"""Read NumPy's .npy files as memory maps."""

import tokenize
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ddpm.table_files.columns import ROWS, Parts, at_once, check_names, columns_of, wrong_number


def map_npy(path: Path) -> Any:
    """Return the array of a file, [N, D]."""
    try:
        # a memory map refuses pickles, and detects a truncated file without allocating memory for it
        stored = np.lib.format.open_memmap(path, mode="r")
    except (ValueError, SyntaxError, tokenize.TokenError) as error:  # a damaged header raises these
        raise ValueError(f"{path}: is not a readable .npy file of numbers ({error})") from error
    if stored.dtype.kind not in "fiub" or stored.dtype.itemsize > 8:
        raise ValueError(f"{path}: holds {stored.dtype}, not numbers of at most 8 bytes")
    if stored.ndim not in (1, 2):
        raise ValueError(f"{path}: has shape {list(stored.shape)}, but tables are [N] or [N, D]")
    if stored.size == 0:
        raise ValueError(f"{path}: has no rows, its shape is {list(stored.shape)}")
    return stored.reshape(len(stored), -1)


def npy_parts(path: Path, target: str | None, only: Sequence[str] | None, rows: int | None) -> Parts:
    """Open a file in parts of at most `rows` rows, or in one part if `rows` is None."""
    array = map_npy(path)
    places = list(map(str, range(array.shape[1])))
    check_names(path, [*(only or ()), *(() if target is None else (target,))], places)
    wanted = list(only or places)
    columns = columns_of(wanted, target, False)
    of_x = [int(name) for name in wanted if name != target]

    def read() -> Iterator[tuple[Any, Any]]:
        step = len(array) if rows is None else at_once(rows, wanted)
        for start in range(0, len(array), step):
            part = array[start : start + step]
            x = part if of_x == list(range(array.shape[1])) else part[:, of_x]
            for at in range(0, len(x), ROWS):
                if found := wrong_number(x[at : at + ROWS]):
                    row, column, said = found
                    place = f"{path}, row {start + at + row}, column {of_x[column]} (from 0)"
                    raise ValueError(f"{place}: {said}")
            yield x, None if target is None else np.asarray(part[:, int(target)])

    return Parts(len(array), columns, read)
