"""One step of the reverse process in C++."""

import torch
from torch import Tensor

from kernels.native import call
from kernels.native.call import INT, LONG, POINTER, SEED, WORD
from kernels.place import Place

_reverse_step = call.function("reverse_step", POINTER, POINTER, POINTER, LONG, LONG, WORD, INT, SEED, LONG, INT)


def reverse_step(mean: Tensor, std: Tensor, t: int, place: Place) -> Tensor:
    """Return mean + std eps for mean and std [N, D]."""
    count, dim = mean.shape
    group, i = divmod(t - 1, 4)
    out = torch.empty_like(mean)
    pointers = (x.data_ptr() for x in (out, mean, std))
    _reverse_step(*pointers, count, dim, group, i, place.seed, place.first, torch.get_num_threads())
    return out
