"""The samples are the same bytes for every split, on torchrun too, and beyond 2^32."""

import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from running import error
from sampled import COMMAND, COUNT, NO_MODEL, OPTIONS, PARTS, content, process

from ddpm import sample_parts, sampling, table_files, torchrun
from ddpm.classes import draw
from ddpm.commands import main
from ddpm.sample_parts import Run
from ddpm.sampling import sample_to_file, sample_to_folder

pd = pytest.importorskip("pandas")
pytest.importorskip("pyarrow")
pytest.importorskip("sklearn")

pytestmark = pytest.mark.one_thread


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
