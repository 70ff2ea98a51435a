"""Read Parquet files, or folders of them, with pyarrow, whole or in parts."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ddpm.table_files.columns import (
    Columns,
    Parts,
    are_places,
    at_once,
    check_names,
    columns_of,
    take_apart,
    wrong_number,
)


def files_of(path: Path) -> list[Path]:
    """Return the Parquet files of a folder, in the order of their names, or the file itself.

    Names that begin with a dot or an underscore are left out, as in other readers: these files are not finished.
    """
    if not path.is_dir():
        return [path]
    inside = (file.relative_to(path) for file in sorted(path.rglob("*.parquet")))
    files = [path / file for file in inside if not any(part.startswith((".", "_")) for part in file.parts)]
    if not files:
        raise ValueError(f"{path}: is a folder without .parquet files")
    return files


def open_parquet(path: Path) -> Any:
    """Open a file and read its metadata."""
    import pyarrow
    from pyarrow import parquet

    try:
        return parquet.ParquetFile(path, memory_map=True)
    except (pyarrow.ArrowException, OSError) as error:
        if isinstance(error, FileNotFoundError | PermissionError):
            raise
        raise ValueError(f"{path}: is not a complete Parquet file ({error})") from error


def parquet_parts(path: Path, target: str | None, only: Sequence[str] | None, rows: int | None) -> Parts:
    """Open a file, or all files of a folder, in parts of at most `rows` rows, or in one part if `rows` is None."""
    import pyarrow

    files = {each: open_parquet(each) for each in files_of(path)}
    schemas = [file.schema_arrow.remove_metadata() for file in files.values()]
    for each, schema in zip(files, schemas, strict=True):
        if schema != schemas[0]:
            raise ValueError(f"{each}: has other columns than {next(iter(files))}")
    wanted = _wanted(path, schemas[0], target, only)
    columns = columns_of(wanted, target, not are_places(wanted))
    count = sum(file.metadata.num_rows for file in files.values())
    if count == 0:
        raise ValueError(f"{path}: has no rows")

    def read() -> Iterator[tuple[Any, Any]]:
        if rows is None and len(files) > 1:
            import pandas as pd

            x, y = zip(*read_each(None), strict=True)
            yield pd.concat(x, ignore_index=True), None if target is None else np.concatenate(y)
        else:
            yield from read_each(rows)

    def read_each(rows: int | None) -> Iterator[tuple[Any, Any]]:
        for each, file in files.items():
            first = 0
            try:
                tables = (
                    [file.read(wanted)] if rows is None else file.iter_batches(at_once(rows, wanted), columns=wanted)
                )
                for table in tables:
                    yield _checked(each, table.select(wanted), columns, first)
                    first += table.num_rows
            except (pyarrow.ArrowException, OSError) as error:
                raise ValueError(f"{each}: is not a complete Parquet file ({error})") from error

    return Parts(count, columns, read)


def _wanted(path: Path, schema: Any, target: str | None, only: Sequence[str] | None) -> list[str]:
    """Return the columns to read. Check that all except the target hold numbers."""
    from pyarrow import types

    names = schema.names
    if len(set(names)) < len(names):
        twice = next(name for i, name in enumerate(names) if name in names[:i])
        raise ValueError(f"{path}: two columns have the name {twice!r}")
    check_names(path, [*(only or ()), *(() if target is None else (target,))], names)
    wanted = list(only or (name for name in names if not name.startswith("__index_level_")))  # an index of pandas
    for name in wanted:
        kind = schema.field(name).type
        if name != target and not (types.is_floating(kind) or types.is_integer(kind) or types.is_boolean(kind)):
            raise ValueError(
                f"{path}: column {name!r} holds {kind}, not numbers: leave it out, or name it as the target"
            )
    return wanted


def _checked(path: Path, table: Any, columns: Columns, first: int) -> tuple[Any, Any]:
    """Return x and y of a part that begins at row `first`. Check that no number is missing or not finite."""
    import pyarrow

    for name in table.schema.names:
        if table[name].null_count:
            at = first + pyarrow.array(table[name].is_null()).to_numpy(zero_copy_only=False).argmax()
            place = f"{path}, row {at} (from 0), column {name!r}"
            raise ValueError(f"{place}: is missing: leave the row out, or fill it in")
    frame = pyarrow.table({name: table[name] for name in table.schema.names}).to_pandas(ignore_metadata=True)
    x, y = take_apart(frame, columns)
    if found := wrong_number(x):
        row, name, said = found
        raise ValueError(f"{path}, row {first + row} (from 0), column {str(name)!r}: {said}")
    return x, y
