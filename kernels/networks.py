"""Networks: the pair of multilayer perceptrons that a kernel can hold, and how any other network is called.

A network maps (x [B, D], t [B, 1]) to (mean [B, D], std [B, D]) of p(x_{t-1} | x_t). Its argument t is the step divided
by T + 1. A conditioned network takes a third argument, the condition [B, C]: what is known of each row, for instance
its class, one-hot.
"""

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from kernels import arguments
from kernels.constants import STD_FLOOR

Network = Callable[..., tuple[Tensor, Tensor]]

CPU = torch.device("cpu")

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"relu": torch.relu, "silu": functional.silu, "tanh": torch.tanh}


class Layer(NamedTuple):
    """A linear layer: z = weight x + bias, with weight [outputs, inputs] and bias [outputs]."""

    weight: Tensor
    bias: Tensor


def layers_of(tensors: Sequence[Tensor]) -> tuple[Layer, ...]:
    """Return the layers of the tensors weight, bias, weight, bias ..."""
    return tuple(Layer(*two) for two in zip(tensors[::2], tensors[1::2], strict=True))


class StepTables(NamedTuple):
    """Constants of a network by step, t = 1 ... T, each [T].

    With the outputs f and s of the two perceptrons, mean = skip_t x_t + out_t f and
    std = max(scale_t softplus(s), STD_FLOOR). The last input of both perceptrons is time_t. In the tutorial these
    constants are 0, 1, 1 and t / (T + 1).
    """

    skip: Tensor
    out: Tensor
    scale: Tensor
    time: Tensor

    def at(self, t: Tensor) -> "StepTables":
        """Return skip, out, scale and time, each [B, 1], for t [B, 1], the steps divided by T + 1."""
        if torch.finfo(t.dtype).eps * len(self.time) > 0.5:
            raise ValueError(f"{t.dtype} cannot tell T = {len(self.time)} steps apart: use float32")
        step = torch.round(t.double() * (len(self.time) + 1)).long() - 1
        return StepTables(*(table.to(t.dtype)[step] for table in self))


def inputs(x: Tensor, features: Sequence[float], condition: Tensor | None, time: Tensor) -> Tensor:
    """Return a perceptron's input: x [B, D], sin(w x) for each w of `features`, cos(w x), condition, time [B, 1]."""
    parts = [x]
    if features:
        angles = torch.cat([x * w for w in features], 1)  # copying the w to a CUDA device would make the host wait
        parts += [torch.sin(angles), torch.cos(angles)]
    return torch.cat((*parts, time) if condition is None else (*parts, condition.to(x.dtype), time), 1)


def gaussian(x: Tensor, f: Tensor, softplus: Tensor, constants: StepTables | None) -> tuple[Tensor, Tensor]:
    """Return mean and std from the perceptrons' f and softplus(s), with the values of the tables for each row of x."""
    if constants is not None:
        skip, out, scale, _ = constants
        f, softplus = skip * x + out * f, scale * softplus
    return f, softplus.clamp_min(STD_FLOOR)


def input_width(dim: int, features: Sequence[float], condition_dim: int) -> int:
    """Return the number of inputs of a perceptron: the width of what `inputs` returns."""
    return dim * (1 + 2 * len(features)) + condition_dim + 1


def check_condition(condition_dim: int, condition: Tensor | None, count: int, name: str = "condition") -> None:
    """Raise unless `condition` is a finite float tensor [count, condition_dim], or None if `condition_dim` is 0."""
    if condition is None:
        if condition_dim:
            raise ValueError(f"{name} must have shape [{count}, {condition_dim}] for this network; got None")
        return
    arguments.floating(name, condition)
    if condition.shape != (count, condition_dim):
        raise ValueError(f"{name} must have shape [{count}, {condition_dim}]; got {list(condition.shape)}")
    arguments.finite(name, condition)


