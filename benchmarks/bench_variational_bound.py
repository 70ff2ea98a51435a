"""The bound and the gradient of every weight: the tutorial's loop beside each backend."""

import copy
import functools
from collections.abc import Callable

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor

import ddpm
from kernels import noise
from kernels.variational_bound import reference

SHARD = 1000  # the oracle keeps every step of every point for autograd: a few at a time

# Relative to the largest gradient. Rounding leaves the reference in float32 3e-6 away from the oracle; leaving out one
# of the 250 steps, 3e-3.
TOLERANCE = 1e-5


def build(count: int, backend: str | None = None) -> tuple[ddpm.Diffusion, Tensor]:
    """The tutorial's model and data."""
    schedule = ddpm.Schedule.constant(steps=250, beta=0.02)
    return ddpm.Diffusion(ddpm.GaussianMLP(dim=1, hidden=(4,)), schedule, backend), ddpm.datasets.mixture(count)


def differentiate(diffusion: ddpm.Diffusion, loss: Callable[[], Tensor]) -> Tensor:
    """What is timed: the loss and every gradient."""
    diffusion.zero_grad(set_to_none=True)
    value = loss()
    value.backward()
    return value


def gradients(diffusion: ddpm.Diffusion, loss: Callable[[], Tensor]) -> Tensor:
    """The loss and every gradient, flat."""
    value = differentiate(diffusion, loss).detach()
    return torch.cat([value.reshape(1), *(p.grad.flatten() for p in diffusion.parameters())])


@functools.cache
def oracle(count: int) -> Tensor:
    """The same by the reference in float64, on the noise of the stream."""
    diffusion, x0 = build(count)
    network, betas = copy.deepcopy(diffusion.network).double(), diffusion.schedule.betas
    total = torch.zeros((), dtype=torch.float64)
    for first in range(0, count, SHARD):
        shard = x0[first : first + SHARD].double()
        eps = noise.normal(len(shard), 1, len(betas), first=first, backend="reference").double()
        loss = reference.variational_bound(network, shard, betas, eps) * len(shard) / count
        loss.backward()
        total += loss.detach()
    return torch.cat([total.reshape(1), *(p.grad.flatten() for p in network.parameters())])


@pytest.mark.parametrize("count", [1000, 20_000])
def test_loss_with_gradients(benchmark: BenchmarkFixture, count: int, rival: str) -> None:
    benchmark.group = f"bound and gradients, N = {count}"
    if rival == "tutorial":
        diffusion, x0 = build(count, "reference")
        betas = diffusion.schedule.betas.float()
        # draws from torch's generator, as the tutorial does: the noise of the stream is not its cost to bear
        loss = functools.partial(reference.variational_bound, diffusion.network, x0, betas)
    else:
        diffusion, x0 = build(count, rival)
        loss = functools.partial(diffusion.loss, x0)
        expected = oracle(count)
        error = (gradients(diffusion, loss) - expected).abs().max() / expected.abs().max()  # compiles, too
        assert error < TOLERANCE
    rounds = 5 if rival == "tutorial" else 50_000 // count + 8
    benchmark.pedantic(differentiate, (diffusion, loss), warmup_rounds=1, rounds=rounds)
