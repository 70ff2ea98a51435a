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
    def update(gradients: Tensor, lr: float) -> None:
        nonlocal done
        for w, g, first, second, taken in zip(
            pair.tensors, split(gradients, pair.tensors), adamw.first, adamw.second, adamw.taken, strict=True
        ):
            taken += 1
            first.copy_(beta1 * first + (1 - beta1) * g)
            second.copy_(beta2 * second + (1 - beta2) * g**2)
            mean, variance = first / (1 - beta1 ** float(taken)), second / (1 - beta2 ** float(taken))
            w.mul_(1 - lr * adamw.weight_decay)
            w.sub_(lr * mean / (torch.sqrt(variance) + adamw.eps))
        done += 1

    return Updates(update, lambda: done)
