"""Networks as the kernels read them."""

import ctypes
from collections.abc import Sequence

from torch import Tensor


def addresses(tensors: Sequence[Tensor]) -> ctypes.Array:
    """Return the addresses of contiguous tensors, which must live as long as they are used."""
    return (ctypes.c_void_p * len(tensors))(*[tensor.data_ptr() for tensor in tensors])
