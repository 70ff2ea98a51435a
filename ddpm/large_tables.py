"""Fit a model to a table that is larger than memory.

The table is read in parts, twice. The second time, its rows are scaled and written to a temporary file for training.
"""

import contextlib
import dataclasses
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from sklearn.utils.validation import validate_data

from ddpm import fitting
from ddpm.batches import Rows
from ddpm.checkpoints import Checkpoints
from ddpm.classes import classes_of, index_of, one_hot
from ddpm.defaults import Defaults
from ddpm.estimator import DDPM
from ddpm.progress import progress_bar
from ddpm.shards import Shard, shards_of_rank
from ddpm.table_files import Parts
from ddpm.tables import Array, Table, as_array

SAMPLE, NUMBERS = 2**18, 2**24  # the transform is fitted to at most about SAMPLE rows and NUMBERS numbers


def fit(model: DDPM, parts: Parts, checkpoints: Checkpoints | None = None) -> DDPM:
    """Fit a model to a table that is read in parts, as `model.fit` fits one in memory.

    Ranges, decimals and classes are those of all rows. The transform is fitted to about 260,000 rows, drawn at random,
    or to fewer if there are more than 64 columns. The scaled rows and their classes go to a temporary file, four bytes
    a number, which is deleted at the end.

    Args:
        model: the model. An earlier fit is replaced.
        parts: the table, and its classes if it has a target column.
        checkpoints: see ddpm.train.

    Raises:
        ValueError: as for `model.fit`, or the model holds out rows for validation.
        OSError: there is not enough disk space for the temporary file.
    """
    if model.validation_fraction:
        raise ValueError("validation_fraction must be 0 for a table that is read in parts")
    fitting.check_repeatable(model, checkpoints)
    with fitting.all_or_nothing(model):
        _fit(model, parts, checkpoints)
    return model


def _fit(model: DDPM, parts: Parts, checkpoints: Checkpoints | None) -> None:
    seed = model._seed()
    sample = _look(model, parts, seed)
    x = model._table.continuous(validate_data(model, sample, dtype=np.float64, ensure_min_samples=2), seed)
    varies = model._low < model._high
    defaults = Defaults(parts.rows, int(varies.sum()))
    fitting.fit_transform(model, x, defaults)
    for place in np.flatnonzero(varies & model.transform_.constant):
        name = (model._table.names or range(len(varies)))[place]
        warnings.warn(f"column {name} varies in so few rows that it is treated as constant", stacklevel=2)
    classes = 0 if parts.columns.target is None else len(model.classes_)
    shards = shards_of_rank(parts.rows, fitting.batch_size_of(model, defaults, parts.rows))
    with _file(parts.rows, (model.transform_.dim, classes)) as (z, condition):
        at = 0
        for part, y in _read(parts, "scale", model.verbose):
            exact = np.asarray(as_array(part), dtype=np.float64)
            rows = slice(at, at + len(exact))
            at += len(exact)
            if not _is_ours(rows, shards):
                continue
            z[rows] = model.transform_.transform(model._table.continuous(exact, seed + rows.start, varies))
            if y is not None:
                condition[rows] = one_hot(index_of(y, model.classes_, len(exact)), classes)
        given = None if classes == 0 else torch.from_numpy(condition)
        fitting.fit_network(model, Rows(torch.from_numpy(z), given), None, defaults, seed, checkpoints)


def _look(model: DDPM, parts: Parts, seed: int) -> Any:
    """Learn the ranges, the decimals and the classes of all rows. Return some rows, drawn at random."""
    drawn, low, high = [], [], []
    tables: list[Table] = []
    classes: dict[Any, int] = {}
    generator = np.random.default_rng(seed)
    share = min(SAMPLE, NUMBERS // len(parts.columns.names)) / parts.rows
    for part, y in _read(parts, "read", model.verbose):
        table = Table.of(part)
        exact = np.asarray(as_array(part), dtype=np.float64)
        tables.append(table.with_decimals(exact))
        low.append(exact.min(0))
        high.append(exact.max(0))
        drawn.append(part[generator.random(len(part)) < share])
        if y is not None:
            names, _, counts = classes_of(y, len(part))
            for name, count in zip(names.tolist(), counts.tolist(), strict=True):
                classes[name] = classes.get(name, 0) + count
    model._forget()
    if classes:
        model.classes_, *_ = classes_of(np.array(list(classes)), len(classes))
        model.class_counts_ = np.array([classes[name] for name in model.classes_.tolist()])
    model._table = dataclasses.replace(tables[0], decimals=_decimals(tables))
    model._low, model._high = np.min(low, axis=0), np.max(high, axis=0)
    if hasattr(drawn[0], "iloc"):
        import pandas as pd

        return pd.concat(drawn, ignore_index=True)
    return np.concatenate(drawn)


def _is_ours(rows: slice, shards: Sequence[Shard] | None) -> bool:
    """Return whether this process trains on some of the rows; it trains on all if `shards` is None.

    Rows of other processes are not written, so they take no space in the file.
    """
    return shards is None or any(of.rows.start < rows.stop and rows.start < of.rows.stop for of in shards)


def _decimals(tables: Sequence[Table]) -> tuple[int | None, ...]:
    """Return the decimals of each column over all parts; None if a part has None."""
    columns = zip(*(table.decimals for table in tables), strict=True)
    return tuple(
        None if any(of is None for of in column) else max(of for of in column if of is not None) for column in columns
    )


def _read(parts: Parts, what: str, progress: bool) -> Iterator[tuple[Any, Any]]:
    """Yield each part with its classes, or with None."""
    with progress_bar(parts.rows, what, "row", progress) as bar:
        for x, y in parts.read():
            yield x, y
            bar.update(len(x))


@contextlib.contextmanager
def _file(rows: int, widths: Sequence[int]) -> Iterator[list[Array]]:
    """Yield a float32 array [rows, width] for each width, in one temporary file."""
    needed, folder = 4 * rows * sum(widths), tempfile.gettempdir()
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise OSError(f"{folder}: has room for {free:.1e} bytes; {needed:.1e} are needed: set TMPDIR to another folder")
    with tempfile.TemporaryFile(prefix="ddpm") as file:
        file.truncate(needed)
        offsets = [4 * rows * sum(widths[:i]) for i in range(len(widths))]
        yield [
            np.memmap(file, np.float32, "r+", offset, (rows, width)) if width else np.zeros((rows, 0), np.float32)
            for offset, width in zip(offsets, widths, strict=True)
        ]
