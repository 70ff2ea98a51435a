"""Benchmark of the reverse process: samples, in T steps from noise to data."""

from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.problem import Problem
from kernels.noise import REVERSE, TERMINAL
from kernels.reverse_process import reference

# Relative to the largest sample. The reference in float32 is 1e-7 away from the oracle, because of rounding. The
# normals of the backends differ from the oracle's by a few units in the last place, which is 2e-7.
TOLERANCE = 2e-6


def noise(problem: Problem) -> tuple[Tensor, ...]:
    return problem.normals(TERMINAL, 1)[0], problem.normals(REVERSE, problem.case.T)


@torch.no_grad()
def expected(problem: Problem, x: Tensor, eps: Tensor) -> list[Tensor]:
    network, _, _ = problem.double()
    return [reference.history(network, x.double(), problem.case.T, eps.double())[-1]]


def test_reverse_process(measure: Callable[..., None]) -> None:
    measure(noise, expected, TOLERANCE)
