# mypy: disable-error-code="arg-type"
"""The bound's Triton kernels: sums over programs and lanes, and the limits of a std."""

import math

import oracle
import pytest
import torch
from test_variational_bound import assert_equal, bound

from kernels import backends
from kernels.triton import sizes
from kernels.triton.launch import AS_WRITTEN

pytestmark = pytest.mark.triton


@pytest.mark.parametrize(
    ("backend", "dim", "hidden", "count", "steps"),
    oracle.cases("triton", [case for case in oracle.TRITON_CASES if sizes.is_unrolled(*case[:2]) and case[0] < 3]),
)
def test_with_many_samples(
    backend: str, dim: int, hidden: int, count: int, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sizes, "MANY", 1)  # every count is then many, and time is not split
    assert_equal(backend, dim, hidden, count, steps, first=2**32 - count // 2)


@pytest.mark.parametrize(("dim", "hidden"), oracle.sizes("DH", [(1, 4), (2, 33)]))
def test_std_at_its_floor(dim: int, hidden: int) -> None:
    assert_equal("triton", dim, hidden, 20, 37, std_shift=-13.8)


@pytest.mark.parametrize(
    ("dim", "hidden", "s"), [(1, 4, 0.0), (1, 4, 0.3), (1, 4, -1.0), (1, 4, 3.0), (2, 33, 0.0), (2, 33, 0.3)]
)
def test_std_of_one_value(dim: int, hidden: int, s: float) -> None:
    """With one std everywhere, an error of its logarithm or its slope is as large in the sum as in each term."""
    weights = oracle.weights(dim, hidden)
    std = (*(torch.zeros_like(w) for w in weights[4:7]), torch.full_like(weights[7], s))
    assert_equal("triton", dim, hidden, 9, 37, weights=(*weights[:4], *std))


@pytest.mark.parametrize("programs", [1, 3, 1024, 2500])
def test_adds_up_all_programs(programs: int) -> None:
    from kernels.variational_bound.triton import mean_kernel

    count, dim, steps, device = 7, 2, 30, oracle.device("triton")
    partial = torch.randn(3, programs, generator=torch.Generator().manual_seed(0)).to(device)
    found, constant = torch.empty(3, device=device), torch.tensor([0.7], dtype=torch.float64, device=device)
    mean_kernel[(3,)](partial, found, constant, programs, count, steps, DIM=dim, BLOCK=1024, **AS_WRITTEN)
    sums, elements = partial.double().sum(1), count * dim
    sums[-1] += 0.7 * elements
    exact = sums / (elements * (steps + 1))
    torch.testing.assert_close(found, exact.float(), rtol=2e-7, atol=0)  # one rounding to float32


@pytest.mark.parametrize(("dim", "hidden"), oracle.sizes("DH", [(1, 4), (3, 7)]))
def test_twice_is_the_same(dim: int, hidden: int) -> None:
    x0, betas, weights = oracle.points(20, dim), oracle.betas("constant", 37), oracle.weights(dim, hidden)
    first, second = (bound(weights, x0, betas, seed=1, backend="triton") for _ in range(2))
    assert all(torch.equal(p, q) for p, q in zip(first, second, strict=True))


@pytest.mark.parametrize(("dim", "hidden"), oracle.sizes("DH", [(1, 4), (3, 7)]))
def test_parts_average_to_the_whole(dim: int, hidden: int) -> None:
    x0, betas, weights = oracle.points(20, dim), oracle.betas("constant", 5), oracle.weights(dim, hidden)
    whole = bound(weights, x0, betas, seed=1, backend="triton")
    parts = [bound(weights, x0[i : i + 10], betas, seed=1, first=i, backend="triton") for i in (0, 10)]
    for tensor, *halves in zip(whole, *parts, strict=True):
        torch.testing.assert_close(tensor, sum(halves) / 2, rtol=0, atol=2e-6 * float(tensor.abs().max()))


@pytest.mark.parametrize(("dim", "hidden"), oracle.sizes("DH", [(1, 4), (3, 7)]))
@pytest.mark.parametrize("i", range(8))
def test_shows_weights_that_are_not_finite(dim: int, hidden: int, i: int) -> None:
    weights = oracle.weights(dim, hidden)
    weights[i].view(-1)[0] = math.nan
    assert math.isnan(bound(weights, oracle.points(5, dim), oracle.betas("constant", 5), backend="triton")[0])


@pytest.mark.parametrize(("dim", "hidden"), oracle.sizes("DH", [(9, 1), (1, 65)]))
def test_names_what_it_takes(dim: int, hidden: int) -> None:
    weights, x0, betas = oracle.weights(dim, hidden), oracle.points(3, dim), oracle.betas("constant", 5)
    said = backends.get("triton").refuses(oracle.pair(weights), "variational_bound")
    assert said is not None
    assert said.endswith(f"D up to 8 and H up to 64; got D = {dim}, H = {hidden}")
    # the network is then called, between fused parts
    for a, b in zip(*(bound(weights, x0, betas, backend=name) for name in ("reference", "triton")), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=3e-6 * float(a.abs().max()))
