"""The quality benchmark: metrics against known answers, every model on a small table, and what the page shows."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from scipy.stats import multivariate_normal

import ddpm
from benchmarks.__main__ import command
from benchmarks.quality import epoch, metrics, models, plain, report
from benchmarks.quality.data import Split, split
from benchmarks.quality.models import MODELS

ROOT = Path(__file__).parents[1]
RESULTS = sorted((ROOT / "benchmarks" / "quality" / "results").glob("*.json"))

ot = pytest.importorskip("ot")

GAUSSIAN = Split(np.random.default_rng(0).normal(3, 2, (600, 2)), np.random.default_rng(1).normal(3, 2, (400, 2)))
TRUE = multivariate_normal([3, 3], 4 * np.eye(2))


def test_features_are_those_of_the_paper() -> None:
    rows = Split(np.array([[0.0, 5.0], [10.0, 5.0]]), np.zeros((0, 2)), np.array([0, 2]))
    found = metrics.features(np.array([[5.0, 6.0]]), np.array([1]), rows)
    assert found.tolist() == [[0.5, 1.0, 0, 0.5, 0]]
    other = metrics.features(np.array([[5.0, 6.0]]), np.array([2]), rows)
    assert np.abs(found - other).sum() == 1


def test_nearest() -> None:
    rows = Split(np.array([[0.0, 0], [10, 4], [5, 2]]), np.zeros((0, 2)))
    assert metrics.nearest(np.array([[1.0, 0], [10, 4], [5, 1]]), rows) == pytest.approx(0.1)


def test_splits_are_the_papers_and_share_no_row() -> None:
    rows = split("iris", 0)
    assert (len(rows.train), len(rows.test)) == (120, 30)
    assert rows.test_classes is not None
    assert np.bincount(rows.test_classes).tolist() == [10, 10, 10]
    train, test = split("moons", 3)[:2]
    assert not {tuple(row) for row in train} & {tuple(row) for row in test}


@pytest.mark.parametrize("name", ["mixture", "kernels", "plain"])
def test_the_density_of_a_gaussian(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(plain.STEPS, False, 600)
    models.seeded(0)
    fitted = MODELS[name].fit(GAUSSIAN, 0)
    found = fitted.log_density(GAUSSIAN.test)
    found = fitted.bound(GAUSSIAN.test) if found is None else found
    assert found is not None
    excess = float(np.mean(TRUE.logpdf(GAUSSIAN.test) - found))
    # 600 rows teach a Gaussian to 0.01 nats and a kernel density to 0.1; fixed variances and 600 steps cost the plain
    # model more, 0.9 to 1.1
    assert -0.02 < excess < {"mixture": 0.05, "kernels": 0.2, "plain": 1.5}[name]
    x, classes = fitted.sample(300, 1)
    assert classes is None
    assert np.abs(x.mean(0) - 3).max() < 5 * 2 / math.sqrt(300)
    assert np.abs(x.std(0) - 2).max() < 0.5
    assert not np.array_equal(x, fitted.sample(300, 2)[0])


def test_the_density_with_classes_is_one_in_sum() -> None:
    generator = np.random.default_rng(0)
    classes = generator.permutation(np.repeat([0, 1], [80, 40]))
    x = generator.normal(size=(120, 1)) ** 2 + 3 * classes[:, None]
    rows = Split(x, x, classes, classes)
    fitted = MODELS["mixture"].fit(rows, 0)
    grid = np.linspace(-30, 60, 200_001)[:, None]
    density = fitted.log_density(grid)
    assert density is not None
    assert np.exp(density).sum() * (grid[1, 0] - grid[0, 0]) == pytest.approx(1, abs=1e-3)
    drawn = fitted.sample(120, 0)[1]
    assert drawn is not None
    assert np.bincount(drawn).tolist() == [80, 40]


def test_a_run_and_its_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(plain.STEPS, False, 3)
    monkeypatch.setattr(plain, "TIMESTEPS", 5)
    short = ddpm.DDPM(steps=3, timesteps=4, hidden=(8,))
    monkeypatch.setattr(models.ddpm, "DDPM", lambda **options: short.set_params(**options))
    chosen = [
        *(f"--model={name}" for name in ("ours", "plain", "mixture", "kernels")),
        "--data=iris",
        "--splits=1",
        "--no-epochs",
    ]
    found = CliRunner().invoke(command, ["quality", *chosen, f"--out={tmp_path}"], catch_exceptions=False)
    assert found.exit_code == 0, found.output
    (path,) = tmp_path.glob("*.json")
    rows = json.loads(path.read_text())["rows"]
    assert len(rows) == 5
    assert all(math.isfinite(row["wasserstein"]) for row in rows)
    again = ["quality", "--model=kernels", "--data=iris", "--splits=1", "--no-epochs", f"--into={path}"]
    assert CliRunner().invoke(command, again, catch_exceptions=False).exit_code == 0
    assert len(json.loads(path.read_text())["rows"]) == 5
    table = path.with_suffix(".md").read_text()
    assert "kernel density" in table
    assert "| training rows | 0.237 |" in table
    page = tmp_path / "page.md"
    page.write_text(f"before {report.BEGIN} old {report.END} after")
    report.write_into(page, path)
    assert page.read_text().startswith(f"before {report.BEGIN}\n\n")
    assert page.read_text().endswith(f"{report.END} after")
    assert "old" not in page.read_text()


def test_a_page_without_marks_is_left(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before {report.BEGIN} after")
    with pytest.raises(ValueError, match="must have the marks"):
        report.write_into(page, RESULTS[0])
    assert page.read_text().endswith("after")


def test_the_page_shows_a_committed_result() -> None:
    page = (ROOT / "docs" / "quality.md").read_text()
    assert any(report.generated(path) in page for path in RESULTS)


def test_an_epoch_in_its_own_process() -> None:
    found = epoch.measure("ours", 20_000)
    assert found["steps"] == 40
    assert 5e7 < found["peak_bytes"] < 4e9


def test_gaps_are_kept_and_not_fatal(tmp_path: Path) -> None:
    found = CliRunner().invoke(
        command, ["quality", "--model=forest", "--data=mixture", "--seeds=1", "--no-epochs", f"--out={tmp_path}"]
    )
    assert found.exit_code == 0, found.output
    (path,) = tmp_path.glob("*.json")
    ((data, model, reason),) = json.loads(path.read_text())["gaps"]
    assert (data, model) == ("mixture", "forest")
    assert reason in ("ForestDiffusion is not installed", "takes too long for so many rows")
