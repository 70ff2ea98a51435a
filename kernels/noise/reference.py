"""The specification of this op: the noise stream as kernels/reference/noise.py defines it."""

import torch
from torch import Tensor

from kernels.place import Place
from kernels.reference.noise import group_normals


def normal(count: int, dim: int, steps: int, place: Place, stream: int, device: torch.device) -> Tensor:
    """Return standard normals of the stream, [steps, count, dim] float32: row t - 1 is the noise of step t."""
    return group_normals(count, dim, range(-(-steps // 4)), place, stream, device)[:steps]
