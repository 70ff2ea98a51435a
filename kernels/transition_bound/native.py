"""One transition's part of the bound and its gradients in C++."""

import math

import torch
from torch import Tensor

from kernels.native import call
from kernels.native.call import DOUBLE, INT, LONG, POINTER

_transition_bound = call.function(
    "transition_bound", POINTER, POINTER, POINTER, POINTER, POINTER, LONG, INT, result=DOUBLE
)


def bound_and_gradients(previous: Tensor, mean: Tensor, std: Tensor, variance: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return the bound of tensors [n], 0-d, and its gradients with respect to mean and std, [2, n]."""
    gradients = torch.empty(2, len(mean), dtype=torch.float32, device=mean.device)
    pointers = (None if x is None else x.data_ptr() for x in (gradients, previous, mean, std, variance))
    total = _transition_bound(*pointers, len(mean), torch.get_num_threads())
    bound = total / len(mean) + 0.5 * math.log(2 * math.pi)
    return torch.tensor(bound, dtype=torch.float32, device=mean.device), gradients
