"""Benchmark of the variational bound and the gradient of every weight."""

from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.bench_forward_process import noise
from benchmarks.problem import Problem
from kernels.variational_bound import reference

# Relative to the largest gradient. The reference in float32 is 3e-6 away from the oracle, because of rounding. Leaving
# out one of 250 steps makes an error of 3e-3.
TOLERANCE = 1e-5


def differentiated(problem: Problem, eps: Tensor) -> tuple[torch.nn.Module, Tensor]:
    """Return the oracle's network, with a gradient for every parameter, and the loss."""
    network, x0, betas = problem.double()
    loss = reference.bound(network, x0, betas, eps.double())
    loss.backward()
    return network, loss.detach()


def expected(problem: Problem, eps: Tensor) -> list[Tensor]:
    network, loss = differentiated(problem, eps)
    return [loss, *(w.grad for w in network.parameters() if w.grad is not None)]


def test_variational_bound(measure: Callable[..., None]) -> None:
    measure(noise, expected, TOLERANCE)
