"""Benchmark of the training step: the bound, its gradients and one step of AdamW."""

from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.bench_forward_process import noise
from benchmarks.bench_variational_bound import differentiated
from benchmarks.problem import LR, WEIGHT_DECAY, Problem

# The first step of AdamW moves a weight by lr * sign(gradient), with an error of lr * 1e-8 / |gradient|. The weights
# are near 1.
TOLERANCE = 1e-5


def expected(problem: Problem, eps: Tensor) -> list[Tensor]:
    network, _ = differentiated(problem, eps)
    torch.optim.AdamW(network.parameters(), lr=LR, weight_decay=WEIGHT_DECAY).step()
    return list(network.parameters())


def test_training_step(measure: Callable[..., None]) -> None:
    measure(noise, expected, TOLERANCE)
