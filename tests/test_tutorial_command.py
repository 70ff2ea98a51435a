"""`ddpm train --tutorial`, and samples of its model."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from running import FAST, TUTORIAL

import ddpm
from ddpm.commands import main

pd = pytest.importorskip("pandas")
pytest.importorskip("pyarrow")
pytest.importorskip("sklearn")


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
    assert main(list(map(str, ["train", data, "--out", model, "--steps", 1, "--timesteps", 3, *TUTORIAL]))) == 0
    far, collapsed = capsys.readouterr().err.splitlines()
    assert far.startswith(f"ddpm: warning: {data}: far from mean 0 and standard deviation 1: b (mean ")
    assert re.search(r"c \(mean 0, standard deviation 0\), d \(mean 2e\+03, standard deviation 2\.\d+\), e", far)
    assert re.fullmatch(rf"ddpm: warning: {data}: e has 2000 different numbers, but in float32 only \d", collapsed)


def test_points_beyond_float32_are_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.array([[0.0, 1.0], [0.0, 1e39]]))
    assert main(["train", str(tmp_path / "x.npy"), "--out", str(tmp_path / "run.safetensors"), *TUTORIAL]) == 2
    assert "x.npy: row 1 (from 0), column 1: 1e+39 overflows float32: scale it" in capsys.readouterr().err
