"""The bound in closed form from drawn terms (see drawn.py), and every gradient, in C++."""

import ctypes

import torch
from torch import Tensor

from kernels import schedules
from kernels.native import call, networks, steps
from kernels.native.call import DOUBLE, INT, LONG, POINTER, SEED, WORD
from kernels.networks import CPU, MLPPair
from kernels.place import Place
from kernels.variational_bound import Find, drawn

_drawn_bound = call.function(
    "drawn_bound",
    *(POINTER, POINTER, POINTER, POINTER, INT, INT, POINTER, INT, POINTER, INT, POINTER, LONG, INT, INT),
    *(POINTER, POINTER, DOUBLE, DOUBLE, SEED, WORD, LONG, WORD, INT),
    result=call.FLAG,
)


def prepare(pair: MLPPair, betas: Tensor, draws: int) -> Find:
    """Prepare a function that computes bounds and gradients: see Find in kernels.variational_bound."""
    values, form, log_betas = pair.values, steps.of_draws(pair, betas), _log_betas(betas, CPU)
    frequencies = (ctypes.c_float * len(pair.features))(*pair.features)
    layers = networks.addresses(values), *networks.shape(pair).arguments, networks.ACTIVATIONS[pair.activation]
    bound = ctypes.addressof(form.steps), log_betas.data_ptr(), form.constant, form.terminal
    kept = values, form, log_betas  # keeps the memory behind the addresses alive

    def find(out: Tensor, x0: Tensor, place: Place, condition: Tensor | None, kept: object = kept) -> None:
        given = (None if condition is None else condition.data_ptr(), pair.condition_dim)
        seed, step, first = place
        enough = _drawn_bound(
            *(out.data_ptr(), *layers, frequencies, len(frequencies), *given, x0.data_ptr(), *x0.shape, draws, *bound),
            *(seed, int(step), first, int(drawn.start_of(place)), torch.get_num_threads()),
        )
        call.check_memory(enough)

    return find


@schedules.per_schedule
def _log_betas(betas: Tensor, device: torch.device) -> Tensor:
    return betas.double().log().float()
