"""A folder of samples in parts: their names and shards, whether a part is complete, and the run they belong to."""

import dataclasses
import hashlib
import json
import os
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ddpm.files import one_line
from ddpm.table_files.npy import map_npy
from ddpm.table_files.parquet import open_parquet
from kernels import arguments
from kernels.place import MOST_SAMPLES

FORMATS = ("parquet", "npy")
RECORD, VERSION = "_samples.json", 1  # readers of Parquet folders skip names that begin with an underscore
DIGITS = 5  # at least, in the number of a part


class Part(NamedTuple):
    """A file of a folder.

    Attributes:
        name: the name of the file. Names sort in the order of the parts, and are the same for any number of shards.
        samples: the indices of its samples.
    """

    name: str
    samples: range


@dataclass(frozen=True)
class Run:
    """All that the rows and the parts of a folder depend on. It is stored in `_samples.json`.

    Attributes:
        model: the SHA-256 of the model file, in hexadecimal.
        seed: the seed of the samples.
        first: the index of the first sample.
        count: the number of samples.
        format: one of FORMATS.
        rows_a_part: the number of rows of a part; the last part may have fewer.

    Raises:
        TypeError, ValueError: a bad value.
    """

    model: str
    seed: int
    first: int
    count: int
    format: str
    rows_a_part: int

    def __post_init__(self) -> None:
        if not isinstance(self.model, str) or re.fullmatch("[0-9a-f]{64}", self.model) is None:
            raise ValueError(f"model must be a SHA-256 in hexadecimal; got {self.model!r}")
        arguments.integer("seed", self.seed, -(2**63), 2**64 - 1)
        arguments.integer("first", self.first, 0, MOST_SAMPLES)
        for name in ("count", "rows_a_part"):
            arguments.integer(name, getattr(self, name), 1, MOST_SAMPLES)
        if self.format not in FORMATS:
            raise ValueError(f"format must be one of {', '.join(FORMATS)}; got {self.format!r}")

    @property
    def parts(self) -> int:
        """The number of parts."""
        return -(-self.count // self.rows_a_part)

    def parts_of(self, i: int, n: int) -> range:
        """Return the parts of shard i of n, with i from 1 to n.

        They are consecutive. The shards' numbers of parts differ by at most one.
        """
        return range((i - 1) * self.parts // n, i * self.parts // n)

    def part(self, part: int) -> Part:
        """Return a part by its number, from 0."""
        digits = max(DIGITS, len(str(self.parts)))
        start = part * self.rows_a_part
        stop = min(start + self.rows_a_part, self.count)
        name = f"part-{part:0{digits}}-of-{self.parts:0{digits}}.{self.format}"
        return Part(name, range(self.first + start, self.first + stop))


def fingerprint(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_whole(path: Path, rows: int, names: Sequence[str]) -> bool:
    """Return whether a file is a complete part, with `rows` rows and columns named `names`.

    Raises:
        OSError: the file exists but cannot be read.
    """
    try:
        if path.suffix == ".parquet":
            with open_parquet(path) as file:
                return (file.metadata.num_rows, file.schema_arrow.names) == (rows, list(names))
        array = map_npy(path)
        return array.shape == (rows, len(names)) and array.offset + array.nbytes == path.stat().st_size
    except (FileNotFoundError, ValueError):
        return False


def claim(folder: Path, run: Run) -> None:
    """Make a folder and write the record of a run into it, or check that the folder belongs to this run.

    Several processes may call this at once. The first complete record is kept, and all of them read it.

    Raises:
        FileExistsError: the folder belongs to another run, or has other files.
        OSError: the folder cannot be made or written.
    """
    folder.mkdir(exist_ok=True)
    record = folder / RECORD
    # list the files before looking for the record: another process writes the record first, and then its files
    others = [name for name in os.listdir(folder) if not name.startswith(".")]
    if not record.exists():
        if others:
            raise FileExistsError(
                f"{folder}{os.sep}: contains files, for example {others[0]}, but no {RECORD}: use an empty folder"
            )
        _record(record, run)
    before = _read(record)
    if before != run:
        raise FileExistsError(f"{folder}{os.sep}: {_difference(before, run)}: use another folder")


def _record(path: Path, run: Run) -> None:
    """Write the record in one step, unless there is one."""
    temporary = path.with_name(f".{secrets.token_hex(8)}{path.suffix}")
    try:
        temporary.write_text(json.dumps({"version": VERSION, **dataclasses.asdict(run)}, indent=1) + "\n")
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.link(temporary, path)
    except FileExistsError:
        pass
    finally:
        temporary.unlink(missing_ok=True)


def _read(path: Path) -> Run:
    try:
        said: dict[str, Any] = json.loads(path.read_text())
        version = said.pop("version")
        if version == VERSION:
            return Run(**said)
    except (LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise ValueError(f"{path}: is not a valid record of samples ({one_line(error)})") from error
    raise ValueError(f"{path}: has format version {one_line(version)}; the supported version is {VERSION}")


def _difference(before: Run, now: Run) -> str:
    """Return a text with both values of every field in which two runs differ."""
    names = [field.name for field in dataclasses.fields(Run)]
    different = [name for name in names if getattr(before, name) != getattr(now, name)]
    return f"was begun with {_said(before, different)}; this command has {_said(now, different)}"


def _said(run: Run, names: list[str]) -> str:
    texts = {"model": f"the model {run.model[:12]}", "rows_a_part": f"{run.rows_a_part} rows a part"}
    return " and ".join(texts.get(name, f"--{name} {getattr(run, name)}") for name in names)
