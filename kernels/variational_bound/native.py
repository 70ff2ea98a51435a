"""The variational bound and every gradient in C++."""

import torch
from torch import Tensor

from kernels.native import call, networks, steps
from kernels.native.call import DOUBLE, FLAG, INT, LONG, POINTER, SEED, WORD
from kernels.networks import MLPPair
from kernels.place import Place
from kernels.variational_bound import Find, native_drawn


def operations(dim: int, hidden: int) -> int:
    """Return the number of operations for a (sample, step)."""
    networks_and_gradients = 14 * hidden if dim == 1 else 10 * hidden * (dim + 1)
    return dim * (call.OPERATIONS_OF_A_NORMAL + 54) + networks_and_gradients


_variational_bound = call.function(
    "variational_bound",
    *(POINTER, POINTER, INT, INT, POINTER, LONG),
    *(POINTER, DOUBLE, DOUBLE, SEED, WORD, LONG, INT),
    result=FLAG,
)


def bound_and_gradients(
    pair: MLPPair,
    x0: Tensor,
    betas: Tensor,
    place: Place,
    closed_form: bool = False,
    draws: int | None = None,
    condition: Tensor | None = None,
) -> Tensor:
    """Return the gradient of every weight, flat in the order of the pair's tensors, then the bound: [P + 1]."""
    out = torch.empty(sum(w.numel() for w in pair.tensors) + 1, dtype=torch.float32, device=x0.device)
    prepare(pair, betas, closed_form, draws)(out, x0, place, condition)
    return out


def prepare(pair: MLPPair, betas: Tensor, closed_form: bool, draws: int | None) -> Find:
    """Prepare a function that computes bounds and gradients: see Find in kernels.variational_bound."""
    if draws is not None:
        return native_drawn.prepare(pair, betas, draws)
    values = pair.values
    addresses, dim, hidden = networks.addresses(values), pair.dim, values[1].numel()
    form = steps.of_bound(pair, betas, closed_form)

    def find(out: Tensor, x0: Tensor, place: Place, _: Tensor | None, kept: object = values) -> None:
        seed, step, first = place
        enough = _variational_bound(
            *(out.data_ptr(), addresses, dim, hidden, x0.data_ptr(), len(x0)),
            *(*form.arguments, seed, int(step), first, torch.get_num_threads()),
        )
        call.check_memory(enough)

    return find
