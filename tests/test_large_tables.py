"""Tables that are read in parts: the same ranges, classes and decimals as in memory, a good model, little memory."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ddpm
from ddpm import table_files

pd = pytest.importorskip("pandas")
pytest.importorskip("pyarrow")
pytest.importorskip("sklearn")

from ddpm import large_tables  # noqa: E402  # needs scikit-learn


def table(rows: int) -> Any:
    rng = np.random.default_rng(0)
    kind = rng.choice(["a", "b", "c"], rows, p=[0.5, 0.3, 0.2])
    x = rng.standard_normal(rows) + 3.0 * (kind == "a")
    return pd.DataFrame(
        {"x": x.round(2), "kind": kind, "n": rng.integers(-5, 5, rows), "y": 0.5 * x + rng.random(rows)}
    )


def parts(path: Path, frame: Any, target: str | None, rows: int) -> table_files.Parts:
    frame.to_parquet(path, row_group_size=300)
    return table_files.parts_of(path, target, None, rows)


def test_parts_are_the_whole(tmp_path: Path) -> None:
    frame, found = table(1000), parts(tmp_path / "x.parquet", table(1000), "kind", 128)
    assert (found.rows, found.columns) == (1000, (("x", "kind", "n", "y"), 1))
    for _ in range(2):
        x, y = zip(*found.read(), strict=True)
        assert max(map(len, x)) <= 128
        pd.testing.assert_frame_equal(pd.concat(x, ignore_index=True), frame.drop(columns="kind"))
        assert np.array_equal(np.concatenate(y), frame["kind"])
    np.save(tmp_path / "x.npy", frame[["x", "y"]].to_numpy())
    found = table_files.parts_of(tmp_path / "x.npy", None, None, 128)
    assert np.array_equal(np.concatenate([x for x, _ in found.read()]), frame[["x", "y"]])


def test_a_bad_number_in_a_later_part_is_named_with_its_row(tmp_path: Path) -> None:
    frame = table(1000)
    frame.loc[777, "y"] = np.inf
    found = parts(tmp_path / "x.parquet", frame, "kind", 128)
    with pytest.raises(ValueError, match=r"x\.parquet, row 777 \(from 0\), column 'y': inf is not a finite number"):
        list(found.read())
    frame.loc[900, "x"] = np.nan
    found = parts(tmp_path / "x.parquet", frame.drop(columns="y"), "kind", 128)
    with pytest.raises(ValueError, match=r"row 900 \(from 0\), column 'x': is missing"):
        list(found.read())


def test_a_model_of_parts_is_like_one_of_the_whole(tmp_path: Path) -> None:
    frame = table(20_000)
    options: dict[str, Any] = {"steps": 400, "timesteps": 50, "random_state": 0}
    whole = ddpm.DDPM(**options).fit(frame.drop(columns="kind"), frame["kind"])
    model = large_tables.fit(ddpm.DDPM(**options), parts(tmp_path / "x.parquet", frame, "kind", 1000))
    assert list(model.classes_) == list(whole.classes_)
    for name in ("class_counts_", "_low", "_high"):
        assert np.array_equal(getattr(model, name), getattr(whole, name)), name
    assert model._table == whole._table
    assert list(model.feature_names_in_) == ["x", "n", "y"]
    fresh = frame[:2000]
    scores = [m.score(fresh.drop(columns="kind"), fresh["kind"]) for m in (model, whole)]
    assert scores[0] == pytest.approx(scores[1], abs=0.05)
    rows, classes = model.sample(2000)
    assert list(rows.dtypes) == list(frame.drop(columns="kind").dtypes)
    assert np.mean(classes == "a") == pytest.approx(0.5, abs=0.05)


def test_what_parts_cannot_do_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = parts(tmp_path / "x.parquet", table(100), "kind", 50)
    with pytest.raises(ValueError, match="validation_fraction must be 0 for a table that is read in parts"):
        large_tables.fit(ddpm.DDPM(validation_fraction=0.2), found)
    monkeypatch.setattr(large_tables.shutil, "disk_usage", lambda folder: type("Usage", (), {"free": 10}))
    with pytest.raises(OSError, match=r"has room for 1\.0e\+01 bytes; .* are needed: set TMPDIR to another folder"):
        large_tables.fit(ddpm.DDPM(), found)


@pytest.mark.filterwarnings("default::UserWarning")
def test_a_column_that_seldom_varies_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large_tables, "SAMPLE", 50)
    frame = table(2000)[["x", "n"]]
    frame["rare"] = np.arange(2000) == 777
    with pytest.warns(UserWarning, match="column rare varies in so few rows that it is treated as constant"):
        model = large_tables.fit(
            ddpm.DDPM(steps=2, timesteps=5, random_state=0), parts(tmp_path / "x.parquet", frame, None, 500)
        )
    assert not model.sample(10)["rare"].any()


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_what_was_fitted_before_is_kept(tmp_path: Path, error: type[BaseException]) -> None:
    frame = table(500)
    model = ddpm.DDPM(steps=2, timesteps=5).fit(100 + frame[["x", "y"]])
    before = model.sample(5)
    found = parts(tmp_path / "x.parquet", frame, "kind", 100)

    def fails() -> Any:
        raise error("in the second pass")
        yield

    reads = iter([found.read(), fails()])
    with pytest.raises(error, match="in the second pass"):
        large_tables.fit(model, found._replace(read=lambda: next(reads)))
    pd.testing.assert_frame_equal(model.sample(5), before)


def test_too_many_classes_in_all_parts_together(tmp_path: Path) -> None:
    frame = table(2000)[["x", "n"]].assign(kind=np.arange(2000))
    with pytest.raises(ValueError, match="y must hold at most 1000 different classes; got 2000"):
        large_tables.fit(ddpm.DDPM(steps=2), parts(tmp_path / "x.parquet", frame, "kind", 500))


@pytest.mark.skipif(sys.platform != "linux", reason="limits the memory in Linux's way")
@pytest.mark.parametrize("suffix", [".parquet", ".npy"])
def test_a_table_larger_than_the_memory_that_is_left(tmp_path: Path, suffix: str) -> None:
    """Train on 4 million rows of 8 numbers: 256 MB as float64, 384 MB with the copy that training reads.

    The process may use 450 MB more than it has once it is ready. With the table in memory, it would need more.
    """
    path, out = tmp_path / f"x{suffix}", tmp_path / "m.safetensors"
    rng = np.random.default_rng(0)
    if suffix == ".npy":
        stored = np.lib.format.open_memmap(path, "w+", np.float64, (4_000_000, 8))
        for start in range(0, len(stored), 500_000):
            stored[start : start + 500_000] = rng.standard_normal((500_000, 8))
        stored.flush()
    else:
        pq = pytest.importorskip("pyarrow.parquet")
        pa = pytest.importorskip("pyarrow")
        names = [f"c{i}" for i in range(8)]
        with pq.ParquetWriter(path, pa.schema([(name, pa.float64()) for name in names])) as writer:
            for _ in range(8):
                writer.write_table(pa.table({name: rng.standard_normal(500_000) for name in names}))
    code = f"""
import re, resource, sys
from pathlib import Path
import numpy as np
import ddpm
from ddpm import large_tables, table_files
from ddpm.commands import main
ddpm.DDPM(steps=2, timesteps=5).fit(np.random.default_rng(0).standard_normal((1000, 8)))  # what is loaded at first use
table_files.LARGE = 2**20
data = 1024 * int(re.search(r"VmData:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
resource.setrlimit(resource.RLIMIT_DATA, (data + 450_000_000,) * 2)
sys.exit(main(["train", {str(path)!r}, "--out", {str(out)!r}, "--steps", "20", "--timesteps", "10"]))
"""
    # The other allocators of pyarrow reserve a gigabyte of addresses. With an arena for each thread, chance decides how
    # much freed memory glibc keeps: 380 to 450 MB were needed; with one arena, less than 300 MB.
    environment = os.environ | {"ARROW_DEFAULT_MEMORY_POOL": "system", "MALLOC_ARENA_MAX": "1"}
    ran = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert out.exists()
