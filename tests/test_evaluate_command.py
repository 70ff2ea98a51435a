"""`ddpm evaluate` and `ddpm info`."""

import re
from pathlib import Path
from typing import Any

import pytest
from running import SHORT, run

from ddpm.commands import main

pd = pytest.importorskip("pandas")
pytest.importorskip("pyarrow")
pytest.importorskip("sklearn")


def test_evaluate_reads_the_columns_of_the_model(
    tmp_path: Path, flowers: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("ot")
    flowers.to_csv(tmp_path / "x.csv", index=False)
    options = ["--columns", "weight,petals", "--target", "kind"]
    run("train", tmp_path / "x.csv", "--out", tmp_path / "m.safetensors", *options, *SHORT)
    capsys.readouterr()
    flowers[["wild", "kind", "petals", "weight"]].to_parquet(tmp_path / "fresh.parquet")
    run("evaluate", tmp_path / "m.safetensors", tmp_path / "fresh.parquet", "--out", tmp_path / "figures")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{tmp_path / 'fresh.parquet'}: 200 rows, 3 columns (weight, petals, kind)"
    assert "100 rows of data on each side" in lines
    assert [line.split()[0] for line in lines[-3:-1]] == ["weight", "petals"]
    pictures = {path.name for path in (tmp_path / "figures").iterdir()}
    assert pictures == {"columns.png", "reverse.png", "terms.png"}


def test_evaluate_says_what_is_wrong_before_it_begins(
    tmp_path: Path, flowers: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    flowers.to_csv(tmp_path / "x.csv", index=False)
    run("train", tmp_path / "x.csv", "--target", "kind", "--out", tmp_path / "m.safetensors", *SHORT)
    flowers.assign(kind="oak").to_csv(tmp_path / "oak.csv", index=False)
    flowers.assign(kind=["oak", *flowers["kind"][1:]]).to_csv(tmp_path / "one.csv", index=False)
    flowers.drop(columns="petals").to_csv(tmp_path / "less.csv", index=False)
    for data, options, said in (
        ("oak.csv", [], "oak.csv: y must hold classes seen in fit, rose, tulip; got oak"),
        *(("one.csv", ["--seed", str(seed)], "one.csv: y must hold classes seen in fit") for seed in range(4)),
        ("x.csv", ["--columns", "petals,weight"], "--columns must have all columns of the model; 'length, cm' is miss"),
        ("less.csv", [], "less.csv: has no column 'petals'; its columns are length, cm, kind, wild, weight"),
        ("x.csv", ["--seed", "-1"], "seed must be from 0 to 4294967295; got -1"),
        ("x.csv", ["--out", str(tmp_path / "x.csv")], "x.csv: File exists"),
    ):
        assert main(["evaluate", str(tmp_path / "m.safetensors"), str(tmp_path / data), *options]) == 2
        assert said in capsys.readouterr().err


def test_evaluate_without_the_classes(tmp_path: Path, flowers: Any, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("ot")
    flowers.to_csv(tmp_path / "x.csv", index=False)
    run("train", tmp_path / "x.csv", "--target", "kind", "--out", tmp_path / "m.safetensors", *SHORT)
    flowers.drop(columns="kind").to_csv(tmp_path / "y.csv", index=False)
    capsys.readouterr()
    run("evaluate", tmp_path / "m.safetensors", tmp_path / "y.csv", "--out", tmp_path / "figures")
    assert "4 columns (length, cm, petals, wild, weight)" in capsys.readouterr().out
    assert {path.name for path in (tmp_path / "figures").iterdir()} == {"columns.png"}  # the bound needs the classes


def test_a_row_that_was_taken_for_names_is_not_lost(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [f"{i % 7},{i % 3 + 3},{'ab'[i % 2]}" for i in range(60)]
    (tmp_path / "x.csv").write_text("\n".join(rows))
    run("train", tmp_path / "x.csv", "--target", 2, "--out", tmp_path / "m.safetensors", *SHORT)
    (tmp_path / "y.csv").write_text("\n".join(["5,4,seldom", *rows]))
    capsys.readouterr()
    assert main(["evaluate", str(tmp_path / "m.safetensors"), str(tmp_path / "y.csv")]) == 2
    assert "y.csv: its first row (5, 4, seldom, ...) was read as column names" in capsys.readouterr().err


def test_info_describes_a_model(tmp_path: Path, flowers: Any, capsys: pytest.CaptureFixture[str]) -> None:
    flowers.to_csv(tmp_path / "x.csv", index=False)
    run("train", tmp_path / "x.csv", "--target", "kind", "--seed", 5, "--out", tmp_path / "m.safetensors", *SHORT)
    capsys.readouterr()
    run("info", tmp_path / "m.safetensors")
    said = dict(re.split(r"  +", line, maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert said["columns"] == "length, cm, petals, kind, wild, weight"
    assert said["classes"] == "rose, tulip"
    assert (said["transform"], said["hidden layers"], said["iterations"], said["seed"]) == ("power", "8, 8", "30", "5")
    assert said["schedule"].startswith("Schedule(steps=20")
