"""The inputs of a case, for rivals and for the oracle, which is the reference in float64; and how to compare them."""

import copy
import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

import ddpm
from benchmarks.cases import Case
from kernels import noise

CHECKED = 1000  # samples, at most: the oracle keeps every step of each for autograd

LR, WEIGHT_DECAY = 1e-2, 1e-6  # of AdamW, the tutorial's


# Elements (step, sample, dimension, four hidden units) that fit into the memory of a small machine and of a GPU, if
# autograd keeps each of them several times.
KEPT = {"cpu": 3e7, "cuda": 3e8}


def too_much_for_autograd(case: Case) -> str | None:
    """Return why a case is too large for a rival that uses autograd, or None if it is not."""
    kept = case.N * case.T * case.D * max(1, case.H // 4)
    if case.op in ("variational_bound", "training_step") and kept > KEPT[case.device]:
        return f"autograd would keep {kept:.0e} elements, more than {KEPT[case.device]:.0e}"
    return None


class Work(NamedTuple):
    """A rival's work for a case.

    Attributes:
        run: the function that is timed. It draws its own noise and waits for the result.
        result: the same on given noise, to compare with the oracle. None for random generators, whose noise differs.
    """

    run: Callable[[], Any]
    result: Callable[..., Sequence[Any]] | None


@dataclass(frozen=True)
class Problem:
    """A case with its data, network and schedule."""

    case: Case

    @property
    def checked(self) -> "Problem":
        """The same problem with at most CHECKED samples, for a comparison with the oracle."""
        return Problem(replace(self.case, N=min(self.case.N, CHECKED)))

    @functools.cached_property
    def x0(self) -> Tensor:
        """The tutorial's data in every dimension, [N, D]."""
        columns = [ddpm.datasets.mixture(self.case.N, seed=d) for d in range(self.case.D)]
        return torch.cat(columns, 1).to(self.case.device)

    @functools.cached_property
    def network(self) -> ddpm.GaussianMLP:
        return ddpm.GaussianMLP(self.case.D, (self.case.H,)).to(self.case.device)

    @property
    def weights(self) -> tuple[Tensor, ...]:
        """W1 [H, D + 1], b1 [H], W2 [D, H], b2 [D] of the mean network, then of the std network."""
        return tuple(w.detach() for w in self.network.parameters())

    @functools.cached_property
    def schedule(self) -> ddpm.Schedule:
        """The schedule, which ends in the tutorial's noise for every T. Otherwise the work would change with T."""
        return ddpm.Schedule.constant(self.case.T, self.beta)

    @property
    def beta(self) -> float:
        return 1 - 0.98 ** (250 / self.case.T)

    def normals(self, stream: int, steps: int) -> Tensor:
        """Return the normals [steps, N, D] of a stream with seed 0, by the reference, on the CPU."""
        return noise.normal(self.case.N, self.case.D, steps, stream=stream, backend="reference")

    def double(self) -> tuple[torch.nn.Module, Tensor, Tensor]:
        """Return network, data and betas for the oracle."""
        return copy.deepcopy(self.network).cpu().double(), self.x0.cpu().double(), self.schedule.betas


def error(found: Sequence[Any], expected: Sequence[Tensor]) -> float:
    """Return the largest error of all tensors, relative to the largest element, or infinity if it is not finite."""
    flat = [torch.cat([torch.as_tensor(t).detach().cpu().double().flatten() for t in ts]) for ts in (found, expected)]
    if flat[0].shape != flat[1].shape:
        raise ValueError(f"the result has {len(flat[0])} numbers, but the reference has {len(flat[1])}")
    value = float((flat[0] - flat[1]).abs().max() / flat[1].abs().max())
    return value if math.isfinite(value) else math.inf
