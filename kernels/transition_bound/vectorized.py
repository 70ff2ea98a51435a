"""One transition's part of the bound and its gradients, in plain torch.

Limits for an element: 12 operations; 12 bytes read and 8 written.
"""

import math

import torch
from torch import Tensor


def bound_and_gradients(
    previous: Tensor, mean: Tensor, std: Tensor, variance: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return the bound of tensors [n], 0-d, and its gradients with respect to mean and std, [2, n]."""
    inverse = 1 / std
    z = (previous - mean) * inverse
    square = z * z if variance is None else z * z + variance * (inverse * inverse)
    terms = 0.5 * square + torch.log(std)
    scaled = inverse * (1 / len(z))
    return terms.mean() + 0.5 * math.log(2 * math.pi), torch.stack((-z * scaled, (1 - square) * scaled))
