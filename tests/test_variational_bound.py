# mypy: disable-error-code="arg-type"
"""The bound and every gradient against the reference in float64, and the reference against mathematics."""

import math
from collections.abc import Iterable

import oracle
import pytest
import torch
from torch import Tensor

from kernels import noise
from kernels.forward_process import reference as forward_reference
from kernels.networks import MLPPair, Network
from kernels.variational_bound import reference, variational_bound

# Two units: the last operations of the two sides round differently. Measured over the grid, on AVX2 and AVX-512: 1.4 at
# the most in small cases, and 0.6 in large ones.
ALLOWANCE = 2.0

# How far one float32 rounding moves the z of a hidden unit, of magnitude 4. Among millions of z some lie closer to 0.
# A gradient jumps by the whole share of such a unit: an error of 87 units was seen, and its z gives 87.7.
ROUNDING = 5e-7


def reference_bound(
    weights: tuple[Tensor, ...], x0: Tensor, betas: Tensor, eps: Tensor, dtype: torch.dtype, kink: float = 0.0
) -> list[Tensor]:
    """Return the loss and the gradient of every weight, by the reference in `dtype`."""
    leaves = [w.to(dtype).requires_grad_() for w in weights]
    loss = reference.bound(oracle.network(leaves, kink), x0.to(dtype), betas, eps.to(dtype))
    return [loss.detach(), *torch.autograd.grad(loss, leaves)]


def bound(weights: tuple[Tensor, ...], x0: Tensor, betas: Tensor, **options: object) -> list[Tensor]:
    """Return the loss and the gradient of every weight, by a backend."""
    device = oracle.device(options["backend"])
    leaves = tuple(w.to(device).clone().requires_grad_() for w in weights)
    loss = variational_bound(MLPPair.of_tensors(leaves), x0.to(device), betas, **options)
    return [loss.detach().cpu(), *(gradient.cpu() for gradient in torch.autograd.grad(loss, leaves))]


def assert_equal(
    backend: str,
    dim: int,
    hidden: int,
    count: int,
    steps: int,
    std_shift: float = 5.0,
    weights: tuple[Tensor, ...] | None = None,
    first: int = 1000,
) -> None:
    betas = oracle.betas(oracle.schedule_for(dim, hidden, count, steps), steps)
    weights = oracle.weights(dim, hidden, std_shift) if weights is None else weights
    place = {"seed": 7, "first": first, "backend": backend}
    draws = oracle.draws(count, steps)
    data = [oracle.points(count, dim, draw) for draw in draws]

    def by_reference(dtype: torch.dtype, kink: float = 0.0) -> list[Tensor]:
        device = oracle.device(backend)
        noises = (noise.normal(count, dim, steps, step=draw, device=device, **place).cpu() for draw in draws)
        return stack(
            reference_bound(weights, x0, betas, eps, dtype, kink) for x0, eps in zip(data, noises, strict=True)
        )

    def on_the_kink() -> list[Tensor]:
        on, off = (by_reference(torch.float64, kink) for kink in (-ROUNDING, ROUNDING))
        return [(p - q).abs() for p, q in zip(on, off, strict=True)]

    actual = stack(bound(weights, x0, betas, step=draw, **place) for draw, x0 in zip(draws, data, strict=True))
    single, exact = by_reference(torch.float32), by_reference(torch.float64)
    oracle.assert_as_exact(actual, single, exact, ALLOWANCE, on_the_kink)


def stack(found: Iterable[list[Tensor]]) -> list[Tensor]:
    """Stack each tensor over the draws."""
    return [torch.stack(tensors) for tensors in zip(*found, strict=True)]


# compiled: units unrolled for D * H <= 8, matrix products above, each with one and with several dimensions. 500 steps
# are two tiles of time.
CHOSEN = [(1, 4, 250), (1, 4, 500), (2, 4, 37), (5, 1, 2), (1, 33, 2), (5, 7, 37)]


@pytest.mark.parametrize(("backend", "dim", "hidden", "count", "steps"), oracle.grid(CHOSEN))
def test_equality(backend: str, dim: int, hidden: int, count: int, steps: int) -> None:
    assert_equal(backend, dim, hidden, count, steps)


