"""The inputs of a case, the noise on which rivals are compared, and what the reference makes of it in float64."""

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

CHECKED = 1000  # samples: the oracle keeps every step of each for autograd

LR, WEIGHT_DECAY = 1e-2, 1e-6  # of AdamW, the tutorial's


# Elements (step, sample, dimension, four hidden units) that fit the memory of a small machine and of a GPU: autograd
# keeps every one of them, several times over.
KEPT = {"cpu": 3e7, "cuda": 3e8}


def too_much_for_autograd(case: Case) -> str | None:
    """Why a rival that differentiates by autograd has no figure for a case, None where it has one."""
    kept = case.N * case.T * case.D * max(1, case.H // 4)
    if case.op in ("variational_bound", "training_step") and kept > KEPT[case.device]:
        return f"autograd would keep {kept:.0e} elements, more than {KEPT[case.device]:.0e}"
    return None


class Work(NamedTuple):
    """A rival's work for a case.

    run: what is timed; draws its own noise and waits for the result.
    result: the same on given noise, to be compared with the oracle; None for a generator, which has noise of its own.
    """

    run: Callable[[], Any]
    result: Callable[..., Sequence[Any]] | None


@dataclass(frozen=True)
class Problem:
    """A case with its data, network and schedule."""

    case: Case

    @property
    def checked(self) -> "Problem":
        """The same for no more samples than the oracle has patience for."""
        return Problem(replace(self.case, N=min(self.case.N, CHECKED)))

    @functools.cached_property
    def x0(self) -> Tensor:
        """[N, D]: the tutorial's data in every dimension."""
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
        """Ends in the tutorial's noise, whatever T is: otherwise the work would change with it."""
        return ddpm.Schedule.constant(self.case.T, self.beta)

    @property
    def beta(self) -> float:
        return 1 - 0.98 ** (250 / self.case.T)

    def normals(self, stream: int, steps: int) -> Tensor:
        """[steps, N, D] of the stream with seed 0, by the reference, on the CPU."""
        return noise.normal(self.case.N, self.case.D, steps, stream=stream, backend="reference")

    def double(self) -> tuple[torch.nn.Module, Tensor, Tensor]:
        """Network, data and betas for the oracle."""
        return copy.deepcopy(self.network).cpu().double(), self.x0.cpu().double(), self.schedule.betas


def error(found: Sequence[Any], expected: Sequence[Tensor]) -> float:
    """The largest error of all tensors, relative to the largest element; infinite where a result is not finite."""
    flat = [torch.cat([torch.as_tensor(t).detach().cpu().double().flatten() for t in ts]) for ts in (found, expected)]
    if flat[0].shape != flat[1].shape:
        raise ValueError(f"a result of {len(flat[0])} numbers where the reference has {len(flat[1])}")
    value = float((flat[0] - flat[1]).abs().max() / flat[1].abs().max())
    return value if math.isfinite(value) else math.inf
