"""The tutorial's loops under torch.compile, which unrolls them."""

import torch

from benchmarks.problem import Problem, Work
from benchmarks.rivals import tutorial


def variational_bound(p: Problem) -> Work:
    return tutorial.differentiated(p, torch.compile(tutorial.loss_of(p)))


def training_step(p: Problem) -> Work:
    return tutorial.stepped(p, torch.compile(tutorial.loss_of(p)))


def reverse_process(p: Problem) -> Work:
    result = torch.compile(tutorial.reverse_process(p).result)
    return Work(result, result)
