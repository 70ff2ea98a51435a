"""One step of AdamW in C++."""

import ctypes

from torch import Tensor

from kernels.native import call, networks
from kernels.native.call import DOUBLE, FLAG, INT, POINTER
from kernels.networks import MLPPair
from kernels.training_step import AdamW, Updates

_adamw = call.function("adamw", *(POINTER, POINTER, POINTER, INT, POINTER, POINTER), *(DOUBLE,) * 5, result=FLAG)


def updates(pair: MLPPair, adamw: AdamW) -> Updates:
    """Prepare updates; see kernels.training_step."""
    weights = networks.addresses(pair.tensors)
    moments = networks.addresses((*adamw.first, *adamw.second, *adamw.taken))
    sizes = (ctypes.c_int64 * len(pair.tensors))(*[w.numel() for w in pair.tensors])
    done = ctypes.c_int64(0)
    before, after = (weights, moments, sizes, len(sizes)), (adamw.weight_decay, *adamw.betas, adamw.eps)
    kept = pair, adamw  # keeps the memory behind the addresses alive

    def update(gradients: Tensor, lr: float, kept: object = kept) -> bool:
        return bool(_adamw(*before, gradients.data_ptr(), ctypes.addressof(done), lr, *after))

    return Updates(update, lambda: done.value)
