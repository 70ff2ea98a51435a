"""The tutorial's data: the mixture 1/3 N(-4, 1) + 2/3 N(4, 1), its density, its quantiles and its entropy."""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kernels import noise

WEIGHTS, MEANS = (1 / 3, 2 / 3), (-4.0, 4.0)

# wide enough that what lies outside is below 1e-15, fine enough for six digits
_GRID = np.linspace(-12.0, 12.0, 48_001)


def mixture(count: int = 1000, seed: int = 0) -> Tensor:
    """`count` points of the tutorial's mixture, [count, 1] float32, from the data stream of `seed`."""
    normals = noise.normal(count, 1, steps=5, seed=seed, stream=noise.DATA, backend="reference")
    # steps 1 and 5 come from different words of Philox: one is the noise, the other chooses the mode
    left = torch.special.ndtr(normals[4]) < WEIGHTS[0]
    return normals[0] + torch.where(left, MEANS[0], MEANS[1])


def mixture_density(x: NDArray[np.floating]) -> NDArray[np.float64]:
    """The density of the mixture at x, any shape."""
    x = np.asarray(x, dtype=np.float64)
    modes = zip(WEIGHTS, MEANS, strict=True)
    return sum((w * np.exp(-0.5 * (x - m) ** 2) for w, m in modes), np.zeros_like(x)) / math.sqrt(2 * math.pi)


def mixture_quantile(p: NDArray[np.floating]) -> NDArray[np.float64]:
    """The quantiles of the mixture for probabilities p in (0, 1), any shape."""
    grid = torch.from_numpy(_GRID)
    cdf = sum(w * torch.special.ndtr(grid - m) for w, m in zip(WEIGHTS, MEANS, strict=True))
    assert isinstance(cdf, Tensor)
    return np.interp(p, cdf.numpy(), _GRID)


def mixture_entropy() -> float:
    """The differential entropy of the mixture in nats, 2.055..., by a sum over a fine grid."""
    density = mixture_density(_GRID)
    return float(-(density * np.log(density)).sum() * (_GRID[1] - _GRID[0]))
