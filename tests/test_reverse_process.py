# mypy: disable-error-code="arg-type"
"""Whole sampling histories against the reference in float64, on the same noise; a sample depends on its index alone."""

import math

import oracle
import pytest
import torch
from torch import Tensor

from kernels import noise
from kernels.reverse_process import reference, reverse_process

# Two float32 operations that round a number differently leave it one unit apart. Measured over the grid: 0.44 at the
# most, in small cases.
ALLOWANCE = 1.0


def assert_equal(
    backend: str, dim: int, hidden: int, count: int, steps: int, std_shift: float = 1.0, first: int = 1000
) -> None:
    weights, device, found = oracle.weights(dim, hidden, std_shift), oracle.device(backend), []
    there = oracle.pair(weights, backend)
    for draw in oracle.draws(count, steps):
        place = {"seed": 7 + draw, "first": first, "backend": backend}
        history = reverse_process(there, steps, count, history=True, **place).cpu()
        assert torch.equal(history[-1], reverse_process(there, steps, count, **place).cpu())

        last = noise.normal(count, dim, stream=noise.TERMINAL, device=device, **place)[0].cpu()
        eps = noise.normal(count, dim, steps, stream=noise.REVERSE, device=device, **place).cpu()
        assert torch.equal(history[0], last)
        single, exact = (
            reference.history(oracle.network([w.to(t) for w in weights]), last.to(t), steps, eps.to(t))
            for t in (torch.float32, torch.float64)
        )
        found.append((history, single, exact))
    ours, references, exacts = ([torch.stack(states)] for states in zip(*found, strict=True))
    oracle.assert_as_exact(ours, references, exacts, ALLOWANCE)


# compiled: units unrolled for D * H <= 8, matrix products above; each with one and with several dimensions
CHOSEN = [(1, 4, 250), (2, 7, 37), (1, 33, 1), (5, 1, 2)]


@pytest.mark.parametrize(("backend", "dim", "hidden", "count", "steps"), oracle.grid(CHOSEN))
def test_equality(backend: str, dim: int, hidden: int, count: int, steps: int) -> None:
    assert_equal(backend, dim, hidden, count, steps)


@pytest.mark.triton
@pytest.mark.parametrize(("dim", "hidden"), oracle.sizes("DH", [(1, 4), (3, 7)]))
def test_triton_sample_depends_on_its_index_alone(dim: int, hidden: int) -> None:
    network = oracle.pair(oracle.weights(dim, hidden), "triton")
    whole = reverse_process(network, 5, 70, seed=2, backend="triton")
    for first, count in ((0, 1), (1, 69), (7, 33), (31, 2), (32, 32), (69, 1)):
        part = reverse_process(network, 5, count, seed=2, first=first, backend="triton")
        assert torch.equal(whole[first : first + count], part), first


@pytest.mark.parametrize("backend", oracle.FUSED)
@pytest.mark.parametrize(("dim", "hidden", "steps"), oracle.sizes("DHT", [(1, 4, 250), (2, 7, 37)]))
def test_a_call_may_cross_2_to_the_32(backend: str, dim: int, hidden: int, steps: int) -> None:
    start, before, after = 2**32 - 17, 17, 6
    assert_equal(backend, dim, hidden, before + after, steps, first=start)
    network = oracle.pair(oracle.weights(dim, hidden), backend)
    whole, *parts = (
        reverse_process(network, steps, count, first=first, backend=backend)
        for count, first in ((before + after, start), (before, start), (after, 2**32))
    )
    assert torch.equal(whole, torch.cat(parts))


@pytest.mark.triton
def test_triton_no_samples() -> None:
    network = oracle.pair(oracle.weights(1, 4), "triton")
    shape = reverse_process(network, 5, 0, history=True, backend="triton").shape
    assert shape == (6, 0, 1)


@pytest.mark.parametrize("backend", oracle.BACKENDS)
def test_several_tiles_of_time(backend: str) -> None:
    assert_equal(backend, 1, 4, 100, 500)


@pytest.mark.parametrize("backend", oracle.BACKENDS)
def test_std_at_its_floor(backend: str) -> None:
    # softplus falls below the floor of 1e-6 at -13.8, so that some elements are held there and others are not
    assert_equal(backend, 1, 4, 1000, 250, std_shift=-13.8)


@pytest.mark.parametrize("history", [False, True])
@pytest.mark.parametrize("backend", oracle.BACKENDS)
@pytest.mark.parametrize(("dim", "hidden", "steps"), oracle.sizes("DHT", [(1, 4, 250), (2, 7, 37)]))
def test_a_sample_depends_on_its_index_alone(backend: str, dim: int, hidden: int, steps: int, history: bool) -> None:
    # across the borders of blocks of every width in use: 1024 and 512
    network = oracle.pair(oracle.weights(dim, hidden))

    def sample(count: int, first: int = 0) -> Tensor:
        return reverse_process(network, steps, count, seed=2, first=first, history=history, backend=backend)

    whole = sample(1100)
    assert torch.equal(whole, sample(1100))
    for first in (1, 7, 500, 511, 512, 999, 1020, 1023, 1024, 1025, 1099):
        assert torch.equal(whole[..., first:, :], sample(1100 - first, first)), first
    for count in (1, 2, 500, 1000, 1024):
        assert torch.equal(whole[..., :count, :], sample(count)), count


