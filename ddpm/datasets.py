"""Distributions with a known density: the tutorial's mixture, two moons, eight Gaussians and a checkerboard.

The points come from the noise stream: each is computed from the seed and its index. The differential entropy is the
least bound that any model can reach, so a model can be compared with it.
"""

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from kernels import noise

Array = NDArray[np.float64]

WEIGHTS, MEANS = (1 / 3, 2 / 3), (-4.0, 4.0)  # of the tutorial's mixture, whose standard deviations are 1
RADIUS, SPREAD = 2.0, 0.1  # the eight Gaussians: radius of their circle, standard deviation of each
BLUR = 0.05  # the standard deviation of the noise around the moons

# wide enough that the mass outside is below 1e-15, fine enough for six digits
_GRID = np.linspace(-12.0, 12.0, 48_001)


class Distribution(NamedTuple):
    """A distribution with functions for its samples, its log-density and its entropy.

    Attributes:
        dim: D, the number of columns.
        sample: function of `count` and `seed` that returns points, [count, D] float32.
        log_density: function of points [N, D] that returns their log-density in nats, [N] float64.
        entropy: function that returns the differential entropy in nats.
    """

    dim: int
    sample: Callable[[int, int], Tensor]
    log_density: Callable[[ArrayLike], Array]
    entropy: Callable[[], float]


