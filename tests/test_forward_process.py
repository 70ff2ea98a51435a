# mypy: disable-error-code="arg-type"
"""x_0 ... x_T of every backend against the reference in float64, on the same noise."""

import itertools

import oracle
import pytest
import torch
from torch import Tensor

from kernels import noise
from kernels.forward_process import forward_process, reference

# Both sides round at every step, so that luck plays no part. Measured: 0.0 at the most.
ALLOWANCE = 0.5


def assert_equal(backend: str, dim: int, count: int, steps: int) -> None:
    betas = oracle.betas(oracle.schedule_for(dim, count, steps), steps)
    place = {"seed": 7, "first": 1000, "backend": backend}
    device, found = oracle.device(backend), []
    for draw in oracle.draws(count, steps):
        x0 = oracle.points(count, dim, draw)
        eps = noise.normal(count, dim, steps, step=draw, device=device, **place).cpu()
        trajectory = forward_process(x0.to(device), betas, step=draw, **place).cpu()
        assert torch.equal(trajectory[0], x0)
        single, exact = (reference.trajectory(x0.to(t), betas, eps.to(t)) for t in (torch.float32, torch.float64))
        found.append((trajectory, single, exact))
    ours, references, exacts = ([torch.stack(states)] for states in zip(*found, strict=True))
    oracle.assert_as_exact(ours, references, exacts, ALLOWANCE)


SIZES = {
    "vectorized": list(itertools.product(oracle.DIMS, oracle.COUNTS, (*oracle.STEPS, 700))),
    "compiled": [(dim, n, steps) for dim, steps in ((1, 250), (5, 1), (5, 2)) for n in oracle.COUNTS],
    "triton": [(1, 1, 1), (1, 127, 250), (2, 65, 5), (3, 3, 37), (8, 33, 2)],
}


@pytest.mark.parametrize(
    ("backend", "dim", "count", "steps"),
    [case for backend, sizes in SIZES.items() for case in oracle.cases(backend, sizes, "DNT")],
)
def test_equality(backend: str, dim: int, count: int, steps: int) -> None:
    assert_equal(backend, dim, count, steps)


@pytest.mark.triton
@pytest.mark.parametrize("start", [0, 2**32 - 127])
def test_triton_sample_depends_on_its_index_alone(start: int) -> None:
    x0, betas = oracle.points(300, 1).to(oracle.device("triton")), oracle.betas("cosine", 37)
    whole = forward_process(x0, betas, first=start, backend="triton")
    for first in (1, 127, 128, 299):
        part = forward_process(x0[first:], betas, first=start + first, backend="triton")
        assert torch.equal(whole[:, first:], part), first


@pytest.mark.parametrize("name", oracle.SCHEDULES)
def test_moments(name: str) -> None:
    # q(x_t | x_0) = N(sqrt(alpha_bar) x_0, 1 - alpha_bar) follows from the steps, which do not use it
    count, betas = 20_000, oracle.betas(name, 50)
    trajectory = forward_process(torch.full((count, 1), 3.0), betas, seed=1, backend="vectorized")[1:, :, 0].double()
    alpha_bar = torch.cumprod(1 - betas, 0)
    variance = 1 - alpha_bar
    # 5 standard errors
    assert torch.all((trajectory.mean(1) - 3 * alpha_bar.sqrt()).abs() < 5 * (variance / count).sqrt())
    assert torch.all((trajectory.var(1) / variance - 1).abs() < 5 * (2 / count) ** 0.5)


def test_reference_takes_any_dtype_and_its_own_noise() -> None:
    x0, betas = oracle.points(10, 2), oracle.betas("linear", 5)
    trajectory = forward_process(x0.double(), betas, backend="reference")
    assert trajectory.dtype == torch.float64
    eps = noise.normal(10, 2, 5, backend="reference")
    assert torch.equal(trajectory, reference.trajectory(x0.double(), betas, eps.double()))
    state = torch.get_rng_state()
    drawn = [reference.trajectory(x0, betas) for _ in range(2)]
    torch.set_rng_state(state)
    assert torch.equal(drawn[0], reference.trajectory(x0, betas))  # from torch's generator, as in the tutorial
    assert not torch.equal(*drawn)


@pytest.mark.parametrize("start", [0, 2**32 - 500])
@pytest.mark.parametrize("backend", oracle.BACKENDS)
def test_a_sample_depends_on_its_index_alone(backend: str, start: int) -> None:
    x0, betas = oracle.points(1100, 1), oracle.betas("cosine", 250)
    whole = forward_process(x0, betas, first=start, backend=backend)
    for first in (1, 500, 1023, 1024, 1025):
        part = forward_process(x0[first:], betas, first=start + first, backend=backend)
        assert torch.equal(whole[:, first:], part), first


@pytest.mark.parametrize(
    ("x0", "betas", "error", "said"),
    [
        ([[1.0]], torch.full((3,), 0.1), TypeError, "x0 must be a torch.Tensor; got list"),
        (torch.zeros(3), torch.full((3,), 0.1), ValueError, r"x0 must have shape \[N, D\].*got \[3\]"),
        (torch.zeros(0, 1), torch.full((3,), 0.1), ValueError, r"x0 must have shape \[N, D\] with N >= 1.*\[0, 1\]"),
        (torch.zeros(3, 1).double(), torch.full((3,), 0.1), TypeError, "x0 must be float32 for backend 'vectorized'"),
        (torch.zeros(3, 1).int(), torch.full((3,), 0.1), TypeError, "x0 must have a floating dtype; got torch.int32"),
        (torch.tensor([[1.0], [torch.nan]]), torch.full((3,), 0.1), ValueError, "x0 must be finite; 1 of"),
        (torch.zeros(3, 1), torch.full((2**18 + 1,), 0.1), ValueError, "T, the length of betas, must be .*got 262145"),
        (torch.zeros(3, 1), torch.zeros(0), ValueError, r"betas must have shape \[T\] with T >= 1; got \[0\]"),
        (torch.zeros(3, 1), torch.full((3, 1), 0.1), ValueError, r"betas must have shape \[T\]"),
        (torch.zeros(3, 1), torch.tensor([0.1, 1.0]), ValueError, r"betas must lie in \(0, 1\); got values from 0\.1"),
        (torch.zeros(3, 1), torch.tensor([0.1, 0.0]), ValueError, r"betas must lie in \(0, 1\)"),
        (torch.zeros(3, 1), torch.tensor([0.1, torch.nan]), ValueError, r"betas must lie in \(0, 1\)"),
        (torch.zeros(3, 1), torch.tensor([1]), TypeError, "betas must have a floating dtype; got torch.int64"),
    ],
)
def test_bad_arguments_are_named(x0: Tensor, betas: Tensor, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        forward_process(x0, betas, backend="vectorized")


def test_the_reference_is_differentiable_in_the_data() -> None:
    x0, betas = oracle.points(3, 1).requires_grad_(), oracle.betas("constant", 5)
    (gradient,) = torch.autograd.grad(forward_process(x0, betas, backend="reference")[-1].sum(), x0)
    torch.testing.assert_close(gradient, torch.full((3, 1), 0.98**2.5))
    with pytest.raises(ValueError, match="x0 requires grad, but only the reference is differentiable in it"):
        forward_process(x0, betas, backend="vectorized")
    with pytest.raises(ValueError, match="betas require grad, but only the reference"):
        forward_process(x0.detach(), betas.requires_grad_(), backend="vectorized")
