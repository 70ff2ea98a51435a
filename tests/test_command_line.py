"""The `ddpm` command: what it writes and prints, and that each mistake is one line that names the culprit."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import ddpm
from ddpm import figures
from ddpm.command_line import main

FAST = ["--backend", "vectorized"]
ROOT = Path(__file__).parents[1]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "data.npy"
    np.save(path, np.random.default_rng(0).standard_normal((50, 2)))
    return path


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    network = ddpm.GaussianMLP(dim=2, hidden=(4,), seed=0)
    ddpm.save(ddpm.Diffusion(network, ddpm.Schedule.constant(10, 0.1), backend="vectorized"), path)
    return path


def error(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    """Run a command that must fail with exit code 2 and one line; return what the line says."""
    assert main([str(argument) for argument in arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    match = re.fullmatch(r"ddpm: error: (.+)\n", captured.err)
    assert match, captured.err
    return match[1]


@pytest.mark.parametrize("arguments", [[], ["demo"], ["train"], ["sample"], ["backends"]])
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


@pytest.mark.parametrize("schedule", ["constant", "linear", "cosine"])
def test_train_then_sample(capsys: pytest.CaptureFixture[str], tmp_path: Path, data: Path, schedule: str) -> None:
    run, out = tmp_path / "run.safetensors", tmp_path / "samples.csv"
    options = ["--steps", "3", "--hidden", "5", "--timesteps", "12", "--schedule", schedule, "--seed", "7"]
    assert main(["train", str(data), "--out", str(run), *options, *FAST]) == 0
    assert re.fullmatch(r"bound -?\d+\.\d{3} nats per dimension; wrote .*run\.safetensors\n", capsys.readouterr().out)

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
        assert main(["train", str(data), "--out", str(run), "--steps", "2", "--timesteps", "5", *FAST]) == 0
    first, second = (ddpm.load(run).state_dict() for run in runs)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_divergence_is_an_error_and_writes_nothing(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, data: Path
) -> None:
    arguments = ["--steps", "3", "--timesteps", "5", "--lr", "1e38", *FAST]
    said = error(capsys, "train", data, "--out", tmp_path / "run.safetensors", *arguments)
    assert said.startswith("training diverged")
    assert said.endswith("try a smaller --lr than 1e+38")
    assert list(tmp_path.iterdir()) == [data]


def test_training_warns_of_columns_far_from_unit_scale(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    points = np.random.default_rng(0).standard_normal((50, 3)) * [1, 100, 0]
    np.savetxt(tmp_path / "data.csv", points, delimiter=",", header="a,b,c", comments="")
    run = tmp_path / "run.safetensors"
    arguments = [
        "train",
        str(tmp_path / "data.csv"),
        "--out",
        str(run),
        "--steps",
        "1",
        "--timesteps",
        "3",
        *FAST,
    ]
    assert main(arguments) == 0
    warnings = [line for line in capsys.readouterr().err.splitlines() if line.startswith("ddpm: warning: ")]
    assert len(warnings) == 1
    assert re.search(r"data\.csv: standard deviation far from 1 in columns \(from 0\) 1 \(\d+\), 2 \(0\)", warnings[0])


def test_existing_outputs_need_force(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, data: Path, model: Path
) -> None:
    before = model.read_bytes()
    train = ["train", str(data), "--out", str(model), "--steps", "1", "--timesteps", "3", *FAST]
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
        (["train", "{tmp}", "--out", "{run}"], "points are kept in .npy or .csv files"),
        (["train", "{data}", "--out", "{run}", "--steps", "0"], "'--steps': 0 is not in the range"),
        (["train", "{data}", "--out", "{run}", "--hidden", "x"], "'--hidden': 'x' is not a valid integer"),
        (["train", "{data}", "--out", "{run}", "--lr", "0"], "'--lr': 0.0 is not in the range"),
        (["train", "{data}", "--out", "{run}", "--lr", "nan"], "nan"),
        (["train", "{data}", "--out", "{run}", "--schedule", "none"], "'--schedule': 'none' is not one of"),
        (["train", "{data}", "--out", "{run}", "--backend", "none"], "'none'"),
        (["train", "{data}", "--out", "{run}", "--seed", str(2**64)], str(2**64)),
        (["sample", "{model}", "--out", "x.npy"], "Missing option '--count'"),
        (["sample", "{model}", "--count", "-1", "--out", "x.npy"], "'--count': -1 is not in the range"),
        (["sample", "{model}", "--count", "1", "--out", "x.txt"], "x.txt: points are kept in"),
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


def test_bad_data_is_named_with_its_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_text("a,b\n1,2\n3,cat\n")
    said = error(capsys, "train", path, "--out", tmp_path / "run.safetensors")
    assert said == f"{path}, line 3, field 2: 'cat' is not a number"


def test_interrupt_is_one_line_and_leaves_nothing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, data: Path
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(ddpm, "train", interrupted)
    assert main(["train", str(data), "--out", str(tmp_path / "run.safetensors"), *FAST]) == 130
    assert capsys.readouterr().err.split() == ["ddpm:", "interrupted"]
    assert list(tmp_path.iterdir()) == [data]


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
            *FAST,
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


def test_demo_from_data_to_figures(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    train = ddpm.train
    # 5 steps instead of 1000, to keep the test short; that training learns is tested elsewhere
    monkeypatch.setattr(ddpm, "train", lambda *args, **options: train(*args, **options | {"steps": 5}))
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "samples.npy").write_text("of an earlier demo")
    assert main(["demo", "--out", str(tmp_path / "demo"), *FAST]) == 0

    written = {path.name for path in (tmp_path / "demo").iterdir()}
    pictures = {f"{name}.png" for name in ("data", "forward", "loss", "reverse", "samples")}
    assert written == pictures | {"samples.npy", "model.safetensors"}
    assert all((tmp_path / "demo" / name).read_bytes().startswith(b"\x89PNG") for name in pictures)

    samples = np.load(tmp_path / "demo" / "samples.npy")
    assert samples.shape == (1000, 1)
    model = ddpm.load(tmp_path / "demo" / "model.safetensors", backend="vectorized")
    assert np.array_equal(samples, model.sample(1000).detach().numpy())

    rows = dict(re.split(r"  +", line, maxsplit=1) for line in capsys.readouterr().out.splitlines()[:-1])
    assert rows["backend"] == "vectorized"
    number = {label: float(value.split()[0]) for label, value in rows.items() if label != "backend"}
    assert number["entropy of the data"] == pytest.approx(2.056, abs=0.01)
    assert number["bound above entropy"] == pytest.approx(number["bound"] - number["entropy of the data"], abs=0.002)
    assert number["Wasserstein-1, samples"] > 0
    assert 0 < number["Wasserstein-1, fresh data"] < 0.5


@pytest.mark.parametrize("steps", [1, 5])
@pytest.mark.parametrize("count", [1, 50])
def test_figures_are_drawn_at_any_size(tmp_path: Path, steps: int, count: int) -> None:
    trajectory = np.random.default_rng(0).standard_normal((steps + 1, count)).astype(np.float32)
    x = np.linspace(-3, 3, 50)
    drawn = [
        figures.data_figure(trajectory[0]),
        figures.forward_figure(trajectory),
        figures.loss_figure(np.abs(trajectory[:, 0]), 0.5),
        figures.loss_figure(trajectory[:, 0], -1.0),  # a bound can be negative, where a logarithm cannot show it
        figures.reverse_figure(trajectory),
        figures.samples_figure(trajectory[-1], x, np.exp(-(x**2) / 2)),
    ]
    for figure in drawn:
        figure.savefig(tmp_path / "figure.png")


def test_a_negative_bound_is_visible() -> None:
    figure = figures.loss_figure(np.array([10.0, 1.0, -1.0]), -1.2)
    assert figure.axes[0].get_yscale() == "symlog"
    assert figures.loss_figure(np.array([10.0, 3.0]), 2.0).axes[0].get_yscale() == "log"


def test_reverse_trajectories_are_coloured_by_where_they_end() -> None:
    history = np.array([[1.0, -1.0, 0.5], [-2.0, 2.0, 3.0]])
    (lines,) = figures.reverse_figure(history).axes[0].collections
    colours = lines.get_colors()[:, :3]  # type: ignore[attr-defined]
    assert np.array_equal(colours[1], colours[2])
    assert not np.array_equal(colours[0], colours[1])


def test_help_does_not_wait_for_torch_or_matplotlib() -> None:
    code = (
        "import sys, ddpm; before = set(sys.modules); import ddpm.command_line;"
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
    command = [sys.executable, "-m", "ddpm", "train", str(data), "--backend", backend, "--timesteps", "5"]
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
