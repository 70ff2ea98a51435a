"""Sampling: the tutorial's loop beside each backend."""

import copy

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor

import ddpm
from kernels import noise
from kernels.reverse_process import reference

STEPS = 250

# Relative to the largest sample. Rounding leaves the reference in float32 1e-7 away from the oracle; the backends'
# own normals differ from the oracle's by a few units in the last place, which is 2e-7.
TOLERANCE = 2e-6


def build(backend: str) -> ddpm.Diffusion:
    """The tutorial's model."""
    schedule = ddpm.Schedule.constant(steps=STEPS, beta=0.02)
    return ddpm.Diffusion(ddpm.GaussianMLP(dim=1, hidden=(4,)), schedule, backend)


@torch.no_grad()
def oracle(diffusion: ddpm.Diffusion, count: int) -> Tensor:
    """The samples by the reference in float64, on the noise of the stream."""
    x = noise.normal(count, stream=noise.TERMINAL, backend="reference")[0].double()
    eps = noise.normal(count, 1, STEPS, stream=noise.REVERSE, backend="reference").double()
    return reference.reverse_process(copy.deepcopy(diffusion.network).double(), x, STEPS, eps)[-1]


@torch.no_grad()
def tutorial(diffusion: ddpm.Diffusion, count: int) -> Tensor:
    """Draws from torch's generator, as the tutorial does: the noise of the stream is not its cost to bear."""
    return reference.reverse_process(diffusion.network, torch.randn(count, 1), STEPS)[-1]


@pytest.mark.parametrize("count", [1000, 20_000])
def test_sampling(benchmark: BenchmarkFixture, count: int, rival: str) -> None:
    benchmark.group = f"sampling, N = {count}"
    if rival == "tutorial":
        benchmark.pedantic(tutorial, (build("reference"), count), warmup_rounds=1, rounds=10)
        return
    diffusion = build(rival)
    expected = oracle(diffusion, count)
    error = (diffusion.sample(count) - expected).abs().max() / expected.abs().max()  # compiles, too
    assert error < TOLERANCE
    benchmark.pedantic(diffusion.sample, (count,), warmup_rounds=1, rounds=50_000 // count + 8)
