"""The bound by its terms: exact for an exact Gaussian model, and in sum the bound itself."""

import math

import oracle
import pytest
import torch
from torch import Tensor, nn

import ddpm
from ddpm.terms import bound_terms
from kernels import schedules

SCHEDULE = ddpm.Schedule.log_snr(30)


class Exact(nn.Module):
    """The posterior p(x_{t-1} | x_t) of data N(0, 1): every x_t is N(0, 1), so it is N(sqrt(1 - beta) x_t, beta)."""

    dim = 1

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        step = torch.round(t * (SCHEDULE.steps + 1)).long() - 1
        beta = SCHEDULE.betas.to(x)[step]
        return torch.sqrt(1 - beta) * x, torch.sqrt(beta) + 0 * self.weight


def test_an_exact_model_has_the_entropy_as_its_bound() -> None:
    x0 = torch.randn(20_000, 1, generator=torch.Generator().manual_seed(0))
    terms = bound_terms(ddpm.Diffusion(Exact(), SCHEDULE, "reference"), x0)
    assert terms.shape == (31,)
    # the standard error of the mean of -log N(x; 0, 1) is 0.005
    assert float(terms.sum()) == pytest.approx(0.5 * math.log(2 * math.pi * math.e), abs=0.02)
    # KL(q(x_{t-1} | x_t, x_0) || p): variances v and beta, and means whose difference is normal with variance beta - v
    variance = schedules.posterior(SCHEDULE.betas, torch.device("cpu")).variance
    expected = 0.5 * torch.log(SCHEDULE.betas / variance)[1:]
    torch.testing.assert_close(terms[1:-1], expected, rtol=0.05, atol=1e-4)
    # KL(q(x_T | x_0) || N(0, 1)), the mean over x_0
    alpha_bar = float(SCHEDULE.alpha_bar[-1])
    assert float(terms[-1]) == pytest.approx(-0.5 * math.log1p(-alpha_bar), rel=0.05)


def test_their_sum_is_the_bound() -> None:
    network = ddpm.GaussianMLP(2, (16,), preconditioned=SCHEDULE, shared=True, condition_dim=1, seed=1)
    diffusion, x0, condition = ddpm.Diffusion(network, SCHEDULE), oracle.points(500, 2), torch.ones(500, 1)
    terms = bound_terms(diffusion, x0, seed=3, condition=condition)
    losses = [float(diffusion.loss(x0, step=i, closed_form=True, condition=condition).detach()) for i in range(20)]
    bound = 2 * 31 * sum(losses) / 20  # the loss is divided by D (T + 1)
    assert float(terms.sum()) == pytest.approx(bound, rel=0.03)
    assert (terms[1:] >= 0).all()


def test_bad_arguments_are_named() -> None:
    diffusion = ddpm.Diffusion(ddpm.GaussianMLP(2, (4,)), SCHEDULE)
    with pytest.raises(ValueError, match=r"x0 must have shape \[N, 2\]"):
        bound_terms(diffusion, torch.zeros(3, 1))
    with pytest.raises(ValueError, match="x0 must be finite"):
        bound_terms(diffusion, torch.full((3, 2), math.nan))
    with pytest.raises(ValueError, match="condition"):
        bound_terms(diffusion, torch.zeros(3, 2), condition=torch.zeros(3, 1))
