"""Samples in a folder of parts: the same bytes for every split, however often it was stopped; one run per folder."""

import json
import os
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import ddpm
from ddpm import memory, sample_parts, sampling, table_files, torchrun
from ddpm.classes import draw
from ddpm.commands import main
from ddpm.sample_parts import Run
from ddpm.sampling import sample_to_file, sample_to_folder

pd = pytest.importorskip("pandas")
pytest.importorskip("pyarrow")
pytest.importorskip("sklearn")

pytestmark = pytest.mark.one_thread

ROOT = Path(__file__).parents[1]
PART, CHUNK = (16, 2**24), (8, 2**20)
NO_MODEL = "0" * 64
COUNT, FIRST, PARTS = 100, 7, 7  # the last part has 4 rows
OPTIONS: dict[str, Any] = {"first": FIRST, "seed": 1, "backend": "vectorized"}
COMMAND = ["--count", str(COUNT), "--first", str(FIRST), "--seed", "1", "--backend", "vectorized"]


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "PART", PART)
    monkeypatch.setattr(sampling, "CHUNK", CHUNK)
    for name in torchrun.NAMES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def folder_of_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Save models of a table with classes of text and of points in the plane; return their folder."""
    folder = tmp_path_factory.mktemp("models")
    rng = np.random.default_rng(0)
    x = pd.DataFrame({"a": rng.standard_normal(60).round(2), "n": rng.integers(0, 9, 60), "b": rng.gamma(2, 1, 60)})
    options: dict[str, Any] = {"steps": 20, "timesteps": 10, "backend": "vectorized", "random_state": 0}
    ddpm.DDPM((8,), **options).fit(x, rng.choice(["rose", "tulip", "oak"], 60)).save(folder / "table.safetensors")
    network = ddpm.GaussianMLP(dim=2, hidden=(4,), seed=0)
    schedule = ddpm.Schedule.constant(10, 0.1)
    ddpm.save(ddpm.Diffusion(network, schedule, backend="vectorized"), folder / "points.safetensors")
    return folder


@pytest.fixture
def table(folder_of_models: Path) -> Path:
    return folder_of_models / "table.safetensors"


@pytest.fixture
def points(folder_of_models: Path) -> Path:
    return folder_of_models / "points.safetensors"


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def process(model: Path, folder: Path, *arguments: str, before: str = "") -> "subprocess.Popen[str]":
    """Start the command with small parts; `before` is run first."""
    line = ["sample", str(model), "--out", f"{folder}/", *COMMAND, *arguments]
    code = (
        "import os, sys; from ddpm import sampling; from ddpm.commands import main\n"
        f"sampling.PART, sampling.CHUNK = {PART}, {CHUNK}\n{before}\nsys.exit(main({line}))"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


# ---- splits


@pytest.mark.parametrize(("kind", "format"), [("table", "parquet"), ("points", "npy"), ("points", "parquet")])
def test_every_split_gives_the_same_files(tmp_path: Path, folder_of_models: Path, kind: str, format: str) -> None:
    model = folder_of_models / f"{kind}.safetensors"
    for n in (1, 2, 3, 8):
        for i in reversed(range(1, n + 1)):
            sample_to_folder(model, tmp_path / str(n), COUNT, shard=(i, n), format=format, **OPTIONS)
        assert content(tmp_path / str(n)) == content(tmp_path / "1")
    names = [f"part-{part:05}-of-00007.{format}" for part in range(PARTS)]
    assert sorted(content(tmp_path / "1")) == ["_samples.json", *names]


@pytest.mark.parametrize("kind", ["table", "points"])
def test_a_folder_has_the_rows_of_one_file(tmp_path: Path, folder_of_models: Path, kind: str) -> None:
    model = folder_of_models / f"{kind}.safetensors"
    sample_to_folder(model, tmp_path / "folder", COUNT, **OPTIONS)
    sample_to_file(model, tmp_path / "x.parquet", COUNT, **OPTIONS)
    target = "class" if kind == "table" else None
    found, expected = (table_files.read(tmp_path / name, target) for name in ("folder", "x.parquet"))
    pd.testing.assert_frame_equal(found.x, expected.x)
    pd.testing.assert_frame_equal(*(pd.read_parquet(tmp_path / name) for name in ("folder", "x.parquet")))
    assert found.columns == expected.columns
    assert len(found.x) == COUNT
    if target is not None:
        assert np.array_equal(found.y, expected.y)
        assert set(found.y) == {"rose", "tulip", "oak"}


@pytest.mark.parametrize("n", [1, 2, 3, 7, 8, 64, 1000])
def test_shards_share_all_parts_evenly(n: int) -> None:
    run = Run(NO_MODEL, 0, 5, 999, "npy", 10)
    shards = [list(map(run.part, run.parts_of(i, n))) for i in range(1, n + 1)]
    assert [row for parts in shards for part in parts for row in part.samples] == list(range(5, 1004))
    lengths = list(map(len, shards))
    assert max(lengths) - min(lengths) <= 1


def test_names_sort_as_parts_do() -> None:
    run = Run(NO_MODEL, 0, 0, 10**6 + 1, "npy", 1)
    names = [run.part(part).name for i in (1, 10, 10**5) for part in run.parts_of(i, 10**5)]
    assert (names[0], names[-1]) == ("part-0000000-of-1000001.npy", "part-1000000-of-1000001.npy")
    assert names == sorted(names)


@pytest.mark.parametrize("columns", [1, 2, 16, 17, 1000, 2**21, 10**8])
def test_parts_are_bounded_and_made_of_whole_chunks(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    part, chunk = (sampling._at_once(columns, most) for most in (sampling.PART, sampling.CHUNK))
    assert part <= 2**20
    assert part * columns <= 2**24 or part == 1
    assert part % chunk == 0


def test_processes_that_begin_at_once_share_a_folder(tmp_path: Path, points: Path) -> None:
    started = [process(points, tmp_path / "both", "--shard", f"{i}/2") for i in (1, 2)]
    for i, each in enumerate(started, start=1):
        out, err = each.communicate(timeout=60)
        assert (each.returncode, err) == (0, "")
        parts, rows = ((3, "7 to 54"), (4, "55 to 106"))[i - 1]
        assert out == f"wrote {parts} parts of shard {i}/2, rows {rows}, to {tmp_path / 'both'}/\n"
    sample_to_folder(points, tmp_path / "one", COUNT, **OPTIONS)
    assert content(tmp_path / "both") == content(tmp_path / "one")


def test_one_of_many_beginnings_is_kept(tmp_path: Path) -> None:
    """Half of the threads begin one run and half another. One half goes on, and the other is refused."""
    runs = [Run(NO_MODEL, seed, 0, 10, "npy", 10) for seed in (0, 1)]
    for trial in range(20):
        folder, barrier, refused = tmp_path / str(trial), threading.Barrier(8), list[int]()

        def begin(
            run: Run, folder: Path = folder, barrier: threading.Barrier = barrier, refused: Any = refused
        ) -> None:
            barrier.wait()
            try:
                sample_parts.claim(folder, run)
            except FileExistsError:
                refused.append(run.seed)

        threads = [threading.Thread(target=begin, args=(runs[i % 2],)) for i in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert list(content(folder)) == ["_samples.json"]
        assert refused == 4 * [1 - json.loads((folder / "_samples.json").read_text())["seed"]]


# ---- stopped and resumed


def test_a_killed_process_is_gone_on_with(tmp_path: Path, table: Path) -> None:
    kill_in_the_fourth_part = (
        "replace, seen = os.replace, []\n"
        "os.replace = lambda *a: (seen.append(a), os.kill(os.getpid(), 9) if len(seen) == 4 else replace(*a))"
    )
    killed = process(table, tmp_path / "killed", before=kill_in_the_fourth_part)
    said = killed.communicate(timeout=60)
    assert killed.returncode == -9, said
    left = {name for name in content(tmp_path / "killed") if name.startswith(".")}
    assert len(left) == 1  # a temporary file that nobody removed
    assert len(content(tmp_path / "killed")) == 1 + 3 + 1
    written = sample_to_folder(table, tmp_path / "killed", COUNT, **OPTIONS)
    assert written == (PARTS, PARTS - 3, range(FIRST, FIRST + COUNT), PARTS)
    sample_to_folder(table, tmp_path / "whole", COUNT, **OPTIONS)
    found = content(tmp_path / "killed")
    assert {name: found[name] for name in found.keys() - left} == content(tmp_path / "whole")
    assert len(table_files.read(tmp_path / "killed", "class").x) == COUNT  # a temporary file is not a part


@pytest.mark.parametrize("format", ["parquet", "npy"])
def test_parts_that_are_not_whole_are_written_anew(tmp_path: Path, points: Path, format: str) -> None:
    sample_to_folder(points, tmp_path, COUNT, format=format, **OPTIONS)
    before = content(tmp_path)
    parts = sorted(tmp_path.glob("part*"))
    missing, short, long, empty, other, *kept = parts
    missing.unlink()
    short.write_bytes(short.read_bytes()[:-5])
    long.write_bytes(long.read_bytes() + b"12345")
    empty.write_bytes(b"")
    other.write_bytes(parts[-1].read_bytes())  # it has fewer rows
    times = [path.stat().st_mtime_ns for path in kept]
    written = sample_to_folder(points, tmp_path, COUNT, format=format, **OPTIONS)
    assert (written.parts, written.new) == (PARTS, 5)
    assert content(tmp_path) == before
    assert [path.stat().st_mtime_ns for path in kept] == times


def test_a_part_with_other_columns_is_not_kept(tmp_path: Path, points: Path) -> None:
    sample_to_folder(points, tmp_path, COUNT, **OPTIONS)
    part = min(tmp_path.glob("part*"))
    before = part.read_bytes()
    pd.read_parquet(part).set_axis(["0", "z"], axis=1).to_parquet(part, index=False)
    assert sample_to_folder(points, tmp_path, COUNT, **OPTIONS).new == 1
    assert part.read_bytes() == before


def test_force_writes_all_parts_of_the_shard_anew(tmp_path: Path, points: Path) -> None:
    sample_to_folder(points, tmp_path, COUNT, **OPTIONS)
    before = content(tmp_path)
    nodes = {path: path.stat().st_ino for path in tmp_path.glob("part*")}
    assert sample_to_folder(points, tmp_path, COUNT, **OPTIONS).new == 0
    assert sample_to_folder(points, tmp_path, COUNT, shard=(1, 2), force=True, **OPTIONS).new == 3
    assert content(tmp_path) == before
    assert sum(path.stat().st_ino != node for path, node in nodes.items()) == 3


def test_interrupt_leaves_whole_parts_only(
    tmp_path: Path, points: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    drawn, calls = sampling.model_files.sample, []

    def interrupted(*arguments: Any) -> Any:
        calls.append(arguments)
        if len(calls) == 7:  # one call before any work, then two chunks a part: this is the second of the third part
            raise KeyboardInterrupt
        return drawn(*arguments)

    monkeypatch.setattr(sampling.model_files, "sample", interrupted)
    command = ["sample", str(points), "--out", f"{tmp_path / 'out'}/", *COMMAND]
    assert main(command) == 130
    assert capsys.readouterr().err.split() == ["ddpm:", "interrupted"]
    assert sorted(content(tmp_path / "out")) == [
        "_samples.json",
        "part-00000-of-00007.parquet",
        "part-00001-of-00007.parquet",
    ]
    assert main(command) == 0
    assert capsys.readouterr().out == f"wrote 5 parts (2 were already there), rows 7 to 106, to {tmp_path / 'out'}/\n"


def test_the_bar_counts_what_was_there(tmp_path: Path, points: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bars = []

    def watched(*arguments: Any, **options: Any) -> Any:
        bars.append(progress_bar(*arguments, **options))
        return bars[-1]

    progress_bar = sampling.progress_bar
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(sampling, "progress_bar", watched)
    sample_to_folder(points, tmp_path, COUNT, shard=(1, 2), progress=True, **OPTIONS)
    sample_to_folder(points, tmp_path, COUNT, progress=True, **OPTIONS)
    assert [(bar.initial, bar.n, bar.total) for bar in bars] == [(0, 48, 48), (48, COUNT, COUNT)]


# ---- refused


def error(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    assert main([str(argument) for argument in arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    match = re.fullmatch(r"ddpm(?: \(rank \d+\))?: error: (.+)\n", captured.err)
    assert match, captured.err
    return match[1]


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
    for text, said in (("{", "is not a valid record"), ("[]", "is not a valid"), ('{"version": 9}', "version 9; this")):
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


# ---- torchrun


def test_torchrun_gives_each_process_a_shard(
    tmp_path: Path, points: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "3")
    assert main(["sample", str(points), "--out", f"{tmp_path}/s/", *COMMAND]) == 0
    assert capsys.readouterr().out == f"wrote 2 parts of shard 2/3, rows 39 to 70, to {tmp_path}/s/\n"
    assert main(["sample", str(points), "--out", f"{tmp_path}/s/", *COMMAND, "--shard", "1/64"]) == 0
    assert capsys.readouterr().out == f"nothing to do of shard 1/64: {tmp_path}/s/ has 7 parts in all\n"
    said = error(capsys, "sample", points, "--out", tmp_path / "x.npy", *COMMAND)
    assert said == f"3 processes would write one file, {tmp_path}/x.npy: give --out a folder, such as samples/"


@pytest.mark.parametrize(("rank", "size"), [("3", "3"), ("x", "3"), ("0", ""), ("-1", "3"), ("0", "0")])
def test_an_environment_of_something_else(rank: str, size: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert torchrun.rank_and_size() == (0, 1)
    monkeypatch.setenv("WORLD_SIZE", size)
    assert torchrun.rank_and_size() == (0, 1)
    monkeypatch.setenv("RANK", rank)
    with pytest.raises(ValueError, match=f"RANK='{rank}' and WORLD_SIZE='{size}'; RANK must be from 0"):
        torchrun.rank_and_size()


# ---- memory


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


# ---- far on in the stream


def test_classes_far_on_have_an_order_of_their_own() -> None:
    counts = np.array([8, 8, 8], dtype=np.intp)
    near, far = (draw(counts, 24, 24 * block, 0) for block in (3, 3 + 2**32))
    assert np.array_equal(np.bincount(far), counts)
    assert not np.array_equal(near, far)


@pytest.mark.parametrize("kind", ["table", "points"])
def test_samples_beyond_32_bits(tmp_path: Path, folder_of_models: Path, kind: str) -> None:
    model, options = folder_of_models / f"{kind}.safetensors", OPTIONS | {"first": 2**32 - 40}
    sample_to_folder(model, tmp_path / "one", 80, **options)
    for i in (1, 2, 3):
        sample_to_folder(model, tmp_path / "three", 80, shard=(i, 3), **options)
    assert content(tmp_path / "one") == content(tmp_path / "three")
    sample_to_file(model, tmp_path / "near.parquet", 40, **OPTIONS | {"first": 0})
    far = pd.read_parquet(tmp_path / "one" / "part-00003-of-00005.parquet")  # begins 8 rows beyond 2^32
    near = pd.read_parquet(tmp_path / "near.parquet")[8:24].reset_index(drop=True)
    assert len(far) == len(near)
    assert not np.isclose(far.select_dtypes("float"), near.select_dtypes("float")).all(1).any()
    sample_to_folder(model, tmp_path / "last", 2, **OPTIONS | {"first": 2**48 - 2})
