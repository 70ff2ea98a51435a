"""The noise stream as it is defined, the specification of this op: see kernels/reference/noise.py."""

import torch
from torch import Tensor

from kernels.place import Place
from kernels.reference.noise import group_normals


def normal(count: int, dim: int, steps: int, place: Place, stream: int, device: torch.device) -> Tensor:
    """Standard normals of the stream, [steps, count, dim] float32: row t - 1 is the noise of step t."""
    return group_normals(count, dim, range(-(-steps // 4)), place, stream, device)[:steps]
