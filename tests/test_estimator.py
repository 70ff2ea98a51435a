# mypy: disable-error-code="arg-type"
"""ddpm.DDPM: scikit-learn's conventions, tables that come back as they were, classes, files, errors for bad data."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("sklearn")

import pandas as pd
from sklearn.base import clone
from sklearn.utils.estimator_checks import parametrize_with_checks

import ddpm
from ddpm.defaults import Defaults

SMALL: dict[str, Any] = {"hidden": (8,), "timesteps": 10, "steps": 20, "random_state": 0}


@pytest.mark.filterwarnings("ignore:.*SCIPY_ARRAY_API.*")
@parametrize_with_checks([ddpm.DDPM(hidden=(4,), timesteps=4, steps=3)])
def test_scikit_learns_checks(estimator: Any, check: Any) -> None:
    check(estimator)


def rows(count: int = 60) -> Any:
    generator = np.random.default_rng(1)
    x = generator.normal(size=count)
    return np.stack((100 + 5 * x, np.exp(x + 0.1 * generator.normal(size=count))), axis=1)


def frame(count: int = 60) -> pd.DataFrame:
    x = rows(count)
    return pd.DataFrame(
        {
            "length": x[:, 0],
            "rings": np.round(3 * x[:, 1]).astype("int32"),
            "site": 7,
            "ratio": x[:, 1].astype("float32"),
            "visits": pd.array(np.round(x[:, 0]).astype("int64"), dtype="Int64"),
        }
    )


@pytest.mark.parametrize("dtype", ["float64", "float32", "Float64"])
def test_numbers_come_back_with_their_decimals(dtype: str, tmp_path: Path) -> None:
    x = rows()
    table = pd.DataFrame(
        {"price": np.round(x[:, 0], 2), "tens": np.round(x[:, 0], -1), "any": x[:, 1], "fixed": 0.25}
    ).astype(dtype)
    model = ddpm.DDPM(**SMALL).fit(table)
    assert model._table.decimals == (2, 0, None, 2)
    model.save(tmp_path / "model.safetensors")
    for fitted in (model, ddpm.DDPM.load(tmp_path / "model.safetensors")):
        samples = fitted.sample(50).astype("float64")
        digits = samples.astype(dtype).astype("float64")
        assert digits["price"].equals(digits["price"].round(2).astype(dtype).astype("float64"))
        assert digits["tens"].equals(digits["tens"].round(0))
        assert not digits["any"].equals(digits["any"].round(6))
        assert (digits["fixed"] == 0.25).all()


@pytest.mark.parametrize("kind", ["standard", "power", "quantile", None])
def test_a_table_comes_back_as_it_was(kind: str | None) -> None:
    table = frame()
    samples = ddpm.DDPM(**SMALL, scaling=kind).fit(table).sample(30)
    assert list(samples.columns) == list(table.columns)
    assert samples.dtypes.equals(table.dtypes)
    assert (samples["site"] == 7).all()
    assert samples["rings"].between(table["rings"].min(), table["rings"].max()).all()
    assert len(samples) == 30
    assert not samples.isna().any().any()


@pytest.mark.parametrize(
    ("given", "dtype"),
    [
        (rows(), np.float64),
        (rows().astype(np.float32), np.float32),
        (np.round(10 * rows()).astype(np.int16), np.int16),
        (rows().tolist(), np.float64),
        (torch.from_numpy(rows()).float(), torch.float32),
        (torch.from_numpy(rows()).round().long(), torch.int64),
    ],
)
def test_arrays_and_tensors_come_back_as_they_were(given: Any, dtype: Any) -> None:
    samples = ddpm.DDPM(**SMALL).fit(given).sample(5)
    assert samples.dtype == dtype
    assert samples.shape == (5, 2)
    assert isinstance(samples, torch.Tensor) == isinstance(given, torch.Tensor)


def test_a_sample_depends_on_its_index() -> None:
    model = ddpm.DDPM(**SMALL).fit(rows())
    whole = model.sample(50)
    np.testing.assert_allclose(model.sample(20, first=30), whole[30:], rtol=1e-6)
    across = model.sample(50, first=2**32 - 30)
    np.testing.assert_allclose(model.sample(20, first=2**32), across[30:], rtol=1e-6)
    assert not np.allclose(across[30:], whole[:20])
    assert not np.allclose(model.sample(50, random_state=1), whole)


def test_the_same_seed_gives_the_same_model() -> None:
    one, two, other = (ddpm.DDPM(**SMALL | {"random_state": seed}).fit(rows()) for seed in (3, 3, 4))
    np.testing.assert_array_equal(one.sample(5), two.sample(5))
    assert not np.allclose(one.sample(5), other.sample(5))
    np.testing.assert_array_equal(clone(one).fit(rows()).sample(5), one.sample(5))


def classes(count: int = 60) -> tuple[Any, Any]:
    y = np.array(["setosa", "virginica", "versicolor"])[np.arange(count) % 3]
    return rows(count) + 50.0 * (np.arange(count) % 3)[:, None], y


def test_classes_are_drawn_at_their_shares() -> None:
    x, y = classes(61)
    model = ddpm.DDPM(**SMALL).fit(x, y)
    for first in (0, 61, 122, 61 * 2**32, 61 * (2**48 // 61 - 1)):
        drawn = model.sample(61, first=first)[1]
        assert sorted(drawn) == sorted(y)
    orders = {tuple(model.sample(61, first=first)[1]) for first in (0, 61, 61 * 2**32, 61 * 2**33)}
    assert len(orders) == 4
    whole, parts = model.sample(100)[1], [model.sample(n, first=f)[1] for n, f in ((30, 0), (70, 30))]
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    samples, given = model.sample(5, y=["virginica"] * 5)
    assert samples.shape == (5, 2)
    assert set(given) == {"virginica"}


def test_a_density_with_classes_is_the_sum_over_them() -> None:
    x, y = classes()
    model = ddpm.DDPM(**SMALL).fit(x, y)
    each = [model.score_samples(x[:7], [name] * 7, samples=2) for name in model.classes_]
    np.testing.assert_allclose(model.score_samples(x[:7], samples=2), np.logaddexp.reduce(each, axis=0), rtol=1e-9)
    assert model.score(x[:7], y[:7]) <= model.score(x[:7]) + 1e-9


def test_the_density_is_in_the_units_of_the_data() -> None:
    model, other = ddpm.DDPM(**SMALL, scaling="standard"), ddpm.DDPM(**SMALL, scaling="standard")
    x = rows()
    found, scaled = model.fit(x).score_samples(x), other.fit(1000 * x).score_samples(1000 * x)
    # the network gets the same numbers, except for their rounding to float32, which decides their noise
    assert float(np.mean(found - scaled)) == pytest.approx(2 * np.log(1000), abs=0.5)


def test_it_learns() -> None:
    x = rows(400)
    model = ddpm.DDPM(random_state=0, steps=300).fit(x)
    samples = model.sample(2000)
    np.testing.assert_allclose(np.median(samples, axis=0), np.median(x, axis=0), atol=0.2 * x.std(0).max())
    assert np.corrcoef(samples[:, 0], np.log(samples[:, 1]))[0, 1] > 0.9
    gaussian = -0.5 * np.log(np.linalg.det(2 * np.pi * np.e * np.cov(x.T)))
    assert model.score(rows(200)) > gaussian


@pytest.mark.parametrize("given", ["array", "frame", "tensor", "classes"])
def test_files(tmp_path: Path, given: str) -> None:
    y = None
    if given == "classes":
        x, y = classes()
    else:
        x = {"array": rows(), "frame": frame(), "tensor": torch.from_numpy(rows())}[given]
    model = ddpm.DDPM(**SMALL, scaling="power").fit(x, y)
    model.save(tmp_path / "model.safetensors")
    loaded = ddpm.DDPM.load(tmp_path / "model.safetensors")
    assert loaded.get_params() == model.get_params()
    for a, b in ((model.sample(9), loaded.sample(9)), (model.score_samples(x[:5]), loaded.score_samples(x[:5]))):
        for p, q in zip(*((v if isinstance(v, tuple) else (v,)) for v in (a, b)), strict=True):
            assert type(p) is type(q)
            np.testing.assert_array_equal(np.asarray(p), np.asarray(q))
    with pytest.raises(ValueError, match=r"is a model of a table: read it with ddpm\.DDPM\.load"):
        ddpm.load(tmp_path / "model.safetensors")
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(np.asarray(again.score_samples(x[:5])), np.asarray(model.score_samples(x[:5])))


def test_a_file_without_a_table(tmp_path: Path) -> None:
    ddpm.save(ddpm.Diffusion(ddpm.GaussianMLP(1), ddpm.Schedule.constant(5, 0.1)), tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=r"model\.safetensors' has no table"):
        ddpm.DDPM.load(tmp_path / "model.safetensors")


def test_defaults_follow_from_the_shape_alone() -> None:
    few, many = Defaults(120, 4), Defaults(10_000, 2)
    assert (few.features, few.scaling) == ((), "power")
    assert (many.features, many.timesteps, many.steps) == ((1.0, 2.0, 4.0, 8.0), 250, 8000)
    assert many.weight_decay < few.weight_decay < Defaults(120, 13).weight_decay == 0.3
    assert Defaults(120, 13).steps < few.steps < Defaults(300, 4).steps
    assert (few.hidden, many.hidden, Defaults(2000, 20).hidden) == ((64, 64), (64, 64, 64), (128, 128, 128))
    assert Defaults(100, 30).whiten
    assert Defaults(10, 3).batch_size == 10


@pytest.mark.parametrize(
    ("x", "y", "said"),
    [
        (pd.DataFrame({"a": [1.0, 2.0], "name": ["x", "y"]}), None, "X has columns that are not numbers: name; drop"),
        (np.array([[1.0, np.nan], [2.0, 3.0]]), None, "contains NaN"),
        (np.array([[1.0, np.inf], [2.0, 3.0]]), None, "contains infinity"),
        (np.array([[1.0, 2.0]]), None, r"1 sample\(s\)"),
        (np.ones((5, 2)), None, "all of its columns are constant"),
        (rows(5), np.arange(4), r"y must have shape \(5,\)"),
        (rows(5), [0, 1, np.nan, 1, 0], "y must hold a class for each row; some are NaN"),
        (rows(5), [0.5, 1, 2, 1, 0], "y must hold classes; got numbers that are not whole"),
        (rows(5), ["a", None, "b", "a", "b"], "y must hold classes: numbers, booleans or strings"),
        (rows(5).astype(str), None, "X must hold numbers; got <U"),
        (rows(5).astype("datetime64[s]"), None, r"X must hold numbers; got datetime64\[s\]"),
        (pd.DataFrame(rows(5), columns=["a", "a"]), None, "X has columns of the same name: a"),
        (
            pd.DataFrame({"a": pd.Categorical([1, 2, 1]), "b": [1.0, 2, 3]}),
            None,
            "X has columns that are not numbers: a",
        ),
        (1e200 * rows(5), None, "whose squares overflow float64: scale it down"),
    ],
)
def test_bad_data_is_named_before_training(x: Any, y: Any, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ddpm.fitting.train", None)
    with pytest.raises(ValueError, match=said):
        ddpm.DDPM(**SMALL).fit(x, y)


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_fit_that_ends_before_training_changes_nothing(
    error: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = ddpm.DDPM(**SMALL).fit(rows(50))
    before = model.sample(5)

    def fails(*_: object) -> None:
        raise error

    monkeypatch.setattr("ddpm.fitting.fit_network", fails)
    with pytest.raises(error):
        model.fit(100 + rows(50))
    assert np.array_equal(model.sample(5), before)


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"scaling": "log"}, ValueError, "scaling must be one of standard, power, quantile, 'auto' or None; got 'log'"),
        ({"timesteps": 1}, ValueError, "timesteps must be from 2"),
        ({"steps": 0}, ValueError, "steps must be from 1"),
        ({"hidden": ()}, ValueError, "hidden must name at least one layer"),
        ({"validation_fraction": 0.9}, ValueError, r"validation_fraction must be from 0 to 0\.5; got 0\.9"),
        ({"learning_rate": "fast"}, TypeError, "lr must be a number; got 'fast'"),
        ({"backend": "jax"}, ValueError, "backend must be one of"),
    ],
)
def test_bad_options_are_named(options: dict[str, Any], error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        ddpm.DDPM(**SMALL | options).fit(rows())


@pytest.mark.parametrize("kind", ["standard", "power", "quantile"])
@pytest.mark.parametrize(("offset", "scale"), [(0.0, 1e-9), (1e6, 1e-5), (-1e12, 1.0), (0.0, 1e30)])
def test_the_unit_of_a_column_does_not_matter(kind: str, offset: float, scale: float) -> None:
    x = rows(200)[:, :1]
    x = (x - x.mean()) / x.std()
    moved = offset + scale * x
    samples = ddpm.DDPM(**SMALL, scaling=kind).fit(moved).sample(500)
    # as for the column itself: samples of a new network have about its mean and standard deviation
    assert abs(samples.mean() - offset) < 0.4 * scale
    assert 0.5 * scale < samples.std() < 1.5 * scale


def test_whole_numbers_at_the_ends_of_their_range_have_a_density() -> None:
    x = np.random.default_rng(0).integers(0, 5, (40, 2))
    for kind in ("standard", "power", "quantile"):
        assert np.isfinite(ddpm.DDPM(**SMALL, scaling=kind).fit(x).score_samples(x)).all()


def test_whole_numbers_stay_within_their_dtype() -> None:
    large = np.array([[2**63 - 1 - i * 2**40, i] for i in range(40)])
    samples = ddpm.DDPM(**SMALL, scaling="standard").fit(large).sample(200)
    assert samples[:, 0].min() > 9e18
    halves = ddpm.DDPM(**SMALL, scaling="standard").fit(np.linspace(3e4, 65500, 40).astype(np.float16)[:, None])
    assert np.isfinite(halves.sample(500)).all()


def test_a_fit_that_fails_leaves_the_model() -> None:
    x, y = classes()
    model = ddpm.DDPM(**SMALL).fit(x, y)
    expected = model.sample(5)[0]
    for bad in ((pd.DataFrame({"a": ["x"] * 5}), None), (x, y[:5]), (np.ones((5, 2), dtype=int), None)):
        with pytest.raises(ValueError, match=r"must|X has columns"):
            model.fit(*bad)
        np.testing.assert_array_equal(model.sample(5)[0], expected)


def test_parameters_of_numpy_are_saved(tmp_path: Path) -> None:
    options = {"hidden": np.array([8]), "steps": np.int64(20), "learning_rate": np.float32(0.01), "whiten": np.True_}
    model = ddpm.DDPM(**SMALL | options | {"random_state": np.int64(3), "features": (np.float32(2.0),)}).fit(rows())
    model.save(tmp_path / "model.safetensors")
    loaded = ddpm.DDPM.load(tmp_path / "model.safetensors")
    assert loaded.random_state == 3
    np.testing.assert_array_equal(loaded.sample(5), model.sample(5))


def test_names_that_are_numbers(tmp_path: Path) -> None:
    table = pd.DataFrame(rows(), columns=[0, 1])
    model = ddpm.DDPM(**SMALL).fit(table)
    model.save(tmp_path / "model.safetensors")
    assert list(ddpm.DDPM.load(tmp_path / "model.safetensors").sample(2).columns) == [0, 1]


def test_bad_requests_of_a_model_are_named() -> None:
    x, y = classes()
    model, plain = ddpm.DDPM(**SMALL).fit(x, y), ddpm.DDPM(**SMALL).fit(x)
    with pytest.raises(ValueError, match=r"X has 3 features, but DDPM is expecting 2"):
        model.score_samples(np.ones((4, 3)))
    with pytest.raises(ValueError, match="y must hold classes seen in fit, setosa, versicolor, virginica; got rose"):
        model.sample(2, y=["rose", "setosa"])
    with pytest.raises(ValueError, match="y must be None: fit got no classes"):
        plain.sample(2, y=["setosa", "setosa"])
    with pytest.raises(ValueError, match="first must be from 0 to 281474976710654; got 281474976710655"):
        model.sample(2, first=2**48 - 1)
    with pytest.raises(ValueError, match="n_samples must be from 1"):
        plain.sample(0)


def test_the_rows_held_out_choose_the_weights() -> None:
    model = ddpm.DDPM(**SMALL | {"steps": 200}, validation_fraction=0.25).fit(rows())
    assert model.diffusion_.best_loss is not None
    assert "best" in model.diffusion_.kept
