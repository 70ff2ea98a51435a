"""The formats of table files."""

import importlib.util
import os
from pathlib import Path

SUFFIXES = (".csv", ".parquet", ".npy")


def format_of(path: str | os.PathLike[str]) -> str:
    """Return the suffix of a file's name in lower case, one of SUFFIXES. For a folder, it is that of Parquet.

    Raises:
        ValueError: the suffix is not one of SUFFIXES.
        ImportError: a library that reads and writes this format is not installed.
    """
    suffix = ".parquet" if Path(path).is_dir() else Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(f"{path}: must be a {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]} file")
    if suffix != ".npy":
        for library in ("pyarrow", "pandas"):
            if importlib.util.find_spec(library) is None:
                raise ImportError(f"{path}: needs {library}: pip install 'fused-ddpm[tables]'")
    return suffix
