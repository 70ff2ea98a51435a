"""Transforms of a table's columns: round trips, exact log-Jacobians, constant columns, and nothing beyond the data."""

from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn")

from ddpm.transforms import TableTransform

KINDS = [None, "standard", "power", "quantile"]


def table(rows: int = 300) -> Any:
    """Return columns that are normal, skewed, constant and heavy-tailed, on very different scales."""
    generator = np.random.default_rng(0)
    normal = generator.normal(size=rows)
    return np.stack(
        (
            *(1000 + 3 * normal, np.exp(normal + 0.3 * generator.normal(size=rows))),
            *(np.full(rows, 7.5), generator.standard_t(3, size=rows) - 2),
        ),
        axis=1,
    )


@pytest.mark.parametrize("whiten", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_round_trip(kind: str | None, whiten: bool) -> None:
    x = table()
    transform = TableTransform(kind, whiten).fit(x)
    z = transform.transform(x)
    assert z.shape == (300, 3)
    np.testing.assert_allclose(transform.inverse_transform(z), x, rtol=1e-6, atol=1e-6)
    if whiten:
        np.testing.assert_allclose(np.cov(z.T), np.eye(3), atol=1e-8)
    elif kind is not None:
        np.testing.assert_allclose(z.mean(0), 0, atol=1e-8)
        np.testing.assert_allclose(z.std(0), 1, atol=1e-8)


@pytest.mark.parametrize("whiten", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_log_jacobian(kind: str | None, whiten: bool) -> None:
    x = table()
    transform = TableTransform(kind, whiten).fit(x)
    # halfway between two numbers of the data, where no transform has a corner
    middle = np.sort(x, axis=0)
    inner = ((middle[1:] + middle[:-1]) / 2)[5:-5:20]
    step = 1e-7 * x[:, [0, 1, 3]].std(0)
    found, columns = [], [0, 1, 3]
    for row in inner:
        moved = np.repeat(row[None], 6, axis=0)
        for i, column in enumerate(columns):
            moved[2 * i, column] += step[i]
            moved[2 * i + 1, column] -= step[i]
        z = transform.transform(moved)
        matrix = np.stack([(z[2 * i] - z[2 * i + 1]) / (2 * step[i]) for i in range(3)])
        found.append(np.linalg.slogdet(matrix)[1])
    np.testing.assert_allclose(transform.log_jacobian(inner), found, rtol=0, atol=1e-3)


@pytest.mark.parametrize("kind", ["power", "quantile"])
def test_nothing_comes_back_from_beyond_the_data(kind: str) -> None:
    x = table()
    far = np.array([[50.0, -50.0, 50.0], [-50.0, 50.0, -50.0]])
    back = TableTransform(kind).fit(x).inverse_transform(far)
    assert np.isfinite(back).all()
    assert (back >= x.min(0) - 1e-6).all()
    assert (back <= x.max(0) + 1e-6).all()


def test_a_constant_column_is_put_back_and_has_no_density_elsewhere() -> None:
    x = table()
    transform = TableTransform("standard").fit(x)
    assert transform.dim == 3
    assert (transform.inverse_transform(np.zeros((5, 3)))[:, 2] == 7.5).all()
    other = x[:2].copy()
    other[1, 2] = 7.0
    found = transform.log_jacobian(other)
    assert np.isfinite(found[0])
    assert found[1] == -np.inf
    with pytest.raises(ValueError, match="all of its columns are constant"):
        TableTransform("standard").fit(np.ones((5, 2)))


def test_outside_of_the_quantiles_there_is_no_density() -> None:
    x = table()
    transform = TableTransform("quantile").fit(x)
    outside = x[:1].copy()
    outside[0, 0] = 2000
    assert transform.log_jacobian(outside)[0] == -np.inf


@pytest.mark.parametrize("whiten", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_what_was_learnt_can_be_restored(kind: str | None, whiten: bool) -> None:
    x = table()
    fitted = TableTransform(kind, whiten).fit(x)
    restored = TableTransform(kind, whiten).restore(fitted.state())
    z = fitted.transform(x)
    np.testing.assert_array_equal(restored.transform(x), z)
    np.testing.assert_array_equal(restored.inverse_transform(z), fitted.inverse_transform(z))
    np.testing.assert_array_equal(restored.log_jacobian(x), fitted.log_jacobian(x))
