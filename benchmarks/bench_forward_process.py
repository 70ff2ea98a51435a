"""Benchmark of the forward process: the whole trajectory x_0 ... x_T."""

from collections.abc import Callable

from torch import Tensor

from benchmarks.problem import Problem
from kernels.forward_process import reference
from kernels.noise import FORWARD

# T roundings to float32 (6e-8 each, most of which fade along the chain), and normals that differ by six units.
TOLERANCE = 2e-6


def noise(problem: Problem) -> tuple[Tensor, ...]:
    return (problem.normals(FORWARD, problem.case.T),)


def expected(problem: Problem, eps: Tensor) -> list[Tensor]:
    _, x0, betas = problem.double()
    return [reference.trajectory(x0, betas, eps.double())]


def test_forward_process(measure: Callable[..., None]) -> None:
    measure(noise, expected, TOLERANCE)
