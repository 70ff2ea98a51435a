"""One step of the reverse process, in the dtype of its inputs."""

from torch import Tensor

from kernels import tiles
from kernels.noise.reference import normal


def reverse_step(mean: Tensor, std: Tensor, t: int, *, seed: int, first: int) -> Tensor:
    """mean + std eps for mean, std [N, D]."""
    count, dim = mean.shape
    start, place = (t - 1) // 4 * 4, {"seed": seed, "step": 0, "first": first, "stream": tiles.REVERSE}
    eps = normal(count, dim, t - start, start=start, device=mean.device, **place)[-1]
    return mean + std * eps.to(mean.dtype)
