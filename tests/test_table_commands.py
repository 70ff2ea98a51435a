"""`ddpm train` and `ddpm sample` on tables: sample writes tables like those that train reads."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from running import SHORT, run

import ddpm
from ddpm import table_files
from ddpm.commands import main

pd = pytest.importorskip("pandas")
pytest.importorskip("pyarrow")
pytest.importorskip("sklearn")


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_samples_have_the_form_of_the_table(
    tmp_path: Path, flowers: Any, suffix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    table, model, out = tmp_path / f"x{suffix}", tmp_path / "m.safetensors", tmp_path / f"s{suffix}"
    flowers.to_csv(table, index=False) if suffix == ".csv" else flowers.to_parquet(table)
    run("train", table, "--target", "kind", "--out", model, *SHORT)
    read, trained = capsys.readouterr().out.splitlines()
    assert read == f"{table}: 200 rows, 5 columns (length, cm, petals, kind, wild, weight)"
    assert re.fullmatch(r"bound -?\d+\.\d{3} nats a row; wrote .*m\.safetensors", trained)

    run("sample", model, "--count", 200, "--out", out)
    samples = pd.read_csv(out) if suffix == ".csv" else pd.read_parquet(out)
    assert list(samples.columns) == list(flowers.columns)
    assert [dtype.kind for dtype in samples.dtypes] == [dtype.kind for dtype in flowers.dtypes]
    assert samples["kind"].value_counts().to_dict() == flowers["kind"].value_counts().to_dict()
    assert samples["petals"].between(3, 8).all()
    assert np.array_equal(samples["length, cm"], samples["length, cm"].round(1))

    part = tmp_path / f"part{suffix}"
    run("sample", model, "--count", 50, "--first", 150, "--out", part)
    rest = pd.read_csv(part) if suffix == ".csv" else pd.read_parquet(part)
    pd.testing.assert_frame_equal(rest, samples[150:].reset_index(drop=True), rtol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "int16"])
def test_npy_comes_back_as_npy(tmp_path: Path, dtype: str) -> None:
    x = (10 * np.random.default_rng(0).standard_normal((100, 3))).astype(dtype)
    np.save(tmp_path / "x.npy", x)
    run("train", tmp_path / "x.npy", "--out", tmp_path / "m.safetensors", *SHORT)
    run("sample", tmp_path / "m.safetensors", "--count", 7, "--out", tmp_path / "s.npy")
    samples = np.load(tmp_path / "s.npy")
    assert samples.dtype == x.dtype
    assert samples.shape == (7, 3)


def test_a_file_without_names_gives_one_without(tmp_path: Path) -> None:
    rows = [f"{i % 7},{i % 2},{i / 8}" for i in range(40)]
    (tmp_path / "x.csv").write_text("\n".join(rows))
    run("train", tmp_path / "x.csv", "--target", 1, "--out", tmp_path / "m.safetensors", *SHORT)
    run("sample", tmp_path / "m.safetensors", "--count", 5, "--out", tmp_path / "s.csv")
    lines = (tmp_path / "s.csv").read_text().splitlines()
    assert len(lines) == 5
    assert all(re.fullmatch(r"[0-6],[01],-?\d+\.\d+", line) for line in lines)


def test_columns_are_chosen(tmp_path: Path, flowers: Any) -> None:
    flowers.to_csv(tmp_path / "x.csv", index=False)
    options = ["--columns", "weight,petals", "--transform", "quantile", "--batch-size", "16", "--lr", "0.005"]
    run("train", tmp_path / "x.csv", "--out", tmp_path / "m.safetensors", *options, *SHORT)
    model = ddpm.DDPM.load(tmp_path / "m.safetensors")
    assert (model.scaling, model.batch_size, model.learning_rate, model.hidden) == ("quantile", 16, 0.005, (8, 8))
    run("sample", tmp_path / "m.safetensors", "--count", 3, "--out", tmp_path / "s.csv")
    assert list(pd.read_csv(tmp_path / "s.csv").columns) == ["weight", "petals"]


def test_the_command_gives_the_model_of_python(tmp_path: Path, flowers: Any) -> None:
    flowers.to_parquet(tmp_path / "x.parquet")
    run("train", tmp_path / "x.parquet", "--target", "kind", "--seed", 3, "--out", tmp_path / "m.safetensors", *SHORT)
    here = ddpm.DDPM((8, 8), timesteps=20, steps=30, random_state=3).fit(flowers.drop(columns="kind"), flowers["kind"])
    there = ddpm.DDPM.load(tmp_path / "m.safetensors")
    for p, q in zip(here.diffusion_.parameters(), there.diffusion_.parameters(), strict=True):
        assert torch.equal(p, q)


def test_text_that_npy_cannot_hold_is_refused_before_sampling(
    tmp_path: Path, flowers: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    flowers.to_csv(tmp_path / "x.csv", index=False)
    run("train", tmp_path / "x.csv", "--target", "kind", "--out", tmp_path / "m.safetensors", *SHORT)
    assert main(["sample", str(tmp_path / "m.safetensors"), "--count", "3", "--out", str(tmp_path / "s.npy")]) == 2
    assert "s.npy: a .npy file holds only numbers, but the table has text" in capsys.readouterr().err
    assert not (tmp_path / "s.npy").exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x\n1\n", "x.csv: has only one row; training needs at least two"),
        ("x,y\n1,2\n1,2\n", "x.csv: X must have a column with two different values"),
        ("x\n1e308\n-1e308\n", "x.csv: X has numbers up to 1e+308, whose squares overflow float64: scale it down"),
        ("a,b\n1,2\n3,cat\n", "x.csv, line 3, column 'b': 'cat' is not a number"),
    ],
)
def test_tables_that_teach_nothing(tmp_path: Path, text: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.csv").write_text(text)
    assert main(["train", str(tmp_path / "x.csv"), "--out", str(tmp_path / "m.safetensors")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
    assert not (tmp_path / "m.safetensors").exists()


def test_an_offset_loses_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    np.save(tmp_path / "x.npy", 1e7 + rng.standard_normal((2000, 1)))
    run("train", tmp_path / "x.npy", "--out", tmp_path / "m.safetensors", "--steps", 300)
    assert capsys.readouterr().err == ""
    run("sample", tmp_path / "m.safetensors", "--count", 1000, "--out", tmp_path / "s.npy")
    samples = np.load(tmp_path / "s.npy")
    assert len(np.unique(samples)) > 990  # float32 has 8 numbers in this range
    assert samples.mean() == pytest.approx(1e7, abs=0.2)
    assert samples.std() == pytest.approx(1, abs=0.2)


@pytest.mark.filterwarnings("default::UserWarning:ddpm")
def test_numbers_that_float32_cannot_tell_apart_are_warned_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    x = np.stack([rng.standard_normal(1000), np.where(np.arange(1000) == 0, 1e12, rng.standard_normal(1000))], 1)
    pd.DataFrame(x, columns=["fine", "far"]).to_csv(tmp_path / "x.csv", index=False)
    run("train", tmp_path / "x.csv", "--out", tmp_path / "m.safetensors", *SHORT)
    (line,) = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"ddpm: warning: column far has 1000 different numbers, but in float32 only \d+", line)


def test_columns_without_names_are_counted_anew(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    x = np.random.default_rng(0).standard_normal((100, 3)) * [1, 100, 1] + [0, 1000, 5]
    np.save(tmp_path / "x.npy", x)
    run("train", tmp_path / "x.npy", "--columns", "1,0", "--out", tmp_path / "m.safetensors", "--steps", 300)
    run("sample", tmp_path / "m.safetensors", "--count", 60, "--out", tmp_path / "s.npy")
    assert np.load(tmp_path / "s.npy")[:, 0].mean() == pytest.approx(1000, abs=60)
    capsys.readouterr()
    run("evaluate", tmp_path / "m.safetensors", tmp_path / "s.npy")
    of_samples = capsys.readouterr().out.splitlines()
    run("evaluate", tmp_path / "m.safetensors", tmp_path / "x.npy", "--columns", "1,0")
    of_data = capsys.readouterr().out.splitlines()
    for lines in (of_samples, of_data):
        assert float(lines[2].split()[4]) > -10  # nats a row, about -7; columns in another order would give -1e5
    assert main(["evaluate", str(tmp_path / "m.safetensors"), str(tmp_path / "x.npy")]) == 2
    said = capsys.readouterr().err
    assert "x.npy: has 3 columns, but the model was trained on 2: choose them with --columns" in said


@pytest.mark.parametrize("named", [True, False])
def test_models_of_python_are_sampled_too(tmp_path: Path, named: bool, flowers: Any) -> None:
    x = flowers[["weight", "petals"]].rename(columns={"petals": "class"})
    x, expected = (x, ["weight", "class", "class_0"]) if named else (x.to_numpy(), [0, 1, 2])
    ddpm.DDPM((8,), timesteps=20, steps=20).fit(x, flowers["kind"]).save(tmp_path / "m.safetensors")
    run("sample", tmp_path / "m.safetensors", "--count", 4, "--out", tmp_path / "s.csv")
    found, y, columns = table_files.read(tmp_path / "s.csv", str(expected[2]))
    assert list(columns.names) == expected
    assert len(found) == 4
    assert set(y) <= {"rose", "tulip"}


def test_a_model_that_is_fitted_again_forgets_the_file(tmp_path: Path, flowers: Any) -> None:
    flowers.to_csv(tmp_path / "x.csv", index=False)
    run("train", tmp_path / "x.csv", "--target", "kind", "--out", tmp_path / "m.safetensors", *SHORT)
    model = ddpm.DDPM.load(tmp_path / "m.safetensors")
    assert model.columns_ == (tuple(flowers.columns), 2)
    assert not hasattr(model.fit(flowers[["weight"]]), "columns_")


def test_a_name_with_a_comma(tmp_path: Path, flowers: Any) -> None:
    flowers.to_csv(tmp_path / "x.csv", index=False)
    options: list[str | Path] = ["--columns", '"length, cm",weight', "--out", tmp_path / "m.safetensors"]
    run("train", tmp_path / "x.csv", *options, *SHORT)
    assert ddpm.DDPM.load(tmp_path / "m.safetensors").columns_ == (("length, cm", "weight"), None)


@pytest.mark.parametrize("classes", [["1", "2"], ["01", "true"], ["NA", "b"]])
def test_classes_of_text_survive_a_csv_file(tmp_path: Path, classes: list[str]) -> None:
    pytest.importorskip("ot")
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.standard_normal(100), "y": 0.1, "k": rng.choice(classes, 100)})
    frame.to_parquet(tmp_path / "x.parquet")
    run("train", tmp_path / "x.parquet", "--target", "k", "--out", tmp_path / "m.safetensors", *SHORT)
    run("sample", tmp_path / "m.safetensors", "--count", 100, "--out", tmp_path / "s.csv")
    assert set(pd.read_csv(tmp_path / "s.csv", dtype=str, keep_default_na=False)["k"]) == set(classes)
    run("evaluate", tmp_path / "m.safetensors", tmp_path / "s.csv")


def test_too_many_classes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.csv").write_text("x,id\n" + "".join(f"{i % 7},{i}\n" for i in range(2000)))
    assert main(["train", str(tmp_path / "x.csv"), "--target", "id", "--out", str(tmp_path / "m.safetensors")]) == 2
    assert "x.csv: y must hold at most 1000 different classes; got 2000" in capsys.readouterr().err
