"""The bound, its gradients and AdamW in one call of C++."""

import ctypes

import torch
from torch import Tensor

from kernels import schedules
from kernels.native import call, networks
from kernels.native.call import DOUBLE, FLAG, INT, LONG, POINTER, SEED, WORD
from kernels.native.schedules import addresses
from kernels.networks import MLPPair
from kernels.training_step import AdamW, Steps

_training_step = call.function(
    "training_step",
    *(POINTER, POINTER, POINTER, POINTER, INT, INT, POINTER, LONG, LONG),
    *(POINTER, POINTER, DOUBLE, SEED, WORD, DOUBLE, DOUBLE, DOUBLE, DOUBLE, DOUBLE, INT),
    result=FLAG,
)


def training_step(pair: MLPPair, x0: Tensor, betas: Tensor, adamw: AdamW, seed: int) -> Steps:
    """Prepare steps; see kernels.training_step."""
    weights = networks.addresses(pair.tensors)
    moments = networks.addresses((*adamw.first, *adamw.second, *adamw.taken))
    gradients = torch.empty(sum(w.numel() for w in pair.tensors) + 1, dtype=torch.float32, device=x0.device)
    (count, dim), hidden = x0.shape, pair.hidden[0][0]
    constant = float(schedules.bound_constant(betas, x0.device))
    inputs = (x0.data_ptr(), count, len(betas), *addresses(betas), constant, seed)
    updates = ctypes.c_int64(0)
    before = (gradients.data_ptr(), ctypes.addressof(updates), weights, moments, dim, hidden, *inputs)
    after = (adamw.lr, adamw.weight_decay, *adamw.betas, adamw.eps)
    kept = pair, x0, betas, adamw  # what the addresses are of

    def run(iteration: int, kept: object = kept) -> float:
        call.check_memory(_training_step(*before, iteration, *after, torch.get_num_threads()))
        return gradients[-1].item()

    return Steps(run, lambda: updates.value)
