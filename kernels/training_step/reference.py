"""One step of AdamW, as the paper writes it, in the dtype of the weights."""

import torch
from torch import Tensor

from kernels.autograd import split
from kernels.networks import MLPPair
from kernels.training_step import AdamW, Updates


def updates(pair: MLPPair, adamw: AdamW) -> Updates:
    """Prepare updates; see kernels.training_step."""
    beta1, beta2 = adamw.betas
    done = 0

    @torch.no_grad()
    def update(gradients: Tensor, lr: float) -> bool:
        nonlocal done
        tensors = (pair.tensors, split(gradients, pair.tensors), adamw.first, adamw.second, adamw.taken)
        found = [step(lr, *each) for each in zip(*tensors, strict=True)]
        if not all(torch.isfinite(w).all() for w, *_ in found):
            return False
        for new, *old in zip(found, pair.tensors, adamw.first, adamw.second, adamw.taken, strict=True):
            for tensor, value in zip(old, new, strict=True):
                tensor.copy_(value)
        done += 1
        return True

    def step(lr: float, w: Tensor, g: Tensor, first: Tensor, second: Tensor, taken: Tensor) -> tuple[Tensor, ...]:
        taken = taken + 1
        first = beta1 * first + (1 - beta1) * g
        second = beta2 * second + (1 - beta2) * g**2
        mean, variance = first / (1 - beta1 ** float(taken)), second / (1 - beta2 ** float(taken))
        w = w * (1 - lr * adamw.weight_decay) - lr * mean / (torch.sqrt(variance) + adamw.eps)
        return w, first, second, taken

    return Updates(update, lambda: done)
