"""The noise stream in C++."""

import torch
from torch import Tensor

from kernels.native import call
from kernels.native.call import INT, LONG, POINTER, SEED, WORD
from kernels.place import Place


def operations(dim: int, hidden: int) -> int:
    """Return the number of operations for a (sample, step), which also writes 4 D bytes."""
    return dim * call.OPERATIONS_OF_A_NORMAL


_normal = call.function("normal", POINTER, LONG, LONG, LONG, SEED, WORD, LONG, WORD, INT)


def normal(count: int, dim: int, steps: int, place: Place, stream: int, device: torch.device) -> Tensor:
    """Return standard normals of the stream, [steps, count, dim] float32: row t - 1 is the noise of step t."""
    out = torch.empty(steps, count, dim, dtype=torch.float32, device=device)
    seed, step, first = place
    _normal(out.data_ptr(), count, dim, steps, seed, int(step), first, stream, torch.get_num_threads())
    return out
