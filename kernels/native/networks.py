"""Networks as the kernels read them."""

import ctypes
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from kernels.networks import MLPPair

ACTIVATIONS = {"relu": 0, "silu": 1, "tanh": 2}  # as kernels/native/network.h numbers them


def addresses(tensors: Sequence[Tensor]) -> ctypes.Array:
    """Return the addresses of contiguous tensors. The tensors must live as long as the addresses are used."""
    return (ctypes.c_void_p * len(tensors))(*[tensor.data_ptr() for tensor in tensors])


class Shape(NamedTuple):
    """The hidden layers of a pair's networks: of two, or of one if mean and std share their hidden layers.

    Attributes:
        widths: the widths of the hidden layers, one network after the other.
        depths: how many hidden layers each network has.
    """

    widths: tuple[int, ...]
    depths: tuple[int, ...]

    @property
    def arguments(self) -> tuple[ctypes.Array, ctypes.Array, int]:
        """Return the arguments of C++: widths, depths, and how many networks there are."""
        widths, depths = ((ctypes.c_int * len(values))(*values) for values in self)
        return widths, depths, len(depths)


def shape(pair: MLPPair) -> Shape:
    """Return the shape of the layers of a pair."""
    mean, std = pair.hidden
    return Shape(mean, (len(mean),)) if pair.trunk else Shape(mean + std, (len(mean), len(std)))


def tensors(pair: MLPPair) -> tuple[Tensor, ...]:
    """Return weight and bias of every layer as kernels need them: with a trunk, both heads are one linear layer."""
    values = pair.values
    if not pair.trunk:
        return values
    *trunk, mean_weight, mean_bias, std_weight, std_bias = values
    return (*trunk, torch.cat((mean_weight, std_weight)), torch.cat((mean_bias, std_bias)))
