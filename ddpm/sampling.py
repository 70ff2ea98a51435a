"""Write samples of a model file to one file, or to a folder of parts that many processes share."""

import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ddpm import memory, model_files, sample_parts, table_files
from ddpm.files import check_output
from ddpm.progress import progress_bar
from ddpm.sample_parts import FORMATS, Run, is_whole
from kernels import arguments
from kernels.place import MOST_SAMPLES

# 2^24 numbers are 134 MB: a few copies fit in any memory. 2^20 rows of few columns take from a second to a minute to
# draw: a process that is killed loses no more than that, and 10^10 rows are some ten thousand files.
PART = 2**20, 2**24  # at most, the rows and the numbers of a part
CHUNK = 2**14, 2**20  # at most, the rows and the numbers that are drawn in one call; the progress bar counts chunks


class Written(NamedTuple):
    """The parts of a shard.

    Attributes:
        parts: the number of parts of the shard.
        new: how many of them this call wrote. The others existed before.
        samples: the indices of the samples of the shard.
        of: the number of parts of all shards.
    """

    parts: int
    new: int
    samples: range
    of: int


def sample_to_file(
    model: str | os.PathLike[str],
    path: str | os.PathLike[str],
    count: int,
    *,
    first: int = 0,
    seed: int = 0,
    backend: str | None = None,
    force: bool = False,
    progress: bool = False,
) -> None:
    """Write samples first ... first + count - 1 of a model file to one file. All of them must fit in memory twice.

    Args:
        model: a file written by ddpm.save or DDPM.save.
        path: a .csv, .parquet or .npy file.
        count: the number of samples.
        first: the index of the first sample.
        seed: the seed of the samples.
        backend: name of a backend (see `ddpm.backends`), or None for the best that can run.
        force: whether to replace a file that exists.
        progress: whether to show a progress bar, if standard error is a terminal.

    Raises:
        OSError: a file cannot be read or written. It is a FileExistsError if `path` exists and `force` is False.
        TypeError, ValueError: a bad argument, a file that is not a model, a format that cannot hold the samples, or too
            little memory.
        ImportError: a package that the model or the format needs is not installed.
    """
    table_files.format_of(path)
    check_output(path, force)
    samples = _checked(count, first)
    found, row = _opened(model, backend, samples, seed)
    table_files.check_holds(path, row)
    _check_memory(path, row, count)
    with progress_bar(count, "sample", "row", progress and count > CHUNK[0]) as bar:
        table_files.write(path, _drawn(found, samples, seed, row.shape[1], bar))