@pytest.mark.parametrize("backend", oracle.BACKENDS)
@pytest.mark.parametrize(("dim", "hidden", "steps"), oracle.sizes("DHT", [(1, 4, 250), (5, 7, 37)]))
def test_std_at_its_floor(backend: str, dim: int, hidden: int, steps: int) -> None:
    # softplus falls below the floor of 1e-6 at -13.8, so that some elements are held there and others are not
    assert_equal(backend, dim, hidden, 1000, steps, std_shift=-13.8)


@pytest.mark.parametrize("backend", oracle.FUSED)
@pytest.mark.parametrize(("dim", "hidden", "steps"), oracle.sizes("DHT", [(1, 4, 250), (5, 7, 37)]))
@pytest.mark.parametrize("first", [2**32 - 17, 2**48 - 23])
def test_an_index_has_48_bits(backend: str, dim: int, hidden: int, steps: int, first: int) -> None:
    assert_equal(backend, dim, hidden, 23, steps, first=first)


def test_several_tiles_of_time() -> None:
    assert_equal("vectorized", 2, 4, 100, 700)


@pytest.mark.parametrize("dim", [1, 2])
def test_gradient_of_the_reference(dim: int) -> None:
    weights = tuple(w.double().requires_grad_() for w in oracle.weights(dim, 3))
    x0, betas = oracle.points(4, dim).double(), oracle.betas("linear", 3)
    eps = noise.normal(4, dim, 3, backend="reference").double()
    assert torch.autograd.gradcheck(lambda *w: reference.bound(oracle.network(w), x0, betas, eps), weights)


def gaussian_chain(mean: float, std: float, betas: Tensor) -> tuple[Tensor, Tensor]:
    """Return the means and variances of x_0 ... x_T for data N(mean, std^2)."""
    alpha_bar = torch.cat((torch.ones(1, dtype=torch.float64), torch.cumprod(1 - betas, 0)))
    return alpha_bar.sqrt() * mean, alpha_bar * std**2 + 1 - alpha_bar


