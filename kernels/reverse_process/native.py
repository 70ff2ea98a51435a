"""The reverse process in C++, of networks of any depth."""

import ctypes

import torch
from torch import Tensor

from kernels.native import call, networks
from kernels.native.call import FLAG, INT, LONG, POINTER, SEED, WORD
from kernels.networks import MLPPair
from kernels.place import Place


def operations(dim: int, hidden: int) -> int:
    """Return the operations for a (sample, step)."""
    return dim * (call.OPERATIONS_OF_A_NORMAL + 33) + 2 * hidden * (2 * dim + 1)


_reverse_process = call.function(
    "reverse_process",
    *(POINTER, POINTER, POINTER, INT, INT, INT),
    *(LONG, LONG, FLAG, SEED, WORD, INT),
    result=FLAG,
)


def reverse_process(pair: MLPPair, steps: int, count: int, place: Place, history: bool) -> Tensor:
    """x_0 [count, D], or with `history` x_T ... x_0 [T+1, count, D]."""
    values = pair.values
    shape = (steps + 1, count, pair.dim) if history else (count, pair.dim)
    out = torch.empty(shape, dtype=torch.float32, device=pair.device)
    mean, std = pair.hidden
    widths = (ctypes.c_int * (len(mean) + len(std)))(*mean, *std)
    enough = _reverse_process(
        *(out.data_ptr(), networks.addresses(values), widths, len(mean), len(std), pair.dim),
        *(count, steps, history, place.seed, place.first, torch.get_num_threads()),
    )
    call.check_memory(enough)
    return out