def sample_to_folder(
    model: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    count: int,
    *,
    first: int = 0,
    seed: int = 0,
    shard: tuple[int, int] = (1, 1),
    format: str = "parquet",
    backend: str | None = None,
    force: bool = False,
    progress: bool = False,
) -> Written:
    """Write one shard of samples first ... first + count - 1 of a model file to a folder of files.

    The files and their bytes are the same for any number of shards. A file appears complete or not at all, and a file
    that exists is kept. So the same call continues where an earlier one was stopped. Memory does not grow with `count`.

    Args:
        model: a file written by ddpm.save or DDPM.save.
        folder: made if it is missing. The first call writes a record into it of all that the samples depend on.
        count: the number of samples of all shards together.
        first: the index of the first sample.
        seed: the seed of the samples.
        shard: (i, n) for shard i of n, with i from 1 to n.
        format: "parquet", or "npy", which holds numbers but no column names.
        backend: name of a backend (see `ddpm.backends`), or None for the best that can run.
        force: whether to write parts again that exist.
        progress: whether to show a progress bar, if standard error is a terminal.

    Returns:
        The parts of this shard.

    Raises:
        OSError: a file cannot be read or written. It is a FileExistsError if the folder belongs to another run, or has
            other files.
        TypeError, ValueError: a bad argument, a file that is not a model, or a format that cannot hold the samples.
        ImportError: a package that the model or the format needs is not installed.
    """
    folder = Path(folder)
    samples, seed = _checked(count, first), arguments.integer("seed", seed, -(2**63), 2**64 - 1)
    n = arguments.integer("shard[1]", shard[1], 1, MOST_SAMPLES)
    i = arguments.integer("shard[0]", shard[0], 1, n)
    if format not in FORMATS:
        raise ValueError(f"format must be one of {', '.join(FORMATS)}; got {format!r}")
    table_files.format_of(folder / f"part.{format}")
    if os.path.lexists(folder) and not folder.is_dir():
        raise NotADirectoryError(f"{folder}: is a file, not a folder")
    check_output(folder / sample_parts.RECORD if folder.is_dir() else folder, force=True)
    found, row = _opened(model, backend, samples, seed)
    table_files.check_holds(folder / f"part.{format}", row)
    columns, names = row.shape[1], list(map(str, getattr(row, "columns", range(row.shape[1]))))
    run = Run(sample_parts.fingerprint(model), seed, samples.start, len(samples), format, _at_once(columns, PART))
    sample_parts.claim(folder, run)

    parts = run.parts_of(i, n)
    own = range(run.part(parts[0]).samples.start, run.part(parts[-1]).samples.stop) if parts else range(0)
    new = 0
    with progress_bar(len(own), "sample", "row", progress) as bar:
        for part in map(run.part, parts):
            if not force and is_whole(folder / part.name, len(part.samples), names):
                bar.skip(len(part.samples))
                continue
            table_files.write(folder / part.name, _drawn(found, part.samples, seed, columns, bar))
            new += 1
    return Written(len(parts), new, own, run.parts)


def _checked(count: int, first: int) -> range:
    """Return the indices of the samples."""
    count = arguments.integer("count", count, 1, MOST_SAMPLES)
    first = arguments.integer("first", first, 0, MOST_SAMPLES)
    if first + count > MOST_SAMPLES:
        raise ValueError(f"first + count is {first + count}, above the limit of 2^48")
    return range(first, first + count)


def _opened(model: str | os.PathLike[str], backend: str | None, samples: range, seed: int) -> tuple[Any, Any]:
    """Return a model and the last of the samples, to find out before any other work whether all can be drawn."""
    found = model_files.load(model, backend)
    return found, model_files.sample(found, 1, samples[-1], seed)


def _at_once(columns: int, most: tuple[int, int]) -> int:
    """Return how many rows keep to both limits in `most`: a power of two, so that chunks fill parts exactly."""
    rows, numbers = most
    return 2 ** (max(1, min(rows, numbers // columns)).bit_length() - 1)


def _drawn(model: Any, samples: range, seed: int, columns: int, bar: Any) -> Any:
    """Return samples as one table, drawn in fixed chunks.

    A matrix product may round a row differently in a chunk of other rows.
    """
    step, chunks = _at_once(columns, CHUNK), []
    for start in range(samples.start, samples.stop, step):
        rows = min(step, samples.stop - start)
        chunks.append(model_files.sample(model, rows, start, seed))
        bar.update(rows)
    if hasattr(chunks[0], "iloc"):
        import pandas as pd

        return pd.concat(chunks, ignore_index=True)
    return np.concatenate(chunks)


def _check_memory(path: str | os.PathLike[str], row: Any, count: int) -> None:
    """Raise ValueError unless a table fits in memory twice: in chunks, and joined."""
    a_row = int(row.memory_usage(index=False, deep=True).sum()) if hasattr(row, "iloc") else row.nbytes
    needed, there = 2 * a_row * count, memory.available()
    if there is not None and needed > there:
        raise ValueError(
            f"{path}: {count} rows need {needed / 1e9:.3g} GB of memory, but {there / 1e9:.3g} GB are available: "
            f"write them into a folder, in parts, with --out {Path(path).with_suffix('')}{os.sep}"
        )