def _normals(count: int, dim: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return standard normals [count, dim] float32, and uniform numbers in (0, 1), [count, dim] float64."""
    normals = noise.normal(count, dim, steps=5, seed=seed, stream=noise.DATA, backend="reference")
    # steps 1 and 5 come from different words of Philox
    return normals[0], torch.special.ndtr(normals[4].double())


# ---- the tutorial's mixture, 1/3 N(-4, 1) + 2/3 N(4, 1)


def mixture(count: int = 1000, seed: int = 0) -> Tensor:
    """Return `count` points of the tutorial's mixture, 1/3 N(-4, 1) + 2/3 N(4, 1), [count, 1] float32."""
    normals = noise.normal(count, 1, steps=5, seed=seed, stream=noise.DATA, backend="reference")
    left = torch.special.ndtr(normals[4]) < WEIGHTS[0]
    return normals[0] + torch.where(left, MEANS[0], MEANS[1])


def mixture_density(x: ArrayLike) -> Array:
    """Return the density of the mixture at `x`, an array of any shape, in float64."""
    x = np.asarray(x, dtype=np.float64)
    modes = zip(WEIGHTS, MEANS, strict=True)
    return sum((w * np.exp(-0.5 * (x - m) ** 2) for w, m in modes), np.zeros_like(x)) / math.sqrt(2 * math.pi)


def mixture_log_density(x: ArrayLike) -> Array:
    """Return the log-density of the mixture in nats at points `x` [N, 1], [N] float64."""
    (x,) = _columns(x, 1)
    modes = zip(WEIGHTS, MEANS, strict=True)
    logs = [math.log(w) - 0.5 * (x - m) ** 2 for w, m in modes]
    return np.logaddexp(*logs) - 0.5 * math.log(2 * math.pi)


def mixture_quantile(p: ArrayLike) -> Array:
    """Return the quantiles of the mixture for probabilities `p` in (0, 1), an array of any shape, in float64."""
    grid = torch.from_numpy(_GRID)
    cdf = sum(w * torch.special.ndtr(grid - m) for w, m in zip(WEIGHTS, MEANS, strict=True))
    assert isinstance(cdf, Tensor)
    return np.interp(np.asarray(p, dtype=np.float64), cdf.numpy(), _GRID)


def mixture_entropy() -> float:
    """Return the differential entropy of the mixture in nats, 2.055..., by a sum over a fine grid."""
    density = mixture_density(_GRID)
    return float(-(density * np.log(density)).sum() * (_GRID[1] - _GRID[0]))


# ---- two moons: half circles of radius 1 about (0, 0) and (1, 1/2), blurred


def moons(count: int = 10_000, seed: int = 0) -> Tensor:
    """Return `count` points of two moons, [count, 2] float32, as scikit-learn's `make_moons` with `noise=0.05`."""
    normals, uniform = _normals(count, 2, seed)
    upper, angle = uniform[:, 0] < 0.5, math.pi * uniform[:, 1]
    x = torch.where(upper, torch.cos(angle), 1 - torch.cos(angle))
    y = torch.where(upper, torch.sin(angle), 0.5 - torch.sin(angle))
    return (torch.stack((x, y), 1) + BLUR * normals).float()


def moons_log_density(x: ArrayLike) -> Array:
    """Return the log-density of the moons in nats at points `x` [N, 2], [N] float64, by integration over both arcs."""
    x, y = _columns(x, 2)
    # Gauss-Legendre nodes, at most half a blur apart
    positions, weights = np.polynomial.legendre.leggauss(200)
    nodes, weights = (positions + 1) / 2 * math.pi, np.tile(weights / 4, 2)
    found = []
    for start in range(0, len(x), 1024):
        a, b = x[start : start + 1024, None], y[start : start + 1024, None]
        centers = ((np.cos(nodes), np.sin(nodes)), (1 - np.cos(nodes), 0.5 - np.sin(nodes)))
        squares = np.concatenate([(a - u) ** 2 + (b - v) ** 2 for u, v in centers], axis=1)
        least = squares.min(1, keepdims=True)
        found.append(np.log(np.exp((least - squares) / (2 * BLUR**2)) @ weights) - least[:, 0] / (2 * BLUR**2))
    return np.concatenate([*found, np.zeros(0)]) - math.log(2 * math.pi * BLUR**2)


@functools.cache
def moons_entropy() -> float:
    """Return the differential entropy of the moons in nats, 0.289..., by a sum over a grid of spacing 0.01."""
    step = BLUR / 5
    x, y = np.arange(-1.4, 2.4, step), np.arange(-0.9, 1.4, step)
    log_density = moons_log_density(np.stack(np.meshgrid(x, y), -1).reshape(-1, 2))
    return float(-(np.exp(log_density) * log_density).sum() * step**2)


# ---- eight Gaussians on a circle


def eight_gaussians(count: int = 10_000, seed: int = 0) -> Tensor:
    """Return `count` points of eight Gaussians, [count, 2] float32: standard deviation 0.1, on a circle of radius 2."""
    normals, uniform = _normals(count, 2, seed)
    angle = torch.floor(8 * uniform[:, 0]) * (math.pi / 4)
    return (RADIUS * torch.stack((torch.cos(angle), torch.sin(angle)), 1) + SPREAD * normals).float()


def eight_gaussians_log_density(x: ArrayLike) -> Array:
    """Return the log-density of the eight Gaussians in nats at points `x` [N, 2], [N] float64."""
    x, y = _columns(x, 2)
    angles = np.arange(8) * (math.pi / 4)
    squares = (x[:, None] - RADIUS * np.cos(angles)) ** 2 + (y[:, None] - RADIUS * np.sin(angles)) ** 2
    return np.logaddexp.reduce(-squares / (2 * SPREAD**2), axis=1) - math.log(8 * 2 * math.pi * SPREAD**2)


def eight_gaussians_entropy() -> float:
    """Return the differential entropy of the eight Gaussians in nats.

    Their overlap is neglected: they are 15 standard deviations apart.
    """
    return math.log(8) + 1 + math.log(2 * math.pi * SPREAD**2)


# ---- checkerboard: the squares of one colour on a board of 4 x 4


def checkerboard(count: int = 10_000, seed: int = 0) -> Tensor:
    """Return `count` points on eight unit squares of a board from -2 to 2, [count, 2] float32."""
    _, uniform = _normals(count, 2, seed)
    x, row = 4 * uniform[:, 0], torch.floor(2 * uniform[:, 1])
    y = 2 * row + torch.floor(x) % 2 + (2 * uniform[:, 1] - row)
    return (torch.stack((x, y), 1) - 2).float()


def checkerboard_log_density(x: ArrayLike) -> Array:
    """Return the log-density of the checkerboard in nats at points `x` [N, 2], [N] float64: -log 8 or -infinity."""
    x, y = _columns(x, 2)
    inside = (np.abs(x) <= 2) & (np.abs(y) <= 2)
    # a point on the line between two squares belongs to the one with the colour
    near = [(np.clip(np.floor(v + e), -2, 1)) for v in (x, y) for e in (-1e-6, 1e-6)]
    coloured = [(i + j) % 2 == 0 for i in near[:2] for j in near[2:]]
    return np.where(inside & np.logical_or.reduce(coloured), -math.log(8), -np.inf)


def checkerboard_entropy() -> float:
    """Return the differential entropy of the checkerboard in nats, log 8: its area is 8."""
    return math.log(8)


def _columns(x: ArrayLike, dim: int) -> tuple[Array, ...]:
    x = np.asarray(x, dtype=np.float64)
    if x.ndim != 2 or x.shape[1] != dim:
        raise ValueError(f"x must have shape [N, {dim}]; got {list(x.shape)}")
    return tuple(x.T)


DISTRIBUTIONS = {
    "mixture": Distribution(1, mixture, mixture_log_density, mixture_entropy),
    "moons": Distribution(2, moons, moons_log_density, moons_entropy),
    "eight-gaussians": Distribution(2, eight_gaussians, eight_gaussians_log_density, eight_gaussians_entropy),
    "checkerboard": Distribution(2, checkerboard, checkerboard_log_density, checkerboard_entropy),
}
