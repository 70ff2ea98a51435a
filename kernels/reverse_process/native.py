"""The reverse process in C++, for networks of any depth and activation, with Fourier features and tables by step."""

import ctypes

import torch
from torch import Tensor

from kernels.native import call, networks
from kernels.native import steps as native_steps
from kernels.native.call import FLAG, INT, LONG, POINTER, SEED
from kernels.networks import MLPPair
from kernels.place import Place


def operations(dim: int, hidden: int) -> int:
    """Return the number of operations for a (sample, step)."""
    return dim * (call.OPERATIONS_OF_A_NORMAL + 33) + 2 * hidden * (2 * dim + 1)


_reverse_process = call.function(
    "reverse_process",
    *(POINTER, POINTER, POINTER, POINTER, INT, INT, POINTER, INT, POINTER, INT, INT),
    *(LONG, POINTER, FLAG, SEED, LONG, INT),
    result=FLAG,
)


def reverse_process(
    pair: MLPPair, steps: int, count: int, place: Place, history: bool, condition: Tensor | None = None
) -> Tensor:
    """Return x_0 [count, D], or with `history` x_T ... x_0 [T+1, count, D]."""
    shape = (steps + 1, count, pair.dim) if history else (count, pair.dim)
    out = torch.empty(shape, dtype=torch.float32, device=pair.device)
    tensors, tables = networks.tensors(pair), native_steps.of_tables(steps, pair.tables)
    frequencies = (ctypes.c_float * len(pair.features))(*pair.features)
    enough = _reverse_process(
        *(out.data_ptr(), networks.addresses(tensors), *networks.shape(pair).arguments),
        *(networks.ACTIVATIONS[pair.activation], frequencies, len(frequencies)),
        *(
            None if condition is None else condition.data_ptr(),
            pair.condition_dim,
            pair.dim,
            count,
            ctypes.addressof(tables),
            history,
            place.seed,
            place.first,
            torch.get_num_threads(),
        ),
    )
    call.check_memory(enough)
    return out
