"""Small parts, and a model of a table and one of points."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sampled import CHUNK, PART

import ddpm
from ddpm import sampling, torchrun


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "PART", PART)
    monkeypatch.setattr(sampling, "CHUNK", CHUNK)
    for name in torchrun.NAMES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def folder_of_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Save models of a table with classes of text and of points in the plane; return their folder."""
    import pandas as pd  # an extra: each file of tests here is skipped without it

    folder = tmp_path_factory.mktemp("models")
    rng = np.random.default_rng(0)
    x = pd.DataFrame({"a": rng.standard_normal(60).round(2), "n": rng.integers(0, 9, 60), "b": rng.gamma(2, 1, 60)})
    options: dict[str, Any] = {"steps": 20, "timesteps": 10, "backend": "vectorized", "random_state": 0}
    ddpm.DDPM((8,), **options).fit(x, rng.choice(["rose", "tulip", "oak"], 60)).save(folder / "table.safetensors")
    network = ddpm.GaussianMLP(dim=2, hidden=(4,), seed=0)
    schedule = ddpm.Schedule.constant(10, 0.1)
    ddpm.save(ddpm.Diffusion(network, schedule, backend="vectorized"), folder / "points.safetensors")
    return folder


@pytest.fixture
def table(folder_of_models: Path) -> Path:
    return folder_of_models / "table.safetensors"


@pytest.fixture
def points(folder_of_models: Path) -> Path:
    return folder_of_models / "points.safetensors"
