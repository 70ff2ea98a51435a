"""The variational bound and every gradient in C++."""

import torch
from torch import Tensor

from kernels import schedules
from kernels.native import call, networks
from kernels.native.call import DOUBLE, FLAG, INT, LONG, POINTER, SEED, WORD
from kernels.native.schedules import addresses
from kernels.networks import MLPPair
from kernels.place import Place


def operations(dim: int, hidden: int) -> int:
    """Return the operations for a (sample, step)."""
    networks_and_gradients = 14 * hidden if dim == 1 else 10 * hidden * (dim + 1)
    return dim * (call.OPERATIONS_OF_A_NORMAL + 54) + networks_and_gradients


_variational_bound = call.function(
    "variational_bound",
    *(POINTER, POINTER, INT, INT, POINTER, LONG, LONG),
    *(POINTER, POINTER, DOUBLE, SEED, WORD, WORD, INT),
    result=FLAG,
)


def bound_and_gradients(pair: MLPPair, x0: Tensor, betas: Tensor, place: Place) -> Tensor:
    """The gradient of every weight, flat in the order of the pair's tensors, then the bound: [P + 1]."""
    values = pair.values
    (count, dim), steps, hidden = x0.shape, betas.shape[0], values[1].numel()
    out = torch.empty(2 * (hidden * (2 * dim + 2) + dim) + 1, dtype=torch.float32, device=x0.device)
    constant = float(schedules.bound_constant(betas, x0.device))
    seed, step, first = place
    enough = _variational_bound(
        *(out.data_ptr(), networks.addresses(values), dim, hidden, x0.data_ptr(), count, steps),
        *(*addresses(betas), constant, seed, int(step), first, torch.get_num_threads()),
    )
    call.check_memory(enough)
    return out
