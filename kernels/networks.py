"""Networks: the pair of multilayer perceptrons that a kernel can hold, and how any other network is called.

A network maps (x [B, D], t [B, 1]) to (mean [B, D], std [B, D]) of p(x_{t-1} | x_t); t is t / (T + 1).
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from kernels import arguments
from kernels.constants import STD_FLOOR

Network = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]

CPU = torch.device("cpu")

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"relu": torch.relu, "silu": functional.silu, "tanh": torch.tanh}


class Layer(NamedTuple):
    """z = weight x + bias, weight [outputs, inputs] and bias [outputs]."""

    weight: Tensor
    bias: Tensor


def layers_of(tensors: Sequence[Tensor]) -> tuple[Layer, ...]:
    """Return the layers of weight, bias, weight, bias ..."""
    return tuple(Layer(*two) for two in zip(tensors[::2], tensors[1::2], strict=True))


class StepTables(NamedTuple):
    """Constants of a network by step, t = 1 ... T, each [T].

    mean = skip_t x_t + out_t f and std = max(scale_t softplus(s), STD_FLOOR) for the outputs f and s of the two
    perceptrons, whose last input is time_t. The tutorial's are 0, 1, 1 and t / (T + 1).
    """

    skip: Tensor
    out: Tensor
    scale: Tensor
    time: Tensor


@dataclass(frozen=True, eq=False)
class MLPPair:
    """The mean and the std of p(x_{t-1} | x_t) from two multilayer perceptrons on [x, t].

    Attributes:
        mean, std: the layers of each, from W [H, D + 1] to W [D, H]; one dtype and one device. The std is
            max(softplus(s), STD_FLOOR) of its output s.
        activation: a key of ACTIVATIONS, after every layer but the last.
        tables: None for the tutorial's.

    Raises:
        ValueError, TypeError: layers that do not fit together, or an activation that does not exist.
    """

    mean: tuple[Layer, ...]
    std: tuple[Layer, ...]
    activation: str = "relu"
    tables: StepTables | None = None

    def __post_init__(self) -> None:
        if self.activation not in ACTIVATIONS:
            raise ValueError(f"activation must be one of {', '.join(ACTIVATIONS)}; got {self.activation!r}")
        if not self.mean or not self.std:
            raise ValueError("mean and std must have at least one layer each")
        dim, dtype, device = self.dim, self.dtype, self.device
        for name, layers in (("mean", self.mean), ("std", self.std)):
            inputs = dim + 1
            for i, (weight, bias) in enumerate(layers):
                outputs = bias.numel() if i + 1 < len(layers) else dim
                for what, tensor, shape in (("weight", weight, (outputs, inputs)), ("bias", bias, (outputs,))):
                    if tensor.shape != shape:
                        raise ValueError(f"{name}[{i}].{what} must have shape {list(shape)}; got {list(tensor.shape)}")
                    if tensor.dtype != dtype:
                        raise TypeError(f"{name}[{i}].{what} must be {dtype} as mean[0]; got {tensor.dtype}")
                    if tensor.device != device:
                        raise ValueError(f"{name}[{i}].{what} is on {tensor.device}, but mean[0] on {device}")
                inputs = outputs

    @classmethod
    def of_tensors(cls, tensors: Sequence[Tensor], activation: str = "relu") -> "MLPPair":
        """Return the pair of these tensors: weight and bias of every layer, first of the mean, then of the std.

        Both perceptrons have the same number of layers.
        """
        if not tensors or len(tensors) % 4:
            raise ValueError(f"tensors must be two for every layer of two perceptrons; got {len(tensors)}")
        half = len(tensors) // 2
        return cls(layers_of(tensors[:half]), layers_of(tensors[half:]), activation)

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """Weight and bias of every layer, first of the mean, then of the std."""
        return tuple(itertools.chain.from_iterable((*self.mean, *self.std)))

    @property
    def dim(self) -> int:
        """D."""
        return self.mean[-1].bias.numel()  # len() of a tensor takes a microsecond more

    @property
    def hidden(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The widths of the hidden layers of the mean and of the std."""
        mean, std = (tuple([layer.bias.numel() for layer in layers[:-1]]) for layers in (self.mean, self.std))
        return mean, std

    @property
    def device(self) -> torch.device:
        return self.mean[0].weight.device

    @property
    def dtype(self) -> torch.dtype:
        return self.mean[0].weight.dtype

    @property
    def values(self) -> tuple[Tensor, ...]:
        """The same as kernels take them: contiguous, and not followed by autograd."""
        return tuple(tensor.detach().resolve_neg().contiguous() for tensor in self.tensors)

    def __call__(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """(x [B, D], t [B, 1] = t / (T + 1)) -> (mean [B, D], std [B, D])."""
        if self.tables is None:
            mean, s = (self._output(layers, torch.cat((x, t), 1)) for layers in (self.mean, self.std))
            return mean, functional.softplus(s).clamp_min(STD_FLOOR)
        step = torch.round(t[:, 0].double() * (len(self.tables.time) + 1)).long() - 1
        skip, out, scale, time = (table.to(x.dtype)[step].unsqueeze(1) for table in self.tables)
        mean, s = (self._output(layers, torch.cat((x, time), 1)) for layers in (self.mean, self.std))
        return skip * x + out * mean, (scale * functional.softplus(s)).clamp_min(STD_FLOOR)

    def _output(self, layers: tuple[Layer, ...], x: Tensor) -> Tensor:
        for layer in layers[:-1]:
            x = ACTIVATIONS[self.activation](functional.linear(x, *layer))
        return functional.linear(x, *layers[-1])


@dataclass(frozen=True, eq=False)
class Called:
    """Any network, of which nothing is known but what a call returns.

    Attributes:
        function: (x [B, D], t [B, 1]) -> (mean [B, D], std [B, D]).
        device, dtype: of its parameters, and of what it is called on.
    """

    function: Network
    device: torch.device
    dtype: torch.dtype

    @property
    def dim(self) -> int:
        """D, which the network has as an attribute of this name."""
        return arguments.integer("network.dim", getattr(self.function, "dim", None), 1, 2**24)

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """The tensors that the network owns: those of a pair, or the parameters of a module."""
        return _owned(self.function)

    def __call__(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and std, checked, in the dtype of x: autocast may have computed them in half precision.

        Raises:
            ValueError, TypeError: not two tensors of the shape of x, or of a dtype that x's cannot hold.
        """
        output = self.function(x, t)
        tensors = isinstance(output, tuple) and all(isinstance(v, Tensor) for v in output)
        shapes = [list(v.shape) for v in output] if tensors else type(output).__name__
        if shapes != [list(x.shape)] * 2:
            raise ValueError(f"network must return (mean, std), both of shape {list(x.shape)}; got {shapes}")
        for v in output:
            if not v.dtype.is_floating_point or torch.promote_types(v.dtype, x.dtype) != x.dtype:
                raise TypeError(f"network must return {x.dtype}, the dtype of x, or less; got {v.dtype}")
        mean, std = output
        return mean.to(x.dtype), std.to(x.dtype)


def describe(network: Network) -> MLPPair | None:
    """Return the MLPPair that `network` says it is, None where only a call tells what it computes.

    A module says so by a method `as_mlp_pair`, which gives a pair or None.
    """
    if isinstance(network, MLPPair):
        return network
    as_mlp_pair = getattr(type(network), "as_mlp_pair", None)
    return None if as_mlp_pair is None else as_mlp_pair(network)


def called(network: Network, device: torch.device = CPU, dtype: torch.dtype = torch.float32) -> Called:
    """Return `network` as a Called; `device` and `dtype` are for one without parameters, or with several dtypes."""
    owned = _owned(network)
    dtypes = {p.dtype for p in owned if p.dtype.is_floating_point}
    return Called(network, owned[0].device if owned else device, dtypes.pop() if len(dtypes) == 1 else dtype)


def _owned(network: Network) -> tuple[Tensor, ...]:
    if isinstance(network, MLPPair):
        return tuple(dict.fromkeys(network.tensors))  # a tied one once
    return tuple(network.parameters()) if isinstance(network, nn.Module) else ()
