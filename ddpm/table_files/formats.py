"""Which formats there are."""

import importlib.util
import os
from pathlib import Path

SUFFIXES = (".csv", ".parquet", ".npy")


def format_of(path: str | os.PathLike[str]) -> str:
    """Return one of SUFFIXES, the end of a file's name in lower case; that of a folder is Parquet's.

    Raises:
        ValueError: it is another.
        ImportError: what reads and writes it is not installed.
    """
    suffix = ".parquet" if Path(path).is_dir() else Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(f"{path}: tables are kept in {', '.join(SUFFIXES[:-1])} and {SUFFIXES[-1]} files")
    if suffix != ".npy":
        for library in ("pyarrow", "pandas"):
            if importlib.util.find_spec(library) is None:
                raise ImportError(f"{path}: needs {library}: pip install 'fused-ddpm[tables]'")
    return suffix
