"""Distributions whose density is known: their points, densities and entropies, and the mixture's quantiles."""

import numpy as np
import pytest
import torch
from scipy.stats import ks_2samp, kstest, norm

import ddpm
from ddpm.datasets import DISTRIBUTIONS, mixture, mixture_density, mixture_entropy, mixture_quantile


def cdf(x: np.ndarray) -> np.ndarray:
    return norm.cdf(x, -4) / 3 + 2 * norm.cdf(x, 4) / 3


def test_points() -> None:
    x = ddpm.datasets.mixture()
    assert x.shape == (1000, 1)
    assert x.dtype == torch.float32
    assert torch.equal(x, mixture(1000, seed=0))
    assert torch.equal(x[:10], mixture(10))  # a point depends on its index alone
    assert not torch.equal(x, mixture(1000, seed=1))
    assert mixture(0).shape == (0, 1)


def test_two_modes_one_to_two() -> None:
    count = 100_000
    x = mixture(count, seed=3).double().numpy()[:, 0]
    assert kstest(x, cdf).pvalue > 1e-3
    left = np.mean(x < 0)  # less than 1e-4 of either mode lies on the other side of 0
    assert abs(left - cdf(np.zeros(1))[0]) < 5 * np.sqrt(2 / 9 / count)
    for side, mean in ((x < 0, -4), (x >= 0, 4)):
        assert abs(np.mean(x[side]) - mean) < 5 / np.sqrt(side.sum())
        assert abs(np.var(x[side]) - 1) < 5 * np.sqrt(2 / side.sum())


def test_density_quantiles_and_entropy_agree() -> None:
    x = np.linspace(-14, 14, 100_001)
    np.testing.assert_allclose(mixture_density(x), norm.pdf(x, -4) / 3 + 2 * norm.pdf(x, 4) / 3, rtol=1e-12)
    p = np.linspace(1e-6, 1 - 1e-6, 1001)
    np.testing.assert_allclose(cdf(mixture_quantile(p)), p, atol=1e-7)
    # the modes hardly overlap: the entropy is that of one mode plus that of their choice, less at most 0.001
    apart = 0.5 * np.log(2 * np.pi * np.e) + np.log(3) - 2 / 3 * np.log(2)
    assert apart - 1e-3 < mixture_entropy() < apart
    drawn = mixture(100_000, seed=4).double().numpy()
    assert np.mean(-np.log(mixture_density(drawn))) == pytest.approx(mixture_entropy(), abs=5 * 0.95 / 100_000**0.5)


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_points_density_and_entropy_of(name: str) -> None:
    distribution, count = DISTRIBUTIONS[name], 20_000
    x = distribution.sample(count, 3)
    assert x.shape == (count, distribution.dim)
    assert x.dtype == torch.float32
    assert torch.equal(x[:10], distribution.sample(10, 3))  # a point depends on its index alone
    assert not torch.equal(x[:10], distribution.sample(10, 4))
    nats = -distribution.log_density(x.numpy())
    assert np.isfinite(nats).all()
    assert nats.mean() == pytest.approx(distribution.entropy(), abs=5 * nats.std() / count**0.5 + 1e-12)
    assert distribution.log_density(np.zeros((0, distribution.dim))).shape == (0,)
    with pytest.raises(ValueError, match=rf"x must have shape \[N, {distribution.dim}\]; got \[3, 5\]"):
        distribution.log_density(np.zeros((3, 5)))


@pytest.mark.parametrize("name", ["moons", "eight-gaussians", "checkerboard"])
def test_density_is_one_in_sum(name: str) -> None:
    # summed at midpoints of squares whose side is a fifth of the narrowest standard deviation
    side = np.arange(-3, 3, 0.01) + 0.005
    grid = np.stack(np.meshgrid(side, side), -1).reshape(-1, 2)
    assert np.exp(DISTRIBUTIONS[name].log_density(grid)).sum() * 0.01**2 == pytest.approx(1, abs=1e-6)


def test_moons_are_those_of_scikit_learn() -> None:
    datasets = pytest.importorskip("sklearn.datasets")
    x = datasets.make_moons(4000, noise=0.05, random_state=0)[0]
    own = DISTRIBUTIONS["moons"].sample(4000, 1).numpy()
    for k in range(2):
        assert ks_2samp(x[:, k], own[:, k]).pvalue > 1e-3
    assert ks_2samp(x.sum(1), own.sum(1)).pvalue > 1e-3


def test_what_lies_off_the_board_has_no_density() -> None:
    points = [[-1.5, -1.5], [-0.5, -1.5], [2.1, 0.5], [0.5, 0.5]]
    assert list(np.isfinite(DISTRIBUTIONS["checkerboard"].log_density(points))) == [True, False, False, True]


def test_bad_arguments_are_named() -> None:
    with pytest.raises(ValueError, match=r"count must be from 0 .*got -1"):
        mixture(-1)
    with pytest.raises(ValueError, match="seed must be from"):
        mixture(3, seed=2**64)
