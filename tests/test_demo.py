"""`ddpm demo`: what it writes and prints."""

import importlib
import re
from pathlib import Path

import numpy as np
import pytest

import ddpm
from ddpm.commands import main


def test_demo_from_data_to_figures(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    train = ddpm.train
    # 5 steps instead of 1000, to keep the test short; that training learns is tested elsewhere
    monkeypatch.setattr(ddpm, "train", lambda *args, **options: train(*args, **options | {"steps": 5}))
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "samples.npy").write_text("of an earlier demo")
    assert main(["demo", "--out", str(tmp_path / "demo"), "--backend", "vectorized"]) == 0

    written = {path.name for path in (tmp_path / "demo").iterdir()}
    pictures = {f"{name}.png" for name in ("data", "forward", "loss", "reverse", "samples")}
    assert written == pictures | {"samples.npy", "model.safetensors"}
    assert all((tmp_path / "demo" / name).read_bytes().startswith(b"\x89PNG") for name in pictures)

    samples = np.load(tmp_path / "demo" / "samples.npy")
    assert samples.shape == (1000, 1)
    model = ddpm.load(tmp_path / "demo" / "model.safetensors", backend="vectorized")
    assert np.array_equal(samples, model.sample(1000).detach().numpy())

    said = capsys.readouterr()
    stages = [line.split()[0] for line in said.err.splitlines() if line.endswith(" ...")]
    assert stages == ["making", "compiling", "training", "sampling", "drawing"]
    *lines, last = said.out.splitlines()
    assert {"samples.png", "reverse.png"} <= {Path(word).name for word in last.split()}
    rows = dict(re.split(r"  +", line, maxsplit=1) for line in lines)
    assert rows["backend"] == "vectorized"
    number = {label: float(value.split()[0]) for label, value in rows.items() if label != "backend"}
    assert number["entropy of the data"] == pytest.approx(2.056, abs=0.01)
    assert number["bound above entropy"] == pytest.approx(number["bound"] - number["entropy of the data"], abs=0.002)
    assert number["Wasserstein-1, samples"] > 0
    assert 0 < number["Wasserstein-1, fresh data"] < 0.5


def test_demo_of_points(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("ot")
    from ddpm import fitting

    train = fitting.train
    monkeypatch.setattr(fitting, "train", lambda model, x, steps, **options: train(model, x, 20, **options))
    monkeypatch.setattr(importlib.import_module("ddpm.commands.demo"), "ROWS", 500)
    assert main(["demo", "--data", "moons", "--out", str(tmp_path / "demo")]) == 0
    written = {path.name for path in (tmp_path / "demo").iterdir()}
    assert written == {f"{name}.png" for name in ("columns", "reverse", "terms", "loss")} | {
        "samples.npy",
        "model.safetensors",
    }
    assert np.load(tmp_path / "demo" / "samples.npy").shape == (500, 2)
    rows = dict(re.split(r"  +", line, maxsplit=1) for line in capsys.readouterr().out.splitlines()[:-1])
    assert float(rows["entropy of the data"].split()[0]) == pytest.approx(ddpm.datasets.moons_entropy(), abs=1e-3)
    assert {"training, 20 iterations", "sampling, 500 points", "Wasserstein-1, samples"} < rows.keys()
