"""The log-likelihood of each row: a lower bound that importance weighting tightens (Burda 2016, Eq. 8)."""

import copy
import math

import torch
from torch import Tensor

from ddpm.diffusion import Diffusion
from kernels import arguments
from kernels.constants import SCORE, STREAM_SHIFT
from kernels.networks import check_condition
from kernels.reference.noise import MASK, box_muller, key_of, philox

ROWS = 2**14  # in one call of the network


def log_likelihood(
    diffusion: Diffusion, x0: Tensor, *, samples: int = 1, seed: int = 0, condition: Tensor | None = None
) -> Tensor:
    """Estimate log p(x_0) of every row, in nats.

    The estimate is the logarithm of the mean of p(x_0 ... x_T) / q(x_1 ... x_T | x_0) over `samples` trajectories. With
    one trajectory, it is on average the negative bound of the row, not divided by D (T + 1). More trajectories bring it
    closer to log p from below. The network itself is called, in float64 on the CPU.

    The noise of a row depends only on the seed and on the numbers in the row. So its estimate does not depend on the
    other rows.

    Args:
        diffusion: the model.
        x0: the rows, [N, D], of a floating dtype, finite.
        samples: the number of trajectories of each row.
        seed: the seed of the noise.
        condition: [N, C], if the network is conditioned.

    Returns:
        The estimates, [N] float64 on the CPU.

    Raises:
        TypeError, ValueError: a bad argument.
    """
    samples = arguments.integer("samples", samples, 1, 2**32 - 1)
    seed = arguments.integer("seed", seed, -(2**63), 2**64 - 1)
    network, x, given = in_float64(diffusion, x0, condition)
    betas, index = diffusion.schedule.betas, content_index(x0)
    found = torch.full((len(x),), -math.inf, dtype=torch.float64)
    with torch.no_grad():
        for start in range(0, len(x), ROWS):
            rows = slice(start, start + ROWS)
            for sample in range(samples):
                weight = _log_weight(network, x[rows], betas, index[rows], seed, sample, [c[rows] for c in given])
                found[rows] = torch.logaddexp(found[rows], weight)
    return found - math.log(samples)


def in_float64(
    diffusion: Diffusion, x0: Tensor, condition: Tensor | None
) -> tuple[torch.nn.Module, Tensor, tuple[Tensor, ...]]:
    """Return a copy of the network in evaluation mode, the rows, and the condition in a tuple: float64, on the CPU.

    Raises:
        TypeError, ValueError: the rows or the condition do not fit the network.
    """
    diffusion.check_points("x0", x0)
    arguments.points("x0", x0)
    network = copy.deepcopy(diffusion.network).to("cpu", torch.float64).eval()
    check_condition(getattr(network, "condition_dim", 0), condition, len(x0))
    given = () if condition is None else (condition.detach().cpu().double(),)
    return network, x0.detach().cpu().double(), given


def content_index(x0: Tensor) -> Tensor:
    """Return a 32-bit index of each row, [N] int64, computed from the bits of its numbers in float32."""
    index = torch.zeros(len(x0), dtype=torch.int64)
    for column in (x0.detach().cpu().float() + 0.0).T:  # turns -0 into 0
        index, *_ = philox((index, column.contiguous().view(torch.int32).long() & MASK, 0 * index, 0 * index), (0, 0))
    return index


def _log_weight(
    network: torch.nn.Module, x0: Tensor, betas: Tensor, index: Tensor, seed: int, sample: int, given: list[Tensor]
) -> Tensor:
    """Return log p(x_0 ... x_T) - log q(x_1 ... x_T | x_0) for one trajectory of each row, [N]."""
    steps, x = len(betas), x0
    weight = torch.zeros(len(x0), dtype=torch.float64)
    normals = Tensor()
    for t in range(1, steps + 1):
        if (t - 1) % 4 == 0:
            normals = _normals(index, x0.shape[1], (t - 1) // 4, seed, sample)
        previous, beta, eps = x, betas[t - 1], normals[(t - 1) % 4]
        x = torch.sqrt(1 - beta) * previous + torch.sqrt(beta) * eps
        mean, std = network(x, torch.full((len(x), 1), t / (steps + 1), dtype=torch.float64), *given)
        # the constants of the two Gaussians cancel
        log_p = -0.5 * ((previous - mean) / std).square() - torch.log(std)
        weight += (log_p + 0.5 * eps.square() + 0.5 * torch.log(beta)).sum(1)
    return weight - 0.5 * (x.square() + math.log(2 * math.pi)).sum(1)


def _normals(index: Tensor, dim: int, group: int, seed: int, sample: int) -> Tensor:
    """Return the normals of four steps, [4, N, D] float64."""
    dimension = (SCORE << STREAM_SHIFT) + torch.arange(dim)
    counter = torch.broadcast_tensors(index.unsqueeze(1), torch.tensor(group), torch.tensor(sample), dimension)
    c0, c1, c2, c3 = counter
    words = philox((c0, c1, c2, c3), key_of(seed))
    return torch.stack(box_muller(*words[:2]) + box_muller(*words[2:]))
