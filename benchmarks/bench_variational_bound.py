"""The bound and the gradient of every weight: the tutorial's loop beside each backend."""

import copy
import functools
from collections.abc import Callable

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor

import ddpm
from kernels import launch, noise
from kernels.variational_bound import reference

SHARD = 1000  # the oracle keeps every step of every point for autograd: a few at a time

# Relative to the largest gradient. Rounding leaves the reference in float32 3e-6 away from the oracle; leaving out one
# of the 250 steps, 3e-3.
TOLERANCE = 1e-5


def build(count: int, backend: str | None = None, device: str | torch.device = "cpu") -> tuple[ddpm.Diffusion, Tensor]:
    """The tutorial's model and data."""
    schedule, network = ddpm.Schedule.constant(steps=250, beta=0.02), ddpm.GaussianMLP(dim=1, hidden=(4,)).to(device)
    return ddpm.Diffusion(network, schedule, backend), ddpm.datasets.mixture(count).to(device)


def differentiate(diffusion: ddpm.Diffusion, loss: Callable[[], Tensor]) -> Tensor:
    """What is timed: the loss and every gradient."""
    diffusion.zero_grad(set_to_none=True)
    value = loss()
    value.backward()
    synchronize(value.device)
    return value


def synchronize(device: torch.device) -> None:
    """Wait for what was started on a CUDA device."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def gradients(diffusion: ddpm.Diffusion, loss: Callable[[], Tensor]) -> Tensor:
    """The loss and every gradient, flat."""
    value = differentiate(diffusion, loss).detach()
    return torch.cat([value.reshape(1), *(p.grad.flatten() for p in diffusion.parameters())]).cpu()


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


def test_loss_with_gradients(
    benchmark: BenchmarkFixture, case: tuple[torch.device, int], rival: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    device, count = case
    benchmark.group = f"bound and gradients, {device}, N = {count}"
    if rival == "tutorial":
        diffusion, x0 = build(count, "reference", device)
        betas = diffusion.schedule.betas.float().to(device)
        # draws from torch's generator, as the tutorial does: the noise of the stream is not its cost to bear
        loss = functools.partial(reference.variational_bound, diffusion.network, x0, betas)
    else:
        diffusion, x0 = build(count, rival, device)
        loss = functools.partial(diffusion.loss, x0)
        checked = min(count, 20_000)  # as far as the oracle's patience goes
        if count >= launch.MANY:  # then the same kernel must be the one that is checked
            monkeypatch.setattr(launch, "MANY", 1)
        found = gradients(diffusion, functools.partial(diffusion.loss, x0[:checked]))  # compiles, too
        expected = oracle(checked)
        assert (found - expected).abs().max() / expected.abs().max() < TOLERANCE
    rounds = 5 if rival == "tutorial" else 50_000 // count + 8
    benchmark.pedantic(differentiate, (diffusion, loss), warmup_rounds=1, rounds=rounds)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA device")
def test_training_in_a_graph(benchmark: BenchmarkFixture) -> None:
    benchmark.group = "1000 training steps, cuda, N = 1000"
    diffusion, x0 = build(1000, "triton", "cuda")
    ddpm.train(diffusion, x0, steps=10, progress=False)  # compiles
    benchmark.pedantic(ddpm.train, (diffusion, x0), {"steps": 1000, "progress": False}, rounds=5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA device")
def test_launch_from_the_host(benchmark: BenchmarkFixture) -> None:
    # not synchronised: what a call takes of the host's time, the device being faster
    benchmark.group = "launch of the bound from the host, cuda, N = 1"
    diffusion, x0 = build(1, "triton", "cuda")
    benchmark.pedantic(diffusion.backward, (x0,), warmup_rounds=10, rounds=1000)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA device")
@pytest.mark.parametrize("rival", ["compiled", "triton"])
def test_peak_memory_on_cuda(benchmark: BenchmarkFixture, rival: str) -> None:
    benchmark.group = "memory of the bound and gradients, cuda, N = 1000000"
    diffusion, x0 = build(1_000_000, rival, "cuda")
    diffusion.backward(x0)
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    benchmark.pedantic(diffusion.backward, (x0,), rounds=1)
    benchmark.extra_info["peak_extra_mb"] = (torch.cuda.max_memory_allocated() - before) / 1e6
