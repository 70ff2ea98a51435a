"""The ops in code of a user under torch.compile: one graph, the same bits, the same gradients."""

from collections.abc import Callable
from typing import Any

import oracle
import pytest
import torch
from torch import Tensor

import ddpm
from kernels.reverse_step import reverse_step

STEPS = 5


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    # not inductor: its code for the surrounding operations is not tested here
    torch._dynamo.reset()
    return torch.compile(function, fullgraph=True, backend="aot_eager")


def diffusion(backend: str | None) -> ddpm.Diffusion:
    # five dimensions and one unit, which test_variational_bound and test_reverse_process compile as well
    network = ddpm.GaussianMLP(5, (1,), seed=1).to(oracle.device(backend or "vectorized"))
    return ddpm.Diffusion(network, ddpm.Schedule.linear(STEPS, 0.01, 0.2), backend)


def differentiated(model: ddpm.Diffusion, loss: Tensor) -> list[Tensor]:
    return [loss.detach(), *torch.autograd.grad(loss, list(model.parameters()))]


@pytest.mark.parametrize("backend", [*oracle.FUSED, None])
def test_loss(backend: str | None) -> None:
    model, x0 = diffusion(backend), oracle.points(5, 5).to(oracle.device(backend or "vectorized"))

    def user(x: Tensor, seed: int, step: int | Tensor) -> Tensor:
        return 2 * model.loss(x - 1, seed=seed, step=step) + 1

    function = compiled(user)
    device_step = torch.tensor(3, device=x0.device)
    for seed, step in ((0, 0), (0, 1), (0, 2), (2**64 - 1, 0), (1, device_step), (1, device_step + 1)):
        found = differentiated(model, function(x0, seed, step))
        for a, b in zip(found, differentiated(model, user(x0, seed, step)), strict=True):
            assert torch.equal(a, b)


@pytest.mark.parametrize("backend", oracle.FUSED)
def test_sampling_and_the_forward_process(backend: str) -> None:
    model, x0 = diffusion(backend), oracle.points(5, 5).to(oracle.device(backend))

    def user(x: Tensor, count: int, history: bool, first: int) -> tuple[Tensor, ...]:
        samples = model.sample(count, seed=3, first=first, history=history)
        trajectory = model.forward_process(x, step=4, first=first)
        return samples + 1, trajectory * 2, reverse_step(x, x.abs(), 3, first=first, backend=backend)

    function = compiled(user)
    for options in ((5, False, 7), (6, False, 7), (6, True, 7), (6, True, 2**32 - 2), (6, True, 2**48 - 6)):
        for a, b in zip(function(x0, *options), user(x0, *options), strict=True):
            assert torch.equal(a, b)


@pytest.mark.parametrize("step", [3, torch.tensor(3)], ids=["number", "tensor"])
def test_what_is_registered_keeps_torchs_rules(step: int | Tensor) -> None:
    x0, betas = oracle.points(5, 2), oracle.betas("linear", STEPS)
    weights, backend = list(oracle.weights(2, 3)), "vectorized"
    pair: tuple[Any, ...] = weights[:4], weights[4:], "relu", [], [], [], 0
    device_step, number = (step, 0) if isinstance(step, Tensor) else (None, step)
    place, still = (1, number, device_step, 2**32 - 2), (1, 0, None, 2**48 - 4)
    ops = torch.ops.fused_ddpm
    torch.library.opcheck(ops.bound_and_gradients.default, (*pair, x0, betas, *place, False, None, None, backend))
    torch.library.opcheck(ops.trajectory.default, (x0, betas, *place, backend))
    torch.library.opcheck(ops.samples.default, (*pair, STEPS, 4, *still, True, None, backend))
    torch.library.opcheck(ops.one_step.default, (x0, x0, 3, *place, backend))
