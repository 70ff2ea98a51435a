"""The `ddpm` command: what it writes and prints, and that each mistake gives one line that names the culprit."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from running import FAST, TUTORIAL, error

import ddpm
from ddpm.commands import main

ROOT = Path(__file__).parents[1]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    network = ddpm.GaussianMLP(dim=2, hidden=(4,), seed=0)
    ddpm.save(ddpm.Diffusion(network, ddpm.Schedule.constant(10, 0.1), backend="vectorized"), path)
    return path


@pytest.mark.parametrize("arguments", [[], ["demo"], ["train"], ["sample"], ["evaluate"], ["info"], ["backends"]])
def test_help(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    assert main([*arguments, "--help"]) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith(" ".join(["Usage: ddpm", *arguments]))
    assert captured.err == ""


def test_no_arguments_show_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    alone = capsys.readouterr().out
    assert main(["--help"]) == 0
    assert capsys.readouterr().out == alone


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"ddpm {ddpm.__version__}\n"


def test_backends_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["backends"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(ddpm.backends())
    assert [line.split(maxsplit=1)[1] for line in lines] == list(ddpm.backends().values())


def test_existing_outputs_need_force(capsys: pytest.CaptureFixture[str], data: Path, model: Path) -> None:
    before = model.read_bytes()
    train = ["train", str(data), "--out", str(model), "--steps", "1", "--timesteps", "3", *TUTORIAL]
    assert "model.safetensors: exists already" in error(capsys, *train)
    assert model.read_bytes() == before
    assert main([*train, "--force"]) == 0
    assert model.read_bytes() != before
    capsys.readouterr()

    before = data.read_bytes()
    sample = ["sample", str(model), "--count", "3", "--out", str(data), *FAST]
    assert "data.npy: exists already" in error(capsys, *sample)
    assert data.read_bytes() == before
    assert main([*sample, "--force"]) == 0
    assert np.load(data).shape == (3, 2)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nonsense"], "No such command 'nonsense'"),
        (["--nonsense"], "No such option"),
        (["train"], "Missing argument 'DATA'"),
        (["train", "{data}"], "Missing option '--out'"),
        (["train", "{data}", "--out", "run.npy"], "run.npy does not end in .safetensors"),
        (["train", "{data}", "--out", "{tmp}/no/run.safetensors"], "/no does not exist"),
        (["train", "missing.csv", "--out", "{run}"], "missing.csv: No such file"),
        (["train", "{tmp}", "--out", "{run}"], ": is a folder without .parquet files"),
        (["train", "{data}", "--out", "{run}", "--steps", "0"], "'--steps': 0 is not in the range"),
        (["train", "{data}", "--out", "{run}", "--hidden", "x"], "'--hidden': 'x' is not a width, or several"),
        (["train", "{data}", "--out", "{run}", "--hidden", "64,0"], "'--hidden': '64,0' is not a width"),
        (["train", "{data}", "--out", "{run}", "--columns", "0,,1"], "'--columns': '0,,1' has an empty name"),
        (["train", "{data}", "--out", "{run}", "--columns", "0,2"], "has no column '2'; its columns are 0, 1"),
        (["train", "{data}", "--out", "{run}", "--target", "kind"], "has no column 'kind'; its columns are 0, 1"),
        (["train", "{data}", "--out", "{run}", "--transform", "log"], "'--transform': 'log' is not one of"),
        (
            ["train", "{data}", "--out", "{run}", "--target", "1", "--tutorial"],
            "--target cannot be used with --tutorial",
        ),
        (["train", "{data}", "--out", "{run}", "--batch-size", "5", "--tutorial"], "--batch-size cannot be used with"),
        (["train", "{data}", "--out", "{run}", "--schedule", "linear"], "--schedule can only be used with --tutorial"),
        (["evaluate", "{model}", "{data}"], "model.safetensors: was trained with --tutorial"),
        (["evaluate", "{data}", "{data}"], "data.npy"),
        (["info", "{data}"], "data.npy' is not a complete safetensors file"),
        (["info", "{tmp}"], ": is a folder, not a model file"),
        (["sample", "{tmp}", "--count", "1", "--out", "{tmp}/x.npy"], ": is a folder, not a model file"),
        (
            ["sample", "{model}", "--count", str(10**15), "--out", "{tmp}/x.npy"],
            "count must be from 1 to 281474976710656",
        ),
        (["train", "{data}", "--out", "{tmp}/" + 260 * "a" + ".safetensors"], "the name has 272 bytes"),
        (["info", "missing.safetensors"], "no model file 'missing.safetensors'"),
        (["train", "{data}", "--out", "{run}", "--lr", "0"], "'--lr': 0.0 is not in the range"),
        (["train", "{data}", "--out", "{run}", "--lr", "nan"], "nan"),
        (["train", "{data}", "--out", "{run}", "--schedule", "none"], "'--schedule': 'none' is not one of"),
        (["train", "{data}", "--out", "{run}", "--backend", "none"], "'none'"),
        (["train", "{data}", "--out", "{run}", "--seed", str(2**64)], str(2**64)),
        (["sample", "{model}", "--out", "x.npy"], "Missing option '--count'"),
        (["sample", "{model}", "--count", "-1", "--out", "x.npy"], "'--count': -1 is not in the range"),
        (["sample", "{model}", "--count", "1", "--out", "x.txt"], "x.txt: must be a .csv, .parquet or .npy file"),
        (["sample", "{model}", "--count", "1", "--out", "{tmp}/x.npy", "--backend", "none"], "'none'"),
        (["sample", "missing.safetensors", "--count", "1", "--out", "{tmp}/x.npy"], "missing.safetensors"),
        (["sample", "{data}", "--count", "1", "--out", "{tmp}/x.npy"], "data.npy"),
        (["demo", "--out", "{data}"], "data.npy: File exists"),
        (["demo", "--out", "{tmp}/demo", "--backend", "none"], "'none'"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing_behind(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    data: Path,
    model: Path,
    arguments: list[str],
    said: str,
) -> None:
    places = {"data": data, "model": model, "run": tmp_path / "run.safetensors", "tmp": tmp_path}
    assert said in error(capsys, *(argument.format(**places) for argument in arguments))
    assert {path.name for path in tmp_path.iterdir() if path.is_file()} == {data.name, model.name}
    assert not (tmp_path / "demo").exists()


def test_interrupt_is_one_line_and_leaves_nothing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, data: Path
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(ddpm, "train", interrupted)
    assert main(["train", str(data), "--out", str(tmp_path / "run.safetensors"), *TUTORIAL]) == 130
    assert capsys.readouterr().err.split() == ["ddpm:", "interrupted"]
    assert list(tmp_path.iterdir()) == [data]


def command(*arguments: Any, **streams: Any) -> "subprocess.CompletedProcess[str]":
    """Run the command as a process, with some of its streams redirected."""
    line = [sys.executable, "-m", "ddpm", *arguments]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(line, env=environment, text=True, check=False, **streams)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, which is like a full disk")
def test_what_was_saved_is_said_where_standard_output_is_full(tmp_path: Path, data: Path) -> None:
    run = tmp_path / "run.safetensors"
    with open("/dev/full", "w") as full:
        ran = command(
            *("train", data, "--out", run, "--steps", "1", "--timesteps", "3", *TUTORIAL),
            stdout=full,
            stderr=subprocess.PIPE,
        )
    assert ran.returncode == 0, ran.stderr
    assert run.exists()
    first, *said, last = ran.stderr.splitlines()
    assert first == "ddpm: warning: standard output: No space left on device"
    assert said == [f"{data}: 50 rows, 2 columns (without names)"]
    assert last.endswith(f"wrote {run}")


@pytest.mark.skipif(os.name != "posix", reason="needs a POSIX shell to close a stream")
def test_without_standard_error(tmp_path: Path, data: Path) -> None:
    run = tmp_path / "run.safetensors"
    script = f"exec {sys.executable} -m ddpm train {data} --out {run} --steps 1 --timesteps 3 --tutorial 2>&-"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    ran = subprocess.run(["sh", "-c", script], env=environment, stdout=subprocess.PIPE, text=True, check=False)
    assert ran.returncode == 0
    assert f"wrote {run}" in ran.stdout


def test_a_model_of_nan_is_not_sampled(capsys: pytest.CaptureFixture[str], tmp_path: Path, model: Path) -> None:
    broken = ddpm.load(model)
    with torch.no_grad():
        next(broken.parameters()).fill_(torch.nan)
    ddpm.save(broken, model)
    said = error(capsys, "sample", model, "--count", "3", "--out", tmp_path / "x.npy")
    assert said == "the samples are not finite: the weights of the model are not finite, or too large"
    assert not (tmp_path / "x.npy").exists()


def test_runs_from_a_source_tree_without_install_display_or_terminal(tmp_path: Path, data: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if key not in ("DISPLAY", "MPLBACKEND")}
    run = tmp_path / "run.safetensors"
    ran = subprocess.run(
        [
            sys.executable,
            "-m",
            "ddpm",
            "train",
            data,
            "--out",
            run,
            "--steps",
            "5",
            "--timesteps",
            "5",
            *TUTORIAL,
        ],
        env=environment | {"PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr == ""  # no progress bar in a log
    assert run.exists()


def test_help_does_not_wait_for_torch_or_matplotlib() -> None:
    code = (
        "import sys, ddpm; before = set(sys.modules); import ddpm.commands;"
        "new = set(sys.modules) - before;"
        "assert not new & {'torch', 'matplotlib', 'scipy', 'numpy'}, new"
    )
    subprocess.run([sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": str(ROOT)}, check=True)


@pytest.mark.parametrize("backend", ["native", "compiled"])
def test_a_broken_compiler_is_one_line(backend: str, data: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\necho 'x.cpp:1: error: no such thing' >&2\nexit 1\n")
    broken.chmod(0o755)
    environment = {name: str(tmp_path / "cache") for name in ("XDG_CACHE_HOME", "TORCHINDUCTOR_CACHE_DIR")}
    command = [sys.executable, "-m", "ddpm", "train", str(data), "--tutorial", "--backend", backend]
    ran = subprocess.run(
        [*command, "--out", str(tmp_path / "model.safetensors")],
        env=os.environ | environment | {"CXX": str(broken), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 2
    said = ran.stderr.splitlines()[-1]
    assert said.startswith(f"ddpm: error: backend '{backend}' is not available: ")
    assert str(broken) in said
    assert "Traceback" not in ran.stderr
