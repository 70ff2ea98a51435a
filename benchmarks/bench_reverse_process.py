"""Sampling: the tutorial's loop beside each backend."""

import copy
from collections.abc import Callable

import torch
from bench_variational_bound import synchronize
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor

import ddpm
from kernels import noise
from kernels.reverse_process import reference

STEPS = 250

# Relative to the largest sample. Rounding leaves the reference in float32 1e-7 away from the oracle; the backends'
# own normals differ from the oracle's by a few units in the last place, which is 2e-7.
TOLERANCE = 2e-6


def build(backend: str, device: torch.device) -> ddpm.Diffusion:
    """The tutorial's model."""
    schedule = ddpm.Schedule.constant(steps=STEPS, beta=0.02)
    return ddpm.Diffusion(ddpm.GaussianMLP(dim=1, hidden=(4,)).to(device), schedule, backend)


@torch.no_grad()
def oracle(diffusion: ddpm.Diffusion, count: int) -> Tensor:
    """The samples by the reference in float64, on the noise of the stream."""
    x = noise.normal(count, stream=noise.TERMINAL, backend="reference")[0].double()
    eps = noise.normal(count, 1, STEPS, stream=noise.REVERSE, backend="reference").double()
    return reference.reverse_process(copy.deepcopy(diffusion.network).double().cpu(), x, STEPS, eps)[-1]


@torch.no_grad()
def tutorial(diffusion: ddpm.Diffusion, count: int, device: torch.device) -> Tensor:
    """Draws from torch's generator, as the tutorial does: the noise of the stream is not its cost to bear."""
    return reference.reverse_process(diffusion.network, torch.randn(count, 1, device=device), STEPS)[-1]


def finished(sample: Callable[..., Tensor], *arguments: object) -> None:
    """What is timed: samples, waited for."""
    synchronize(sample(*arguments).device)


def test_sampling(benchmark: BenchmarkFixture, case: tuple[torch.device, int], rival: str) -> None:
    device, count = case
    benchmark.group = f"sampling, {device}, N = {count}"
    if rival == "tutorial":
        work = (tutorial, build("reference", device), count, device)
        benchmark.pedantic(finished, work, warmup_rounds=1, rounds=10)
        return
    diffusion = build(rival, device)
    checked = min(count, 20_000)  # as far as the oracle's patience goes
    expected = oracle(diffusion, checked)
    error = (diffusion.sample(checked).cpu() - expected).abs().max() / expected.abs().max()  # compiles, too
    assert error < TOLERANCE
    benchmark.pedantic(finished, (diffusion.sample, count), warmup_rounds=1, rounds=50_000 // count + 8)
