"""Samples of a model file, into one file, or into a folder of parts that many processes write."""

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

# 2^24 numbers are 134 MB: a few copies fit anywhere. Of few columns 2^20 rows, which take from a second to a minute to
# draw: that much a kill loses, and 10^10 rows are some ten thousand files.
PART = 2**20, 2**24  # rows and numbers
CHUNK = 2**14, 2**20  # rows and numbers that are drawn together, and between two looks of the progress bar


class Written(NamedTuple):
    """The parts of a shard.

    Attributes:
        parts: how many it has.
        new: how many of them were written now; the others were there.
        samples: the indices of its samples.
        of: how many parts all shards have.
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
    """Write samples first ... first + count - 1 of a model file to a .csv, .parquet or .npy file, through memory.

    Raises:
        OSError: a file cannot be read or written; FileExistsError where `path` exists, without `force`.
        ValueError: a bad argument, no model, a format that cannot hold the samples, or too many for the memory.
        ImportError: what the model or the format needs is not installed.
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
    """Write one shard's part of samples first ... first + count - 1 of a model file into a folder of files.

    The files and their bytes are the same for any number of shards. Each file appears whole or not at all, and one
    that is there is kept: the same call again goes on where one was stopped. Memory does not grow with `count`.

    Args:
        model: of ddpm.save, or DDPM.save.
        folder: made where it is missing; the first call leaves in it a record of what its samples depend on.
        count: of the samples of all shards together.
        first: index of the first sample.
        seed: of the samples.
        shard: (i, n), shard i of n, from (1, n) to (n, n).
        format: "parquet", or "npy", which holds numbers alone and no names.
        backend: see ddpm.backends().
        force: write parts anew that are there.
        progress: whether to show a bar, if standard error is a terminal.

    Raises:
        OSError: a file cannot be read or written; FileExistsError where the folder belongs to another run, or to none.
        ValueError: a bad argument, no model, or a format that cannot hold the samples.
        ImportError: what the model or the format needs is not installed.
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
    """The indices of the samples."""
    count = arguments.integer("count", count, 1, MOST_SAMPLES)
    first = arguments.integer("first", first, 0, MOST_SAMPLES)
    if first + count > MOST_SAMPLES:
        raise ValueError(f"first and count reach {first + count}; there are 2^48 samples")
    return range(first, first + count)


def _opened(model: str | os.PathLike[str], backend: str | None, samples: range, seed: int) -> tuple[Any, Any]:
    """A model and the last one of the samples, which tells before any work whether all can be drawn."""
    found = model_files.load(model, backend)
    return found, model_files.sample(found, 1, samples[-1], seed)


def _at_once(columns: int, most: tuple[int, int]) -> int:
    """How many rows make at most so many rows and numbers: a power of two, so that chunks fill parts."""
    rows, numbers = most
    return 2 ** (max(1, min(rows, numbers // columns)).bit_length() - 1)


def _drawn(model: Any, samples: range, seed: int, columns: int, bar: Any) -> Any:
    """Samples as one table, drawn in chunks: a matrix product may round a row differently in a chunk of other rows."""
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
    """Raise unless a table fits in memory twice: its chunks, and all as one."""
    a_row = int(row.memory_usage(index=False, deep=True).sum()) if hasattr(row, "iloc") else row.nbytes
    needed, there = 2 * a_row * count, memory.available()
    if there is not None and needed > there:
        raise ValueError(
            f"{path}: {count} rows need {needed / 1e9:.3g} GB of memory, and there are {there / 1e9:.3g}: write them "
            f"into a folder, in parts, with --out {Path(path).with_suffix('')}{os.sep}"
        )
