"""The forward process in C++."""

import torch
from torch import Tensor

from kernels.native import call, steps
from kernels.native.call import INT, LONG, POINTER, SEED, WORD
from kernels.place import Place


def operations(dim: int, hidden: int) -> int:
    """Return the number of operations for a (sample, step), which also writes 4 D bytes."""
    return dim * (call.OPERATIONS_OF_A_NORMAL + 2)


_forward_process = call.function("forward_process", POINTER, LONG, LONG, LONG, POINTER, POINTER, SEED, WORD, LONG, INT)


def forward_process(x0: Tensor, betas: Tensor, place: Place) -> Tensor:
    """Return x_0 ... x_T, [T+1, N, D], for x0 [N, D]."""
    (count, dim), constants = x0.shape, steps.of_schedule(betas, x0.device)
    trajectory = torch.empty(len(betas) + 1, count, dim, dtype=torch.float32, device=x0.device)
    trajectory[0] = x0
    seed, step, first = place
    _forward_process(
        *(trajectory.data_ptr(), count, dim, len(betas), constants.scale, constants.noise_scale),
        *(seed, int(step), first, torch.get_num_threads()),
    )
    return trajectory
