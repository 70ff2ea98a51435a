# mypy: disable-error-code="arg-type"
"""The log-likelihood of a row: exact for an exact model, otherwise a lower bound, and independent of other rows."""

import math

import oracle
import pytest
import torch
from torch.distributions import MultivariateNormal, Normal

import ddpm
from ddpm.likelihood import content_index, log_likelihood

SCHEDULE = ddpm.Schedule.log_snr(30)


def trained(dim: int = 2) -> ddpm.Diffusion:
    network = ddpm.GaussianMLP(dim, (16,), activation="silu", preconditioned=SCHEDULE, seed=1)
    diffusion = ddpm.Diffusion(network, SCHEDULE)
    x0 = oracle.points(400, dim) / 2
    ddpm.train(diffusion, x0, steps=100, progress=False, batch_size=100, draws=4, closed_form=True)
    return diffusion


def test_a_model_of_normal_data_is_exact() -> None:
    # a new preconditioned network reverses the forward process of N(0, 1): every trajectory has the same weight
    diffusion, x0 = ddpm.Diffusion(ddpm.GaussianMLP(2, (4,), preconditioned=SCHEDULE), SCHEDULE), oracle.points(9, 2)
    expected = MultivariateNormal(torch.zeros(2).double(), torch.eye(2).double()).log_prob(x0.double())
    for samples in (1, 3):
        # the tables are float32: 30 roundings of 6e-8 of terms around 3
        torch.testing.assert_close(log_likelihood(diffusion, x0, samples=samples), expected, rtol=0, atol=5e-5)


def test_one_sample_is_the_bound_and_more_are_closer() -> None:
    diffusion, x0 = trained(), oracle.points(200, 2, draw=3) / 2
    found = [float(log_likelihood(diffusion, x0, samples=n).mean()) for n in (1, 16, 128)]
    with torch.no_grad():
        bounds = torch.stack([diffusion.loss(x0, step=i) for i in range(50)]).double() * 2 * (SCHEDULE.steps + 1)
    one = torch.stack([log_likelihood(diffusion, x0, seed=i) for i in range(20)])
    error = float(one.mean(1).std()) / math.sqrt(20) + float(bounds.std()) / math.sqrt(50)
    assert abs(float(one.mean()) + float(bounds.mean())) < 4 * error
    assert found[0] < found[1] < found[2] + 0.01


def test_a_density_integrates_to_one() -> None:
    diffusion = trained(1)
    grid = torch.linspace(-6, 6, 401).unsqueeze(1)
    density = torch.exp(log_likelihood(diffusion, grid, samples=64))
    assert float(torch.trapezoid(density, grid[:, 0].double())) == pytest.approx(1, abs=0.03)


def test_a_row_does_not_depend_on_those_beside_it() -> None:
    diffusion, x0 = trained(), oracle.points(50, 2)
    whole = log_likelihood(diffusion, x0, samples=2)
    order = torch.randperm(50, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(log_likelihood(diffusion, x0[order], samples=2), whole[order], rtol=0, atol=1e-10)
    torch.testing.assert_close(log_likelihood(diffusion, x0[7:9], samples=2), whole[7:9], rtol=0, atol=1e-10)
    assert len(set(content_index(x0).tolist())) == 50
    assert torch.equal(content_index(torch.tensor([[0.0, 1.0]])), content_index(torch.tensor([[-0.0, 1.0]])))
    assert not torch.equal(content_index(torch.tensor([[0.0, 1.0]])), content_index(torch.tensor([[1.0, 0.0]])))


def test_the_noise_is_standard_normal() -> None:
    from ddpm.likelihood import _normals

    eps = torch.cat([_normals(content_index(oracle.points(500, 2)), 2, k, 3, 0) for k in range(5)]).flatten()
    assert abs(float(eps.mean())) < 4 / math.sqrt(len(eps))
    assert float(eps.var()) == pytest.approx(1, abs=0.05)
    assert float(Normal(0.0, 1.0).cdf(eps).sort().values[len(eps) // 4]) == pytest.approx(0.25, abs=0.02)


def test_bad_arguments_are_named() -> None:
    diffusion = trained()
    for arguments, said in (
        ((torch.zeros(3, 1),), r"x0 must have shape \[N, 2\]"),
        ((torch.full((3, 2), math.nan),), "x0 must be finite"),
    ):
        with pytest.raises(ValueError, match=said):
            log_likelihood(diffusion, *arguments)
    with pytest.raises(ValueError, match="samples must be from 1"):
        log_likelihood(diffusion, torch.zeros(3, 2), samples=0)
    with pytest.raises(ValueError, match=r"condition must have shape \[3, 0\]"):
        log_likelihood(diffusion, torch.zeros(3, 2), condition=torch.ones(3, 1))