def best_network(mean: float, std: float, betas: Tensor) -> Network:
    """Return the network of the exact p(x_{t-1} | x_t), the normalised product of q(x_{t-1}) and q(x_t | x_{t-1})."""
    means, variances = gaussian_chain(mean, std, betas)

    def network(x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        i = round(float(t[0]) * (len(betas) + 1))
        beta, scale = betas[i - 1], (1 - betas[i - 1]).sqrt()
        variance = 1 / (1 / variances[i - 1] + scale**2 / beta)
        best = variance * (means[i - 1] / variances[i - 1] + scale * x / beta)
        return best, variance.sqrt().expand_as(x)

    return network


def log_normal(x: Tensor, mean: float | Tensor, variance: float | Tensor) -> Tensor:
    return -((x - mean) ** 2) / (2 * variance) - 0.5 * torch.log(2 * math.pi * torch.as_tensor(variance, dtype=x.dtype))


@pytest.mark.parametrize(("mean", "std"), [(0, 1), (-4, 0.5), (2, 3), (0.3, 0.05)])
@pytest.mark.parametrize("name", oracle.SCHEDULES)
def test_perfect_model_reaches_the_entropy(name: str, mean: float, std: float) -> None:
    betas, count = oracle.betas(name, 30), 20_000
    means, variances = gaussian_chain(mean, std, betas)
    normals = noise.normal(count, 1, 31, seed=5, backend="vectorized").double()
    x0, eps = mean + std * normals[30], normals[:30]
    loss = 31 * reference.bound(best_network(mean, std, betas), x0, betas, eps)

    # With the exact p, p(x_{t-1} | x_t) q(x_t) = q(x_t | x_{t-1}) q(x_{t-1}): the sum telescopes for every sample.
    last = forward_reference.trajectory(x0, betas, eps)[-1]
    samples = log_normal(last, means[-1], variances[-1]) - log_normal(last, 0.0, 1.0) - log_normal(x0, mean, std**2)
    assert float(loss) == pytest.approx(float(samples.mean()), abs=1e-9)

    # Its expectation is the entropy of the data plus KL(q(x_T) || N(0, 1)), here within 5 standard errors.
    entropy = 0.5 * math.log(2 * math.pi * math.e * std**2)
    divergence = 0.5 * float(variances[-1] + means[-1] ** 2 - 1 - torch.log(variances[-1]))
    assert abs(float(loss) - entropy - divergence) < 5 * float(samples.std()) / count**0.5


@pytest.mark.parametrize("backend", oracle.BACKENDS)
def test_fused_networks_reach_the_entropy(backend: str) -> None:
    # N(0, 1) stays N(0, 1) under the forward process; the best mean is then sqrt(1 - beta) x, the best std sqrt(beta).
    # Networks of four hidden units can represent both, with x = relu(x) - relu(-x).
    beta, count = 0.02, 5000
    scale = (1 - beta) ** 0.5
    signs = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 0.0], [0.0, 0.0]])
    mean = (signs, torch.zeros(4), scale * signs[:, :1].T.contiguous(), torch.zeros(1))
    std = (torch.zeros(4, 2), torch.zeros(4), torch.zeros(1, 4), torch.tensor([math.log(math.expm1(beta**0.5))]))
    x0 = noise.normal(count, 1, seed=3, stream=noise.DATA, backend="reference")[0]
    loss, *gradients = bound(mean + std, x0, torch.full((250,), beta), seed=3, backend=backend)
    # every sample's bound is -log N(x_0; 0, 1): its mean is the entropy, its variance 1/2
    exact = float(-log_normal(x0.double(), 0.0, 1.0).mean())
    assert float(loss) * 251 == pytest.approx(exact, abs=251 * 4e-7)  # the loss is rounded to float32, and about 0.006
    assert abs(exact - 0.5 * math.log(2 * math.pi * math.e)) < 5 * (0.5 / count) ** 0.5
    # at the optimum every gradient has the mean 0: that of an output's bias is sum_t mean z_t / std, here within 5
    # standard errors of 0
    assert abs(float(gradients[3])) < 5 / beta**0.5 * (250 / count) ** 0.5 / 251


@pytest.mark.parametrize("backend", oracle.BACKENDS)
@pytest.mark.parametrize(("dim", "hidden", "steps"), oracle.sizes("DHT", [(1, 4, 250), (5, 7, 37)]))
def test_parts_average_to_the_whole(backend: str, dim: int, hidden: int, steps: int) -> None:
    # neither a padded column nor a neighbour in the block leaks into a sample's terms
    x0, betas, weights = oracle.points(1000, dim), oracle.betas("constant", steps), oracle.weights(dim, hidden)
    whole = bound(weights, x0, betas, seed=1, backend=backend)
    parts = [bound(weights, x0[i : i + 500], betas, seed=1, first=i, backend=backend) for i in (0, 500)]
    for tensor, *halves in zip(whole, *parts, strict=True):
        # the sums run in another order: some units of the largest magnitude
        unit = torch.finfo(torch.float32).eps * max(float(half.abs().max()) for half in halves)
        torch.testing.assert_close(sum(halves) / 2, tensor, rtol=0, atol=20 * unit)