@dataclass(frozen=True, eq=False)
class MLPPair:
    """The mean and the std of p(x_{t-1} | x_t) from two multilayer perceptrons.

    Attributes:
        mean, std: the layers of each perceptron. The last layer has D outputs. All tensors have one dtype and are on
            one device. The std is max(softplus(s), STD_FLOOR) for the output s of its perceptron.
        activation: a key of ACTIVATIONS. It follows every layer except the last of each perceptron.
        tables: constants by step, or None for those of the tutorial.
        trunk: layers that both perceptrons share, before their own. The activation follows each.
        features: the frequencies w of Fourier features: sin(w x) and cos(w x) are inputs in addition to x and the time
            (see `inputs`).
        condition_dim: C, the number of columns of the condition; 0 if the network is not conditioned.

    Raises:
        ValueError, TypeError: the layers do not fit together, or there is no such activation.
    """

    mean: tuple[Layer, ...]
    std: tuple[Layer, ...]
    activation: str = "relu"
    tables: StepTables | None = None
    trunk: tuple[Layer, ...] = ()
    features: tuple[float, ...] = ()
    condition_dim: int = 0

    def __post_init__(self) -> None:
        if self.activation not in ACTIVATIONS:
            raise ValueError(f"activation must be one of {', '.join(ACTIVATIONS)}; got {self.activation!r}")
        if not self.mean or not self.std:
            raise ValueError("mean and std must have at least one layer each")
        dim = self.dim
        width = self._check_layers("trunk", self.trunk, input_width(dim, self.features, self.condition_dim), None)
        self._check_layers("mean", self.mean, width, dim)
        self._check_layers("std", self.std, width, dim)
        if self.tables is not None:
            lengths = {name: list(table.shape) for name, table in self.tables._asdict().items()}
            if len({tuple(shape) for shape in lengths.values()}) != 1 or self.tables.time.dim() != 1:
                raise ValueError(f"tables must have one shape [T] each; got {lengths}")

    def _check_layers(self, name: str, layers: Sequence[Layer], inputs: int, last: int | None) -> int:
        """Check the layers. Return the number of outputs of the last one, which must be `last` if that is given."""
        dtype, device = self.dtype, self.device
        for i, (weight, bias) in enumerate(layers):
            outputs = last if last is not None and i + 1 == len(layers) else bias.numel()
            for what, tensor, shape in (("weight", weight, (outputs, inputs)), ("bias", bias, (outputs,))):
                if tensor.shape != shape:
                    raise ValueError(f"{name}[{i}].{what} must have shape {list(shape)}; got {list(tensor.shape)}")
                if tensor.dtype != dtype:
                    raise TypeError(f"{name}[{i}].{what} must be {dtype}, the dtype of mean[0]; got {tensor.dtype}")
                if tensor.device != device:
                    raise ValueError(f"{name}[{i}].{what} is on {tensor.device}, but mean[0] is on {device}")
            inputs = outputs
        return inputs

    @classmethod
    def of_tensors(cls, tensors: Sequence[Tensor], activation: str = "relu") -> "MLPPair":
        """Return the pair that consists of `tensors`: weight and bias of every layer of the mean, then of the std.

        Both perceptrons must have the same number of layers.
        """
        if not tensors or len(tensors) % 4:
            raise ValueError(f"tensors must be weight and bias of every layer of two perceptrons; got {len(tensors)}")
        half = len(tensors) // 2
        return cls(layers_of(tensors[:half]), layers_of(tensors[half:]), activation)

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """Weight and bias of every layer: first of the trunk, then of the mean, then of the std."""
        return tuple(itertools.chain.from_iterable((*self.trunk, *self.mean, *self.std)))

    @property
    def dim(self) -> int:
        """D, the number of dimensions of x."""
        return self.mean[-1].bias.numel()  # len() of a tensor takes a microsecond more

    @property
    def inputs(self) -> int:
        """The number of inputs of a perceptron."""
        return input_width(self.dim, self.features, self.condition_dim)

    @property
    def hidden(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The widths of the hidden layers of the mean and of the std. Both include the trunk."""
        mean, std = (
            tuple([layer.bias.numel() for layer in (*self.trunk, *layers[:-1])]) for layers in (self.mean, self.std)
        )
        return mean, std

    @property
    def device(self) -> torch.device:
        return self.mean[0].weight.device

    @property
    def dtype(self) -> torch.dtype:
        return self.mean[0].weight.dtype

    @property
    def values(self) -> tuple[Tensor, ...]:
        """The same tensors as kernels need them: contiguous and detached."""
        return tuple(tensor.detach().resolve_neg().contiguous() for tensor in self.tensors)

    def check_steps(self, steps: int) -> None:
        """Raise ValueError if the network has tables for a number of steps other than T = `steps`."""
        if self.tables is not None and len(self.tables.time) != steps:
            raise ValueError(f"network has tables for T = {len(self.tables.time)} steps; got T = {steps}")

    def __call__(self, x: Tensor, t: Tensor, condition: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return (mean [B, D], std [B, D]) for x [B, D], t [B, 1], the step divided by T + 1, and condition [B, C]."""
        constants = None if self.tables is None else self.tables.at(t)
        h = inputs(x, self.features, condition, t if constants is None else constants.time)
        for layer in self.trunk:
            h = self._hidden(layer, h)
        f, s = (self._output(layers, h) for layers in (self.mean, self.std))
        return gaussian(x, f, functional.softplus(s), constants)

    def _hidden(self, layer: Layer, x: Tensor) -> Tensor:
        return ACTIVATIONS[self.activation](functional.linear(x, *layer))

    def _output(self, layers: tuple[Layer, ...], x: Tensor) -> Tensor:
        for layer in layers[:-1]:
            x = self._hidden(layer, x)
        return functional.linear(x, *layers[-1])


@dataclass(frozen=True, eq=False)
class Called:
    """Any network. Nothing is known of it except what a call returns.

    Attributes:
        function: (x [B, D], t [B, 1]) -> (mean [B, D], std [B, D]).
        device, dtype: those of its parameters and of its inputs.
        condition: [N, C], the condition of N rows, or None if the network is not conditioned. A call may have these
            rows several times, one set after the other.
    """

    function: Network
    device: torch.device
    dtype: torch.dtype
    condition: Tensor | None = None

    @property
    def dim(self) -> int:
        """D, from the attribute `dim` of the network."""
        return arguments.integer("network.dim", getattr(self.function, "dim", None), 1, 2**24)

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """The tensors that the network owns: those of a pair, or the parameters of a module."""
        return _owned(self.function)

    def __call__(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """Call the network, and return its mean and std, checked and in the dtype of x.

        Autocast may have computed them in half precision.

        Raises:
            ValueError: the network does not return two tensors with the shape of x.
            TypeError: it returns a dtype that the dtype of x cannot represent.
        """
        if self.condition is None:
            output = self.function(x, t)
        else:
            output = self.function(x, t, self.condition.repeat(len(x) // len(self.condition), 1))
        tensors = isinstance(output, tuple) and all(isinstance(v, Tensor) for v in output)
        shapes = [list(v.shape) for v in output] if tensors else type(output).__name__
        if shapes != [list(x.shape)] * 2:
            raise ValueError(f"network must return (mean, std), both of shape {list(x.shape)}; got {shapes}")
        for v in output:
            if not v.dtype.is_floating_point or torch.promote_types(v.dtype, x.dtype) != x.dtype:
                raise TypeError(f"network must return {x.dtype}, the dtype of x, or a narrower one; got {v.dtype}")
        mean, std = output
        return mean.to(x.dtype), std.to(x.dtype)

    def given(self, condition: Tensor | None, count: int) -> "Called":
        """Return the same network with the condition of `count` rows."""
        width = 0 if condition is None else condition.shape[-1]
        check_condition(getattr(self.function, "condition_dim", width), condition, count)
        return dataclasses.replace(self, condition=condition)

    def of_rows(self, rows: slice) -> "Called":
        """Return the same network with the condition of some of the rows."""
        return self if self.condition is None else dataclasses.replace(self, condition=self.condition[rows])


def describe(network: Network) -> MLPPair | None:
    """Return the MLPPair that computes the same as `network`, or None if it can only be called.

    A module describes itself by a method `as_mlp_pair`, which returns a pair or None.
    """
    if isinstance(network, MLPPair):
        return network
    as_mlp_pair = getattr(type(network), "as_mlp_pair", None)
    return None if as_mlp_pair is None else as_mlp_pair(network)


def called(network: Network, device: torch.device = CPU, dtype: torch.dtype = torch.float32) -> Called:
    """Return `network` as a Called.

    `device` is used if the network has no parameters, `dtype` if they do not have exactly one floating dtype.
    """
    owned = _owned(network)
    dtypes = {p.dtype for p in owned if p.dtype.is_floating_point}
    return Called(network, owned[0].device if owned else device, dtypes.pop() if len(dtypes) == 1 else dtype)


def _owned(network: Network) -> tuple[Tensor, ...]:
    if isinstance(network, MLPPair):
        return tuple(dict.fromkeys(network.tensors))  # a tied tensor once
    return tuple(network.parameters()) if isinstance(network, nn.Module) else ()