@pytest.mark.parametrize("backend", oracle.BACKENDS)
def test_a_stationary_chain_stays_standard_normal(backend: str) -> None:
    # mean sqrt(1 - beta) x and std sqrt(beta) leave N(0, 1) as it is; relu(x) - relu(-x) = x, the other units are zero
    beta, count, steps = 0.02, 5000, 250
    first, second = torch.zeros(4, 2), torch.zeros(1, 4)
    first[0, 0], first[1, 0] = 1, -1
    second[0, 0], second[0, 1] = (1 - beta) ** 0.5, -((1 - beta) ** 0.5)
    bias = torch.tensor([math.log(math.expm1(beta**0.5))])
    weights = (
        first,
        torch.zeros(4),
        second,
        torch.zeros(1),
        torch.zeros(4, 2),
        torch.zeros(4),
        torch.zeros(1, 4),
        bias,
    )
    found = reverse_process(oracle.pair(weights), steps, count, history=True, backend=backend)
    history = found[:, :, 0].double()
    assert history.mean(1).abs().max() < 5 / count**0.5
    assert (history.var(1) - 1).abs().max() < 5 * (2 / count) ** 0.5


def test_the_exact_reverse_of_gaussian_data_returns_it() -> None:
    # x_{t-1} given x_t is Gaussian for data N(m, s^2), here with the conditional distribution of a joint Gaussian
    mean, std, steps, count = -4.0, 0.5, 40, 20_000
    betas = oracle.betas("linear", steps)
    alpha_bar = torch.cat((torch.ones(1, dtype=torch.float64), torch.cumprod(1 - betas, 0)))
    means, variances = alpha_bar.sqrt() * mean, alpha_bar * std**2 + 1 - alpha_bar

    def network(x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        i = round(float(t[0]) * (steps + 1))
        gain = (1 - betas[i - 1]).sqrt() * variances[i - 1] / variances[i]
        variance = variances[i - 1] * betas[i - 1] / variances[i]
        return means[i - 1] + gain * (x - means[i]), variance.sqrt().expand_as(x)

    normals = noise.normal(count, 1, steps + 1, seed=9, backend="vectorized").double()
    last = means[-1] + variances[-1].sqrt() * normals[steps]
    history = reference.history(network, last, steps, normals[:steps])[:, :, 0].flip(0)
    assert torch.all((history.mean(1) - means).abs() < 5 * (variances / count).sqrt())
    assert torch.all((history.var(1) / variances - 1).abs() < 5 * (2 / count) ** 0.5)


def test_reference_draws_from_torch_without_noise() -> None:
    network, last = oracle.network(oracle.weights(1, 4)), torch.zeros(10, 1)
    state = torch.get_rng_state()
    drawn = [reference.history(network, last, 5) for _ in range(2)]
    torch.set_rng_state(state)
    assert torch.equal(drawn[0], reference.history(network, last, 5))
    assert not torch.equal(*drawn)


@pytest.mark.parametrize("backend", oracle.BACKENDS)
@pytest.mark.parametrize(("history", "shape"), [(False, (0, 1)), (True, (251, 0, 1))])
def test_no_samples(backend: str, history: bool, shape: tuple[int, ...]) -> None:
    assert reverse_process(oracle.pair(oracle.weights(1, 4)), 250, 0, history=history, backend=backend).shape == shape


@pytest.mark.parametrize("backend", oracle.BACKENDS)
def test_autocast_changes_nothing(backend: str) -> None:
    network = oracle.pair(oracle.weights(2, 7))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        under = reverse_process(network, 37, 100, backend=backend)
    assert torch.equal(under, reverse_process(network, 37, 100, backend=backend))


def test_no_gradient() -> None:
    weights = tuple(w.requires_grad_() for w in oracle.weights(1, 4))
    assert not reverse_process(oracle.pair(weights), 5, 3, backend="vectorized").requires_grad


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        ({"count": -1}, ValueError, "count must be from 0 to 281474976710656; got -1"),
        ({"count": 2.0}, TypeError, r"count must be an int; got 2\.0"),
        ({"first": -1}, ValueError, "first must be from 0"),
        ({"first": 2**48 - 2}, ValueError, "first must be from 0 to 281474976710653; got 281474976710654"),
        ({"seed": 2**64}, ValueError, "seed must be from"),
        ({"steps": 0}, ValueError, "steps must be from 1 to"),
        ({"steps": 2**18 + 1}, ValueError, "steps must be from 1 to 262144; got 262145"),
        ({"steps": oracle.betas("constant", 5)}, TypeError, "steps must be an int"),
        ({"network": lambda x, t: (x, x)}, TypeError, "network.dim must be an int; got None"),
        ({"backend": "jax"}, ValueError, "backend must be one of.*got 'jax'"),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, object], error: type[Exception], said: str) -> None:
    good = {"network": oracle.pair(oracle.weights(1, 4)), "steps": 5, "count": 3}
    with pytest.raises(error, match=said):
        reverse_process(**good | {"backend": "vectorized"} | arguments)
