"""Benchmark of the noise: the normals of every step. Rivals draw as many from their own generators."""

from collections.abc import Callable

from torch import Tensor

from benchmarks.problem import Problem
from kernels.noise import FORWARD

# Six units in the last place of the largest normals, near 5: logarithms and cosines differ by that much.
TOLERANCE = 1e-6


def no_noise(problem: Problem) -> tuple[Tensor, ...]:
    """Return no noise: making it is the operation."""
    return ()


def expected(problem: Problem) -> list[Tensor]:
    return [problem.normals(FORWARD, problem.case.T)]


def test_noise(measure: Callable[..., None]) -> None:
    measure(no_noise, expected, TOLERANCE)
