"""The tutorial's mixture: its points, its density, its quantiles and its entropy."""

import numpy as np
import pytest
import torch
from scipy.stats import kstest, norm

import ddpm
from ddpm.datasets import mixture, mixture_density, mixture_entropy, mixture_quantile


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
    left = np.mean(x < 0)  # what crosses from either mode is below 1e-4 of it
    assert abs(left - cdf(np.zeros(1))[0]) < 5 * np.sqrt(2 / 9 / count)
    for side, mean in ((x < 0, -4), (x >= 0, 4)):
        assert abs(np.mean(x[side]) - mean) < 5 / np.sqrt(side.sum())
        assert abs(np.var(x[side]) - 1) < 5 * np.sqrt(2 / side.sum())


def test_density_quantiles_and_entropy_agree() -> None:
    x = np.linspace(-14, 14, 100_001)
    np.testing.assert_allclose(mixture_density(x), norm.pdf(x, -4) / 3 + 2 * norm.pdf(x, 4) / 3, rtol=1e-12)
    p = np.linspace(1e-6, 1 - 1e-6, 1001)
    np.testing.assert_allclose(cdf(mixture_quantile(p)), p, atol=1e-7)
    # the modes hardly overlap: the entropy of one, and that of which, 2.0552 - less than 0.001
    apart = 0.5 * np.log(2 * np.pi * np.e) + np.log(3) - 2 / 3 * np.log(2)
    assert apart - 1e-3 < mixture_entropy() < apart
    drawn = mixture(100_000, seed=4).double().numpy()
    assert np.mean(-np.log(mixture_density(drawn))) == pytest.approx(mixture_entropy(), abs=5 * 0.95 / 100_000**0.5)


def test_bad_arguments_are_named() -> None:
    with pytest.raises(ValueError, match=r"count must be from 0 .*got -1"):
        mixture(-1)
    with pytest.raises(ValueError, match="seed must be from"):
        mixture(3, seed=2**64)
