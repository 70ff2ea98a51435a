"""One step of AdamW after a backward pass, as the paper writes it, in the dtype of the weights."""

import math

import torch
from torch import Tensor

from kernels.networks import MLPPair
from kernels.training_step import AdamW, Steps
from kernels.variational_bound import variational_bound


def training_step(pair: MLPPair, x0: Tensor, betas: Tensor, adamw: AdamW, seed: int, closed_form: bool) -> Steps:
    """Prepare steps; see kernels.training_step."""
    beta1, beta2 = adamw.betas

    done = 0

    def run(iteration: int) -> float:
        nonlocal done
        with torch.enable_grad():
            bound = variational_bound(
                pair, x0, betas, seed=seed, step=iteration, closed_form=closed_form, backend="reference"
            )
            gradients = torch.autograd.grad(bound, pair.tensors)
        if math.isfinite(value := bound.item()):
            with torch.no_grad():
                for w, g, first, second, taken in zip(pair.tensors, gradients, *adamw[:3], strict=True):
                    taken += 1
                    first.copy_(beta1 * first + (1 - beta1) * g)
                    second.copy_(beta2 * second + (1 - beta2) * g**2)
                    mean, variance = first / (1 - beta1 ** float(taken)), second / (1 - beta2 ** float(taken))
                    w.mul_(1 - adamw.lr * adamw.weight_decay)
                    w.sub_(adamw.lr * mean / (torch.sqrt(variance) + adamw.eps))
            done += 1
        return value

    return Steps(run, lambda: done)
