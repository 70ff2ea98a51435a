"""A run that was stopped, however often, is continued, and ends with the same bytes."""

import sys
from pathlib import Path
from typing import Any

import pytest
from sampled import COMMAND, COUNT, FIRST, OPTIONS, PARTS, content, process

from ddpm import sampling, table_files
from ddpm.commands import main
from ddpm.sampling import sample_to_folder

pd = pytest.importorskip("pandas")
pytest.importorskip("pyarrow")
pytest.importorskip("sklearn")

pytestmark = pytest.mark.one_thread


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
