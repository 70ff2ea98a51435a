# mypy: disable-error-code="arg-type"
"""The bound in closed form: equal to its reference, and to Eq. 3 on average."""

import math

import oracle
import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Normal

import ddpm
from kernels import backends, noise, schedules
from kernels.networks import MLPPair
from kernels.variational_bound import accumulate_gradients, reference, variational_bound

# As in test_variational_bound, and one unit more: x_{t-1} is a sum of two products.
ALLOWANCE = 3.0

# `native` has a kernel; the other backends call the network for chunks of time and blocks of samples
CASES = [(1, 4, 1, 1), (1, 7, 2, 2), (2, 4, 50, 37), (5, 33, 9, 5)]
GRID = [
    *oracle.cases("native", [*CASES, (1, 4, 1003, 250)]),
    *oracle.cases("vectorized", CASES),
    *oracle.cases("compiled", [(2, 4, 50, 37)]),
    *oracle.cases("triton", [(2, 4, 50, 37)]),
]


@pytest.mark.parametrize(("backend", "dim", "hidden", "count", "steps"), GRID)
def test_equality(backend: str, dim: int, hidden: int, count: int, steps: int) -> None:
    betas, weights = oracle.betas(oracle.schedule_for(dim, hidden, count, steps), steps), oracle.weights(dim, hidden)
    found: list[list[list[Tensor]]] = [[], [], []]
    for draw in oracle.draws(count, steps):
        device, x0 = oracle.device(backend), oracle.points(count, dim, draw)
        place = {"seed": 7, "step": draw, "first": 2**32 - 20, "backend": backend}
        network = MLPPair.of_tensors([w.to(device).requires_grad_() for w in weights])
        loss = variational_bound(network, x0.to(device), betas, closed_form=True, **place)
        found[0].append([v.detach().cpu() for v in (loss, *torch.autograd.grad(loss, network.tensors))])
        eps = noise.normal(count, dim, steps, device=device, **place).cpu()
        for to, dtype in zip(found[1:], (torch.float32, torch.float64), strict=True):
            leaves = [w.detach().to(dtype).requires_grad_() for w in weights]
            loss = reference.closed_form_bound(oracle.network(leaves), x0.to(dtype), betas, eps.to(dtype))
            to.append([loss.detach(), *torch.autograd.grad(loss, leaves)])
    actual, single, exact = ([torch.stack(v) for v in zip(*side, strict=True)] for side in found)
    if backends.get(backend).closed_form:
        oracle.assert_as_exact(actual, single, exact, ALLOWANCE)
    else:  # the network is called, and its products are sums over all rows and steps at once: as in test_unfused
        for a, e in zip(actual, exact, strict=True):
            torch.testing.assert_close(a.double(), e, rtol=0, atol=3e-6 * float(e.abs().max()))


def test_the_expectation_is_that_of_eq_3() -> None:
    steps, x0 = 20, oracle.points(50, 2).double()
    betas = oracle.betas("linear", steps)
    network = ddpm.GaussianMLP(2, (8,), preconditioned=ddpm.Schedule(betas), seed=1).double()
    nn.init.normal_(network.mean[2].weight, std=0.3, generator=torch.Generator().manual_seed(0))
    values = torch.tensor(
        [
            [float(variational_bound(network, x0, betas, step=i, closed_form=form).detach()) for i in range(150)]
            for form in (False, True)
        ],
        dtype=torch.float64,
    )
    difference = values[1] - values[0]
    assert abs(float(difference.mean())) < 4 * float(difference.std()) / math.sqrt(150)


@pytest.mark.parametrize("backend", ["reference", "native", "vectorized"])
def test_a_perfect_network_of_gaussian_data_has_the_entropy(backend: str) -> None:
    # data N(0, 1) stays N(0, 1), and a preconditioned network is exact for it from the start
    schedule = ddpm.Schedule.log_snr(50)
    model = ddpm.Diffusion(ddpm.GaussianMLP(1, (4,), preconditioned=schedule), schedule, backend)
    x0 = noise.normal(1000, 1, seed=5)[0]
    with torch.no_grad():
        draws = torch.stack([model.loss(x0, step=i, closed_form=True) for i in range(30)]) * (schedule.steps + 1)
    difference = draws + Normal(0.0, 1.0).log_prob(x0).mean()  # p of the whole chain is q, so the bound is tight
    assert abs(float(difference.mean())) < 4 * float(difference.std()) / math.sqrt(len(draws))
    assert float(difference.std()) < 0.1


def test_the_posterior_is_that_of_a_grid() -> None:
    betas, x0 = oracle.betas("linear", 6), 0.7
    posterior, alpha_bar = schedules.posterior(betas, torch.device("cpu")), schedules.alpha_bars(betas)
    assert [float(v[0]) for v in posterior] == [1, 0, 0]
    grid = torch.linspace(-8, 8, 20001, dtype=torch.float64)
    for t in range(2, 7):  # q(x_{t-1} | x_0) q(x_t | x_{t-1}), normalised
        before, after = alpha_bar[t - 2], torch.tensor(0.3, dtype=torch.float64)
        q = Normal(before.sqrt() * x0, (1 - before).sqrt()).log_prob(grid)
        q = q + Normal((1 - betas[t - 1]).sqrt() * grid, betas[t - 1].sqrt()).log_prob(after)
        p = torch.softmax(q, 0)
        mean = float((p * grid).sum())
        of_data, of_state, variance = (float(v[t - 1]) for v in posterior)
        assert mean == pytest.approx(of_data * x0 + of_state * float(after), abs=1e-9)
        assert float((p * (grid - mean) ** 2).sum()) == pytest.approx(variance, abs=1e-9)


@pytest.mark.parametrize("backend", ["reference", "vectorized", "native"])
def test_accumulated_gradients_and_training(backend: str) -> None:
    schedule, x0 = ddpm.Schedule.log_snr(20), oracle.points(50, 1)
    model = ddpm.Diffusion(ddpm.GaussianMLP(1, (4,), seed=1), schedule, backend)
    expected = torch.autograd.grad(model.loss(x0, closed_form=True), list(model.parameters()))
    model.backward(x0, closed_form=True)
    assert all(torch.equal(p.grad, g) for p, g in zip(model.parameters(), expected, strict=True))
    sampled = accumulate_gradients(model.network, x0, schedule.betas, backend=backend)
    assert float(sampled) != float(model.loss(x0, closed_form=True).detach())


def test_which_backends_have_a_kernel_for_it() -> None:
    pair = oracle.pair(oracle.weights(1, 4))
    holding = [name for name, backend in backends.REGISTERED.items() if backend.holds(pair, "variational_bound", True)]
    assert holding == ["native"]
    said = backends.get("vectorized").why_called(pair, "variational_bound", True)
    assert said == "backend 'vectorized' has no kernel for the bound in closed form"
