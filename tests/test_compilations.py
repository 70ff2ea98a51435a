# mypy: disable-error-code="arg-type"
"""A new number of samples, seed, step or first needs no compilation; a new T needs one only if it changes the tiles."""

import gc

import oracle
from torch._dynamo.utils import counters

from kernels.compiled.compiler import Kernel
from kernels.forward_process import forward_process
from kernels.reverse_process import reverse_process
from kernels.variational_bound import variational_bound


def compilations() -> int:
    kernels = [thing for thing in gc.get_objects() if type(thing) is Kernel]
    return counters["stats"]["unique_graphs"] + sum(len(kernel.compiled) for kernel in kernels)


def run(count: int, steps: int, seed: int, step: int, first: int) -> None:
    betas, x0 = oracle.betas("linear", steps), oracle.points(count, 1)
    place = {"seed": seed, "first": first, "backend": "compiled"}
    forward_process(x0, betas, step=step, **place)
    network = oracle.pair([w.requires_grad_() for w in oracle.weights(1, 4)])
    variational_bound(network, x0, betas, step=step, **place).backward()
    reverse_process(network, steps, count, history=bool(seed), **place)


def test_nothing_compiles_again() -> None:
    for seed in (0, 1):  # without and with history, which are two kernels
        run(count=10, steps=250, seed=seed, step=0, first=0)
    before = compilations()
    assert before > 0
    for count in (1, 2, 1000, 1024, 1025, 3000):
        run(count, steps=250, seed=0, step=0, first=0)
    for seed, step, first in ((1, 0, 0), (2**63, 1, 0), (-1, 2**32 - 1, 1), (0, 5, 1023), (0, 0, 2**40 - 3)):
        run(10, steps=250, seed=seed, step=step, first=first)
    for steps in (225, 256, 500, 1000):  # each is cut into tiles of 64 groups, as 250 is
        run(10, steps=steps, seed=0, step=0, first=0)
    assert compilations() == before
