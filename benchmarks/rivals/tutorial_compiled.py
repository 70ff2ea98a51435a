"""The tutorial's loops under torch.compile, which unrolls them."""

from typing import Any

import torch

from benchmarks.cases import Case
from benchmarks.problem import Problem, Work, too_much_for_autograd
from benchmarks.rivals import tutorial

PACKAGES, STYLE = (), ("#5d6b78", "^")
STEPS = 50  # torch.compile unrolls the loop, which takes more than a second for each step


def gap(case: Case, size: str) -> str | None:
    if case.T > STEPS:
        return f"torch.compile unrolls its loop, more than a second for each step: measured up to T = {STEPS}"
    return too_much_for_autograd(case)


def variational_bound(p: Problem) -> Work:
    return tutorial.differentiated(p, torch.compile(tutorial.loss_of(p)))


def training_step(p: Problem) -> Work:
    return tutorial.stepped(p, torch.compile(tutorial.loss_of(p)))


def reverse_process(p: Problem) -> Work:
    result: Any = torch.compile(tutorial.reverse_process(p).run)
    return Work(result, result)
