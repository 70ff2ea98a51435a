# mypy: disable-error-code="operator"
"""ddpm.evaluate: every metric of the model, fresh data and a mixture, for a model that is right and one that is not."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import multivariate_normal

pytest.importorskip("sklearn")
pytest.importorskip("ot")

import ddpm
from ddpm.evaluation import Evaluation, Score

ENTROPY = 1 + np.log(2 * np.pi) + np.log(10 * 0.1)


def rows(count: int, seed: int) -> np.ndarray:
    """Return rows of a Gaussian with standard deviations 10 and 0.1."""
    return np.random.default_rng(seed).normal(size=(count, 2)) * [10, 0.1] + [100, 0]


@pytest.fixture(scope="module")
def model() -> ddpm.DDPM:
    # untrained, the network reverses the forward process of N(0, 1), which is exact for Gaussian columns
    return ddpm.DDPM(steps=1, learning_rate=0.0, timesteps=50, scaling="standard", random_state=0).fit(rows(2000, 1))


def by_name(found: Evaluation) -> dict[str, Score]:
    return {score.name: score for score in found.scores}


def test_a_gaussian_model_of_gaussian_data(model: ddpm.DDPM) -> None:
    found = by_name(ddpm.evaluate(model, rows(1200, 2)))
    likelihood = found["log-likelihood, nats a row"]
    assert likelihood.model == pytest.approx(-ENTROPY, abs=5 * likelihood.error)
    assert likelihood.mixture == pytest.approx(likelihood.model, abs=0.05)
    assert found["bound of it, nats a row"].model < likelihood.model + 0.01
    for score in list(found.values())[2:]:
        # the model is as far from one half of the data as the other half is, except for luck
        assert score.model == pytest.approx(score.fresh, abs=0.06)
        assert score.mixture == pytest.approx(score.fresh, abs=0.06)
    exact = multivariate_normal([100, 0], [[100, 0], [0, 0.01]]).logpdf(rows(1200, 2)).mean()
    assert likelihood.model == pytest.approx(exact, abs=0.1)


def test_a_model_of_other_data_is_seen(model: ddpm.DDPM) -> None:
    found = by_name(ddpm.evaluate(model, rows(1200, 2) + np.array([20, 0])))
    assert found["log-likelihood, nats a row"].model < -ENTROPY - 1
    assert found["Wasserstein-1, mean over columns"].model > 10 * found["Wasserstein-1, mean over columns"].fresh
    assert found["accuracy of a classifier (C2ST)"].model > 0.75
    assert found["coverage"].model < found["coverage"].fresh


def test_it_prints_a_table_with_names() -> None:
    x = rows(300, 1)
    table = pd.DataFrame({"length": x[:, 0], "fixed": 1.0, "width": x[:, 1]})
    kinds = np.where(x[:, 0] > 100, "long", "short")
    model = ddpm.DDPM(hidden=(8,), timesteps=10, steps=30, random_state=0).fit(table, kinds)
    found = ddpm.evaluate(model, table, kinds)
    assert list(found.by_column) == ["length", "width"]
    assert found.rows == 150
    text = str(found)
    assert text.splitlines()[0].split("  ")[-1] == "mixture of Gaussians"
    assert "log-likelihood, nats a row" in text
    assert len({len(line) for line in text.splitlines()[:-1]}) == 1
    assert str(ddpm.evaluate(model, table, kinds)) == text


def test_bad_rows_are_named(model: ddpm.DDPM) -> None:
    with pytest.raises(ValueError, match="X must have at least 20 rows; got 5"):
        ddpm.evaluate(model, rows(5, 0))
    with pytest.raises(ValueError, match="X has 3 features, but DDPM is expecting 2"):
        ddpm.evaluate(model, np.ones((30, 3)))
    with pytest.raises(ValueError, match="contains NaN"):
        ddpm.evaluate(model, rows(30, 0) * np.nan)
