"""Networks as the kernels read them."""

import ctypes
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from kernels.networks import MLPPair

ACTIVATIONS = {"relu": 0, "silu": 1, "tanh": 2}  # as kernels/native/network.h numbers them


def addresses(tensors: Sequence[Tensor]) -> ctypes.Array:
    """Return the addresses of contiguous tensors, which must live as long as they are used."""
    return (ctypes.c_void_p * len(tensors))(*[tensor.data_ptr() for tensor in tensors])


class Layers(NamedTuple):
    """The layers of a pair for kernels of any depth.

    Attributes:
        tensors: of the mean's layers, then of the std's; where they share all hidden layers, of one network with the
            outputs of both.
        widths: of the hidden layers of each, in this order.
        depths: how many hidden layers each has.
    """

    tensors: tuple[Tensor, ...]
    widths: tuple[int, ...]
    depths: tuple[int, ...]

    @property
    def arguments(self) -> tuple[ctypes.Array, ctypes.Array, ctypes.Array, int]:
        """Return what C++ takes: the addresses of the tensors, widths, depths, and how many networks there are."""
        widths, depths = ((ctypes.c_int * len(values))(*values) for values in self[1:])
        return addresses(self.tensors), widths, depths, len(depths)


def layers(pair: MLPPair) -> Layers:
    """Return the layers of a pair: with a trunk, both heads are one linear layer."""
    values, hidden = pair.values, pair.hidden
    if not pair.trunk:
        return Layers(values, hidden[0] + hidden[1], (len(hidden[0]), len(hidden[1])))
    *trunk, mean_weight, mean_bias, std_weight, std_bias = values
    heads = torch.cat((mean_weight, std_weight)), torch.cat((mean_bias, std_bias))
    return Layers((*trunk, *heads), hidden[0], (len(hidden[0]),))
