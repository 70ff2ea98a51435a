"""One step of the reverse process, in the dtype of its inputs."""

from torch import Tensor

from kernels.constants import REVERSE
from kernels.place import Place
from kernels.reference.noise import group_normals


def reverse_step(mean: Tensor, std: Tensor, t: int, place: Place) -> Tensor:
    """Return mean + std eps for mean and std [N, D]."""
    group, i = divmod(t - 1, 4)
    count, dim = mean.shape
    eps = group_normals(count, dim, range(group, group + 1), place, REVERSE, mean.device)[i]
    return mean + std * eps.to(mean.dtype)
