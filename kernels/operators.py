"""Registers ops with torch.library, so that torch.compile calls them and does not trace into them.

Outside torch.compile they are called directly: the dispatcher would add 14 us (measured on a CPU).
"""

import functools
import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from kernels.networks import Layer, MLPPair, StepTables, layers_of
from kernels.place import Place

# torch.library has no type for an MLPPair, for a Place, or for an argument that is an int or a tensor. So these are
# passed in parts.
PAIR = (
    "Tensor[] mean, Tensor[] std, str activation, Tensor[] tables, Tensor[] trunk, float[] features, int condition_dim"
)
PLACE = "SymInt seed, SymInt step, Tensor? device_step, SymInt first"


def operator(schema: str, fake: Callable[..., Tensor]) -> Callable[[Callable[..., Tensor]], Callable[..., Tensor]]:
    """Return a decorator that registers a function of positional arguments as fused_ddpm::<its name>.

    Args:
        schema: the arguments in the language of torch.library, with PAIR for an MLPPair and PLACE for a Place.
        fake: takes the same arguments and returns an empty tensor like the result.
    """

    def register(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
        kinds = [parameter.annotation for parameter in inspect.signature(function).parameters.values()]

        def run(*flat: Any) -> Tensor:
            return function(*_together(kinds, flat))

        name = f"fused_ddpm::{function.__name__}"
        op = torch.library.custom_op(name, run, mutates_args=(), schema=f"({schema}) -> Tensor")
        op.register_fake(lambda *flat: fake(*_together(kinds, flat)))

        @functools.wraps(function)
        def call(*arguments: Any) -> Tensor:
            if torch.compiler.is_compiling():
                return op(*_apart(arguments))
            return function(*arguments)

        return call

    return register


def _apart(arguments: Sequence[Any]) -> Iterator[Any]:
    for argument in arguments:
        if isinstance(argument, MLPPair):
            for layers in (argument.mean, argument.std):
                yield _flat(layers)
            yield argument.activation
            yield list(argument.tables or ())
            yield _flat(argument.trunk)
            yield list(argument.features)
            yield argument.condition_dim
        elif isinstance(argument, Place):
            seed, step, first = argument
            if seed >= 2**63:  # the same 64 bits, in torch's signed integers
                seed -= 2**64
            yield from (seed, 0, step, first) if isinstance(step, Tensor) else (seed, step, None, first)
        else:
            yield argument


def _together(kinds: Sequence[Any], flat: Sequence[Any]) -> Iterator[Any]:
    rest = iter(flat)
    for kind in kinds:
        if kind is MLPPair:
            mean, std = (layers_of(next(rest)) for _ in range(2))
            activation, tables, trunk, features, condition_dim = (next(rest) for _ in range(5))
            yield MLPPair(
                *(mean, std, activation, StepTables(*tables) if tables else None),
                *(layers_of(trunk), tuple(features), condition_dim),
            )
        elif kind is Place:
            seed, step, device_step, first = (next(rest) for _ in range(4))
            yield Place(seed, step if device_step is None else device_step, first)
        else:
            yield next(rest)


def _flat(layers: Sequence[Layer]) -> list[Tensor]:
    return [tensor.detach() for layer in layers for tensor in layer]
