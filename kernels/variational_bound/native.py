"""The variational bound and every gradient in C++."""

import torch
from torch import Tensor

from kernels.native import call, networks, steps
from kernels.native.call import DOUBLE, FLAG, INT, LONG, POINTER, SEED, WORD
from kernels.networks import MLPPair
from kernels.place import Place


def operations(dim: int, hidden: int) -> int:
    """Return the operations for a (sample, step)."""
    networks_and_gradients = 14 * hidden if dim == 1 else 10 * hidden * (dim + 1)
    return dim * (call.OPERATIONS_OF_A_NORMAL + 54) + networks_and_gradients


_variational_bound = call.function(
    "variational_bound",
    *(POINTER, POINTER, INT, INT, POINTER, LONG),
    *(POINTER, DOUBLE, DOUBLE, SEED, WORD, WORD, INT),
    result=FLAG,
)


def bound_and_gradients(pair: MLPPair, x0: Tensor, betas: Tensor, place: Place, closed_form: bool = False) -> Tensor:
    """The gradient of every weight, flat in the order of the pair's tensors, then the bound: [P + 1]."""
    values = pair.values
    (count, dim), hidden = x0.shape, values[1].numel()
    out = torch.empty(2 * (hidden * (2 * dim + 2) + dim) + 1, dtype=torch.float32, device=x0.device)
    form = steps.of_bound(pair, betas, closed_form)
    seed, step, first = place
    enough = _variational_bound(
        *(out.data_ptr(), networks.addresses(values), dim, hidden, x0.data_ptr(), count),
        *(*form.arguments, seed, int(step), first, torch.get_num_threads()),
    )
    call.check_memory(enough)
    return out
