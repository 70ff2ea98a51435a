"""A folder belongs to one run; mistakes are one line; a file that memory cannot hold is refused."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from running import error
from sampled import COMMAND, COUNT, OPTIONS, PARTS, content

import ddpm
from ddpm import memory, sampling, table_files
from ddpm.commands import main
from ddpm.sampling import sample_to_folder

pytest.importorskip("pandas")
pytest.importorskip("pyarrow")
pytest.importorskip("sklearn")

pytestmark = pytest.mark.one_thread


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["--out", "{tmp}/s/", "--shard", "0/64"],
            "'0/64' is not a shard: 64 shards are called 1/64 to 64/64",
        ),
        (["--out", "{tmp}/s/", "--shard", "65/64"], "'65/64' is not a shard: 64 shards are"),
        (["--out", "{tmp}/s/", "--shard", "a/b"], "'a/b' is not a shard: 64 shards are"),
        (["--out", "{tmp}/s/", "--shard", "3"], "'3' is not a shard: 64 shards are"),
        (["--out", "{tmp}/s/", "--shard", "-1/2"], "'-1/2' is not a shard: 64 shards are"),
        (["--out", "{tmp}/s.csv", "--shard", "1/2"], "s.csv is named like a file: end the name in a slash"),
        (["--out", "{tmp}/s"], "s is not a .csv, .parquet or .npy file; the name of a folder must"),
        (["--out", "{tmp}/s.npy", "--format", "npy"], "--format can only be used with a folder, whose name"),
        (["--out", "{tmp}/s/", "--format", "csv"], "'--format': 'csv' is not one of"),
        (["--out", "{tmp}/no/s/"], "/no does not exist"),
        (["--out", "{tmp}/file/"], "file: is a file, not a folder"),
        (
            ["--out", "{tmp}/full/"],
            "full/: contains files, for example mine.txt, but no _samples.json: use an empty folder",
        ),
        (["--out", "{tmp}/full"], "full/: contains files, for example mine.txt"),
        (["--out", "{tmp}/s/", "--format", "npy"], "holds only numbers, but the table has text"),
        (
            ["--out", "{tmp}/s/", "--first", str(2**48)],
            f"first + count is {2**48 + COUNT}, above the limit of 2^48",
        ),
        (["--out", "{tmp}/s/", "--backend", "none"], "'none'"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing_behind(
    tmp_path: Path, table: Path, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("")
    there = set(tmp_path.rglob("*"))
    assert said in error(capsys, "sample", table, *COMMAND, *(each.format(tmp=tmp_path) for each in arguments))
    assert set(tmp_path.rglob("*")) == there


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (["--seed", "2"], "was begun with --seed 1; this command has --seed 2: use another folder"),
        (["--count", "99"], "was begun with --count 100; this command has --count 99"),
        (["--first", "0"], "was begun with --first 7; this command has --first 0"),
        (["--format", "npy"], "was begun with --format parquet; this command has --format npy"),
        (["--first", "0", "--seed", "2"], "was begun with --seed 1 and --first 7; this command has --seed 2"),
        (["--force", "--seed", "2"], "was begun with --seed 1; this command has --seed 2"),
    ],
)
def test_a_folder_belongs_to_one_run(
    tmp_path: Path, points: Path, change: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    sample_to_folder(points, tmp_path, COUNT, shard=(1, 2), **OPTIONS)
    before = content(tmp_path)
    assert f"{tmp_path}/: {said}" in error(capsys, "sample", points, "--out", tmp_path, *COMMAND, *change)
    assert content(tmp_path) == before


def test_a_folder_belongs_to_one_model_and_one_size_of_parts(
    tmp_path: Path, points: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sample_to_folder(points, tmp_path / "s", COUNT, **OPTIONS)
    other = ddpm.load(points)
    with torch.no_grad():
        next(other.parameters()).add_(1)
    ddpm.save(other, tmp_path / "other.safetensors")
    with pytest.raises(FileExistsError, match=r"begun with the model [0-9a-f]{12}; this command has the model"):
        sample_to_folder(tmp_path / "other.safetensors", tmp_path / "s", COUNT, **OPTIONS)
    monkeypatch.setattr(sampling, "PART", (32, 2**24))
    with pytest.raises(FileExistsError, match="begun with 16 rows a part; this command has 32 rows a part"):
        sample_to_folder(points, tmp_path / "s", COUNT, **OPTIONS)


def test_a_record_that_cannot_be_read_is_named(tmp_path: Path, points: Path) -> None:
    for text, said in (("{", "is not a valid record"), ("[]", "is not a valid"), ('{"version": 9}', "version 9; the")):
        (tmp_path / "_samples.json").write_text(text)
        with pytest.raises(ValueError, match=rf"_samples\.json: .*{said}"):
            sample_to_folder(points, tmp_path, COUNT, **OPTIONS)


@pytest.mark.parametrize(
    "wrong", [{"shard": (0, 2)}, {"shard": (3, 2)}, {"format": "csv"}, {"seed": 2**64}, {"first": -1}, {"count": 0}]
)
def test_arguments_of_the_function_are_checked(tmp_path: Path, points: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"^{next(iter(wrong))}"):
        sample_to_folder(points, tmp_path / "s", **{"count": COUNT, **OPTIONS, **wrong})
    assert not (tmp_path / "s").exists()


def test_without_pyarrow(tmp_path: Path, points: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_files.formats.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match="needs pyarrow: pip install"):
        sample_to_folder(points, tmp_path / "s", COUNT, **OPTIONS)
    assert not (tmp_path / "s").exists()
    assert sample_to_folder(points, tmp_path / "s", COUNT, format="npy", **OPTIONS).new == PARTS


def test_a_file_that_does_not_fit_in_memory(
    tmp_path: Path, table: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["sample", str(table), "--out", str(tmp_path / "x.csv"), *COMMAND]
    monkeypatch.setattr(memory, "available", lambda: 10_000_000_000)
    said = error(capsys, *command, "--count", "4_000_000_000")
    assert re.fullmatch(
        rf"{tmp_path}/x\.csv: 4000000000 rows need \d+ GB of memory, but 10 GB are available: "
        rf"write them into a folder, in parts, with --out {tmp_path}/x/",
        said,
    )
    for there in (None, 10_000_000_000):
        monkeypatch.setattr(memory, "available", lambda there=there: there)
        assert main([*command, "--force"]) == 0


def test_what_is_available(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    meminfo = tmp_path / "meminfo"
    monkeypatch.setattr(memory, "MEMINFO", meminfo)
    assert memory.available() is None
    meminfo.write_text("MemTotal:        8000 kB\nMemFree:  100 kB\n")
    assert memory.available() is None
    meminfo.write_text("MemTotal:        8000 kB\nMemAvailable:    5000 kB\n")
    assert memory.available() == 5_120_000
