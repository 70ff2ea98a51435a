"""The bound, its gradients and AdamW in one call of C++."""

import ctypes

import torch
from torch import Tensor

from kernels.native import call, networks, steps
from kernels.native.call import DOUBLE, FLAG, INT, LONG, POINTER, SEED, WORD
from kernels.networks import MLPPair
from kernels.training_step import AdamW, Steps

_training_step = call.function(
    "training_step",
    *(POINTER, POINTER, POINTER, POINTER, INT, INT, POINTER, LONG),
    *(POINTER, DOUBLE, DOUBLE, SEED, WORD, DOUBLE, DOUBLE, DOUBLE, DOUBLE, DOUBLE, INT),
    result=FLAG,
)


def training_step(pair: MLPPair, x0: Tensor, betas: Tensor, adamw: AdamW, seed: int, closed_form: bool) -> Steps:
    """Prepare steps; see kernels.training_step."""
    weights = networks.addresses(pair.tensors)
    moments = networks.addresses((*adamw.first, *adamw.second, *adamw.taken))
    gradients = torch.empty(sum(w.numel() for w in pair.tensors) + 1, dtype=torch.float32, device=x0.device)
    (count, dim), hidden = x0.shape, pair.hidden[0][0]
    form = steps.of_bound(pair, betas, closed_form)
    inputs = (x0.data_ptr(), count, *form.arguments, seed)
    updates = ctypes.c_int64(0)
    before = (gradients.data_ptr(), ctypes.addressof(updates), weights, moments, dim, hidden, *inputs)
    after = (adamw.lr, adamw.weight_decay, *adamw.betas, adamw.eps)
    kept = pair, x0, form, adamw  # what the addresses are of

    def run(iteration: int, kept: object = kept) -> float:
        call.check_memory(_training_step(*before, iteration, *after, torch.get_num_threads()))
        return gradients[-1].item()

    return Steps(run, lambda: updates.value)
