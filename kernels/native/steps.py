"""Constants by step as the kernels read them."""

import ctypes
import math
from typing import NamedTuple

import torch
from torch import Tensor

from kernels import schedules
from kernels.networks import CPU, MLPPair, StepTables


class Steps(ctypes.Structure):
    """The struct of kernels/native/steps.h. It keeps the tensors alive that it points to."""

    _fields_ = [
        *((name, ctypes.c_void_p) for name in ("scale", "noise_scale", "of_data", "of_state", "variance")),
        *((name, ctypes.c_void_p) for name in ("skip", "out", "std_scale", "time")),
        ("count", ctypes.c_int64),
    ]
    kept: tuple[Tensor, ...]


def _steps(count: int, *tensors: Tensor | None) -> Steps:
    found = Steps(*(None if x is None else x.data_ptr() for x in tensors), count=count)
    found.kept = tuple(x for x in tensors if x is not None)
    return found


def with_tables(steps: Steps, tables: StepTables | None) -> Steps:
    """Return `steps` with the tables of a network."""
    if tables is None:
        return steps
    constants = (*steps.kept, None, None, None, None, None)[:5]
    return _steps(steps.count, *constants, *(table.detach().float().resolve_neg().contiguous() for table in tables))


def of_tables(count: int, tables: StepTables | None) -> Steps:
    """Return the tables of a network alone, for T = `count` steps."""
    return with_tables(_steps(count), tables)


class Form(NamedTuple):
    """The numbers in which the two forms of the bound differ: see kernels/variational_bound/native.h."""

    steps: Steps
    constant: float
    terminal: float

    @property
    def arguments(self) -> tuple[int, float, float]:
        """Return the arguments of C++."""
        return ctypes.addressof(self.steps), self.constant, self.terminal

    def with_tables(self, tables: StepTables | None) -> "Form":
        """Return this form with the tables of a network."""
        return self if tables is None else self._replace(steps=with_tables(self.steps, tables))


def of_bound(pair: MLPPair, betas: Tensor, closed_form: bool) -> Form:
    """Return the form of a pair's bound: in closed form, or of Eq. 3."""
    return (_closed_form if closed_form else _sampled)(betas, CPU).with_tables(pair.tables)


def of_draws(pair: MLPPair, betas: Tensor) -> Form:
    """Return the form of a pair's drawn terms, in closed form. Its scales are those of q(x_t | x_0)."""
    return _drawn(betas, CPU).with_tables(pair.tables)


@schedules.per_schedule
def of_schedule(betas: Tensor, device: torch.device) -> Steps:
    """Return the constants of the forward process alone."""
    scale, noise_scale, _ = schedules.steps(betas, -(-len(betas) // 4) * 4)
    return _steps(len(betas), scale, noise_scale)


@schedules.per_schedule
def _drawn(betas: Tensor, device: torch.device) -> Form:
    alpha_bar = schedules.alpha_bars(betas)
    tensors = (alpha_bar.sqrt(), torch.sqrt(1 - alpha_bar), *schedules.posterior(betas, device))
    steps = _steps(len(betas), *(values.float().contiguous() for values in tensors))
    constant, terminal = 0.5 * (math.log(2 * math.pi) + 1 - alpha_bar[-1]), alpha_bar[-1]
    return Form(steps, float(constant), float(terminal))


@schedules.per_schedule
def _sampled(betas: Tensor, device: torch.device) -> Form:
    return Form(of_schedule(betas, device), float(schedules.bound_constant(betas, device)), 1.0)


@schedules.per_schedule
def _closed_form(betas: Tensor, device: torch.device) -> Form:
    posterior = (values.float().contiguous() for values in schedules.posterior(betas, device))
    steps = _steps(len(betas), *of_schedule(betas, device).kept, *posterior)
    constant, terminal = schedules.closed_form_constant(betas, device), schedules.alpha_bars(betas)[-1]
    return Form(steps, float(constant), float(terminal))
