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


class Shape(NamedTuple):
    """How many networks there are, one where mean and std share their hidden layers, and their layers.

    Attributes:
        widths: of the hidden layers of each, in this order.
        depths: how many hidden layers each has.
    """

    widths: tuple[int, ...]
    depths: tuple[int, ...]

    @property
    def arguments(self) -> tuple[ctypes.Array, ctypes.Array, int]:
        """Return what C++ takes: widths, depths, and how many networks there are."""
        widths, depths = ((ctypes.c_int * len(values))(*values) for values in self)
        return widths, depths, len(depths)


def shape(pair: MLPPair) -> Shape:
    """Return the shape of the layers of a pair."""
    mean, std = pair.hidden
    return Shape(mean, (len(mean),)) if pair.trunk else Shape(mean + std, (len(mean), len(std)))


def tensors(pair: MLPPair) -> tuple[Tensor, ...]:
    """Return weight and bias of every layer as kernels take them: with a trunk, both heads are one linear layer."""
    values = pair.values
    if not pair.trunk:
        return values
    *trunk, mean_weight, mean_bias, std_weight, std_bias = values
    return (*trunk, torch.cat((mean_weight, std_weight)), torch.cat((mean_bias, std_bias)))