@pytest.mark.parametrize("backend", oracle.BACKENDS)
def test_twice_the_same_bits(backend: str) -> None:
    x0, betas, weights = oracle.points(2500, 1), oracle.betas("linear", 250), oracle.weights(1, 4)
    first, second = (bound(weights, x0, betas, seed=1, step=2, backend=backend) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    counted = bound(weights, x0, betas, seed=1, step=torch.tensor(2), backend=backend)
    assert all(torch.equal(a, b) for a, b in zip(first, counted, strict=True))


def leaves() -> tuple[Tensor, ...]:
    return tuple(w.requires_grad_() for w in oracle.weights(1, 4))


def test_incoming_gradient_scales() -> None:
    x0, betas, weights = oracle.points(100, 1), oracle.betas("constant", 37), leaves()
    plain = torch.autograd.grad(
        variational_bound(MLPPair.of_tensors(weights), x0, betas, backend="vectorized"), weights
    )
    incoming = torch.tensor(-3.7)
    loss = variational_bound(MLPPair.of_tensors(weights), x0, betas, backend="vectorized")
    scaled = torch.autograd.grad(loss, weights, grad_outputs=incoming, retain_graph=True)
    again = torch.autograd.grad(loss, weights, grad_outputs=incoming)  # backward does not change what it saved
    for p, s, a in zip(plain, scaled, again, strict=True):
        assert torch.equal(s, incoming * p)
        assert torch.equal(s, a)


def test_no_gradient_where_none_is_wanted() -> None:
    x0, betas, weights = oracle.points(10, 1), oracle.betas("constant", 5), leaves()
    assert not variational_bound(
        MLPPair.of_tensors(oracle.weights(1, 4)), x0, betas, backend="vectorized"
    ).requires_grad
    with torch.no_grad():
        assert not variational_bound(MLPPair.of_tensors(weights), x0, betas, backend="vectorized").requires_grad
    partly = MLPPair.of_tensors((weights[0], *(w.detach() for w in weights[1:])))
    variational_bound(partly, x0, betas, backend="vectorized").backward()
    assert weights[0].grad is not None
    assert weights[1].grad is None


@pytest.mark.parametrize("backend", oracle.BACKENDS)
def test_autocast_changes_nothing(backend: str) -> None:
    # D = 5 and H = 7 need matrix products, which would run in bfloat16
    x0, betas, weights = oracle.points(100, 5), oracle.betas("constant", 37), oracle.weights(5, 7)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        under = bound(weights, x0, betas, backend=backend)
    assert all(torch.equal(a, b) for a, b in zip(under, bound(weights, x0, betas, backend=backend), strict=True))


def test_differentiating_twice_is_refused() -> None:
    # for example in a gradient penalty, whose part of the gradient must not be lost silently
    weights = leaves()
    loss = variational_bound(
        MLPPair.of_tensors(weights), oracle.points(10, 1), oracle.betas("constant", 5), backend="vectorized"
    )
    gradients = torch.autograd.grad(loss, weights, create_graph=True)
    with pytest.raises(RuntimeError, match="twice"):
        (loss + sum(g.square().sum() for g in gradients)).backward()


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        ({"network": oracle.pair(oracle.weights(2, 4))}, ValueError, r"x0 must have shape \[N, 2\], the network's dim"),
        (
            {"network": oracle.pair([w.double() for w in oracle.weights(1, 4)])},
            TypeError,
            "x0 must be torch.float64, the dtype of the network; got torch.float32",
        ),
        ({"x0": torch.zeros(3, 1, requires_grad=True)}, ValueError, "x0 requires grad"),
        ({"x0": torch.zeros(0, 1)}, ValueError, r"x0 must have shape \[N, D\] with N >= 1"),
        ({"x0": torch.full((3, 1), torch.inf)}, ValueError, "x0 must be finite; 3 of its values are not"),
        ({"x0": torch.zeros(3, 1).double()}, TypeError, "x0 must be float32 for backend 'vectorized'"),
        ({"betas": torch.tensor([1.5])}, ValueError, r"betas must lie in \(0, 1\); got values from 1\.5"),
        ({"seed": 0.5}, TypeError, r"seed must be an int; got 0\.5"),
        ({"first": -1}, ValueError, "first must be from 0"),
        ({"first": 2**48 - 2}, ValueError, "first must be from 0 to 281474976710653; got 281474976710654"),
        ({"step": -1}, ValueError, "step must be from 0"),
        ({"backend": "jax"}, ValueError, "backend must be one of.*got 'jax'"),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, object], error: type[Exception], said: str) -> None:
    good = {
        "network": oracle.pair(oracle.weights(1, 4)),
        "x0": oracle.points(3, 1),
        "betas": oracle.betas("constant", 5),
    }
    with pytest.raises(error, match=said):
        variational_bound(**good | {"backend": "vectorized"} | arguments)
