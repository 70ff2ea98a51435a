"""The forward process in C++."""

import torch
from torch import Tensor

from kernels.native import call, schedules
from kernels.native.call import INT, LONG, POINTER, SEED, WORD
from kernels.place import Place


def operations(dim: int, hidden: int) -> int:
    """Return the operations for a (sample, step); 4 D bytes are written."""
    return dim * (call.OPERATIONS_OF_A_NORMAL + 2)


_forward_process = call.function("forward_process", POINTER, LONG, LONG, LONG, POINTER, POINTER, SEED, WORD, WORD, INT)


def forward_process(x0: Tensor, betas: Tensor, place: Place) -> Tensor:
    """x_0 ... x_T of x0 [N, D], [T+1, N, D]."""
    (count, dim), steps = x0.shape, len(betas)
    trajectory = torch.empty(steps + 1, count, dim, dtype=torch.float32, device=x0.device)
    trajectory[0] = x0
    scale, noise_scale = schedules.addresses(betas)
    seed, step, first = place
    threads = torch.get_num_threads()
    _forward_process(trajectory.data_ptr(), count, dim, steps, scale, noise_scale, seed, int(step), first, threads)
    return trajectory
