"""Every kernel for networks with tables by step, against the reference in float64 on the same noise."""

import dataclasses

import oracle
import pytest
import torch
from torch import Tensor

from kernels import noise
from kernels.networks import MLPPair, StepTables
from kernels.reverse_process import reverse_process
from kernels.variational_bound import reference, variational_bound

# As in test_variational_bound, and one unit more: the product with a table rounds mean and std once more.
ALLOWANCE = 3.0

# small networks whose units are unrolled and wider ones, one dimension and several, part of a group and several tiles
CASES = [(1, 4, 50, 37), (2, 4, 9, 5), (1, 16, 9, 5), (3, 7, 4, 2), (5, 33, 8, 37)]
COMPILED = [(1, 4, 50, 37), (5, 7, 50, 37)]

GRID = [
    *oracle.cases("native", [*CASES, (1, 4, 1003, 250)]),
    *oracle.cases("vectorized", [*CASES, (1, 4, 50, 700)]),
    *oracle.cases("compiled", COMPILED),
    *oracle.cases("triton", CASES),
]


def tables(steps: int) -> StepTables:
    """Return tables that differ from the tutorial's in every way, with times between -2 and 2."""
    t = torch.arange(1, steps + 1) / (steps + 1)
    return StepTables(0.9 - 0.3 * t, 0.2 + t, 0.5 + t, torch.log(t / (1 - t)) / 4)


def pair(dim: int, hidden: int, steps: int, dtype: torch.dtype, device: torch.device) -> MLPPair:
    weights = [w.to(device, dtype).requires_grad_() for w in oracle.weights(dim, hidden, std_shift=1.0)]
    found = StepTables(*(table.to(device, dtype) for table in tables(steps)))
    return dataclasses.replace(MLPPair.of_tensors(weights), tables=found)


@pytest.mark.parametrize(("backend", "dim", "hidden", "count", "steps"), GRID)
def test_the_bound(backend: str, dim: int, hidden: int, count: int, steps: int) -> None:
    betas, device = oracle.betas(oracle.schedule_for(dim, hidden, count, steps), steps), oracle.device(backend)
    found: list[list[list[Tensor]]] = [[], [], []]
    for draw in oracle.draws(count, steps):
        x0, place = oracle.points(count, dim, draw), {"seed": 7, "step": draw, "first": 1000, "backend": backend}
        network = pair(dim, hidden, steps, torch.float32, device)
        loss = variational_bound(network, x0.to(device), betas, **place)  # type: ignore[arg-type]
        found[0].append([v.detach().cpu() for v in (loss, *torch.autograd.grad(loss, network.tensors))])
        eps = noise.normal(count, dim, steps, device=device, **place).cpu()  # type: ignore[arg-type]
        for to, dtype in zip(found[1:], (torch.float32, torch.float64), strict=True):
            network = pair(dim, hidden, steps, dtype, torch.device("cpu"))
            loss = reference.bound(network, x0.to(dtype), betas, eps.to(dtype))
            to.append([loss.detach(), *torch.autograd.grad(loss, network.tensors)])
    actual, single, exact = ([torch.stack(v) for v in zip(*side, strict=True)] for side in found)
    oracle.assert_as_exact(actual, single, exact, ALLOWANCE)


@pytest.mark.parametrize(("backend", "dim", "hidden", "count", "steps"), GRID)
def test_samples(backend: str, dim: int, hidden: int, count: int, steps: int) -> None:
    sides: list[list[Tensor]] = []
    for name, dtype in ((backend, torch.float32), ("reference", torch.float32), ("reference", torch.float64)):
        network = pair(dim, hidden, steps, dtype, oracle.device(name))
        found = reverse_process(network, steps, count, seed=3, first=5, history=True, backend=name)
        sides.append([found.detach().cpu()])
        if name != "compiled":  # it compiles another kernel for this: test_reverse_process compares the two
            assert torch.equal(reverse_process(network, steps, count, seed=3, first=5, backend=name), found[-1])
    # the steps shrink x_t, so errors do not grow with T: only those of the last steps are left
    actual, single, exact = sides
    oracle.assert_as_exact(actual, single, exact, 10.0)


# not `compiled`, which orders the operations of each kernel anew
@pytest.mark.parametrize("backend", [name for name in oracle.FUSED if name != "compiled"])
def test_the_tutorials_tables_change_nothing(backend: str) -> None:
    steps, device = 37, oracle.device(backend)
    betas, x0 = oracle.betas("linear", steps), oracle.points(50, 1).to(device)
    t = torch.arange(1, steps + 1, dtype=torch.float64) / (steps + 1)
    same = StepTables(torch.zeros(steps), torch.ones(steps), torch.ones(steps), t.float())
    plain = oracle.pair(oracle.weights(1, 4), backend)
    tabled = dataclasses.replace(plain, tables=StepTables(*(table.to(device) for table in same)))
    bounds = [variational_bound(network, x0, betas, backend=backend) for network in (plain, tabled)]
    samples = [reverse_process(network, steps, 50, backend=backend) for network in (plain, tabled)]
    assert torch.equal(*bounds)
    assert torch.equal(*samples)


@pytest.mark.parametrize("backend", oracle.ALL)
def test_tables_of_another_number_of_steps(backend: str) -> None:
    network = pair(1, 4, 5, torch.float32, oracle.device(backend))
    x0 = oracle.points(3, 1).to(oracle.device(backend))
    for call in (
        lambda: variational_bound(network, x0, oracle.betas("linear", 6), backend=backend),
        lambda: reverse_process(network, 6, 3, backend=backend),
    ):
        with pytest.raises(ValueError, match="network has tables for T = 5 steps; got T = 6"):
            call()
