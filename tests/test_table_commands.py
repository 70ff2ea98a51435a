"""`ddpm train`, `sample`, `evaluate` and `info` on tables: sample writes tables like those that train reads."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import ddpm
from ddpm import table_files
from ddpm.commands import main

pd = pytest.importorskip("pandas")
pytest.importorskip("pyarrow")
pytest.importorskip("sklearn")

FAST = ["--backend", "vectorized"]
TUTORIAL = ["--tutorial", *FAST]
SHORT = ["--steps", "30", "--timesteps", "20", "--hidden", "8,8"]


def run(*arguments: str | Path | int) -> None:
    assert main(list(map(str, arguments))) == 0


@pytest.fixture
def flowers() -> Any:
    """Return a table with all kinds of columns, and the classes in its middle."""
    rng = np.random.default_rng(0)
    kinds = rng.choice(["rose", "tulip"], 200)
    return pd.DataFrame(
        {
            "length, cm": (rng.standard_normal(200) + (kinds == "rose")).round(1),
            "petals": rng.integers(3, 9, 200),
            "kind": kinds,
            "wild": rng.random(200) < 0.3,
            "weight": rng.gamma(2, 1, 200),
        }
    )


# ---- tables


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


# ---- evaluate and info


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
    flowers.drop(columns="petals").to_csv(tmp_path / "less.csv", index=False)
    for data, options, said in (
        ("oak.csv", [], "oak.csv: y must hold classes seen in fit, rose, tulip; got oak"),
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
    assert (said["transform"], said["hidden layers"], said["updates"], said["seed"]) == ("power", "8, 8", "30", "5")
    assert said["schedule"].startswith("Schedule(steps=20")


# ---- the tutorial


@pytest.mark.parametrize("schedule", ["constant", "linear", "cosine"])
def test_train_then_sample(capsys: pytest.CaptureFixture[str], tmp_path: Path, data: Path, schedule: str) -> None:
    run, out = tmp_path / "run.safetensors", tmp_path / "samples.csv"
    options = ["--steps", "3", "--hidden", "5", "--timesteps", "12", "--schedule", schedule, "--seed", "7"]
    assert main(["train", str(data), "--out", str(run), *options, *TUTORIAL]) == 0
    read, trained = capsys.readouterr().out.splitlines()
    assert read == f"{data}: 50 rows, 2 columns (without names)"
    assert re.fullmatch(r"bound -?\d+\.\d{3} nats per dimension; wrote .*run\.safetensors", trained)

    assert main(["sample", str(run), "--count", "10", "--out", str(out), *FAST]) == 0
    assert capsys.readouterr().out == f"wrote 10 samples to {out}\n"
    samples = np.loadtxt(out, delimiter=",", dtype=np.float32)
    assert np.array_equal(samples, ddpm.load(run, backend="vectorized").sample(10).detach().numpy())

    part = tmp_path / "part.npy"
    assert main(["sample", str(run), "--count", "6", "--first", "4", "--out", str(part), *FAST]) == 0
    assert np.array_equal(np.load(part), samples[4:])


def test_training_is_repeatable(tmp_path: Path, data: Path) -> None:
    runs = [tmp_path / "a.safetensors", tmp_path / "b.safetensors"]
    for run in runs:
        assert main(["train", str(data), "--out", str(run), "--steps", "2", "--timesteps", "5", *TUTORIAL]) == 0
    first, second = (ddpm.load(run).state_dict() for run in runs)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_divergence_is_an_error_and_writes_nothing(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, data: Path
) -> None:
    out = tmp_path / "run.safetensors"
    assert main(["train", str(data), "--out", str(out), "--steps", "3", "--lr", "1e38", *TUTORIAL]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("ddpm: error: training diverged")
    assert said.endswith("try a smaller --lr than 1e+38")
    assert list(tmp_path.iterdir()) == [data]


def test_points_that_are_not_like_noise_are_warned_of(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    points = np.random.default_rng(0).standard_normal((2000, 5)) * [1, 100, 0, 3, 1] + [0, 0, 0, 2000, 1e7]
    data, model = tmp_path / "data.csv", tmp_path / "run.safetensors"
    np.savetxt(data, points, delimiter=",", header="a,b,c,d,e", comments="")
    run("train", data, "--out", model, "--steps", 1, "--timesteps", 3, *TUTORIAL)
    far, collapsed = capsys.readouterr().err.splitlines()
    assert far.startswith(f"ddpm: warning: {data}: far from mean 0 and standard deviation 1: b (mean ")
    assert re.search(r"c \(mean 0, standard deviation 0\), d \(mean 2e\+03, standard deviation 2\.\d+\), e", far)
    assert re.fullmatch(rf"ddpm: warning: {data}: e has 2000 different numbers, but in float32 only \d", collapsed)


def test_points_beyond_float32_are_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.array([[0.0, 1.0], [0.0, 1e39]]))
    assert main(["train", str(tmp_path / "x.npy"), "--out", str(tmp_path / "run.safetensors"), *TUTORIAL]) == 2
    assert "x.npy: row 1 (from 0), column 1: 1e+39 overflows float32: scale it" in capsys.readouterr().err
