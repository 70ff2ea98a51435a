"""Registers ops with torch.library, so that torch.compile of code around them calls them and does not look inside.

Outside torch.compile they are called as they are: the dispatcher would add 14 us (measured on a CPU).
"""

import functools
from collections.abc import Callable
from typing import Any, ParamSpec

import torch
from torch import Tensor

P = ParamSpec("P")


def operator(schema: str, fake: Callable[..., Tensor]) -> Callable[[Callable[P, Tensor]], Callable[P, Tensor]]:
    """Register a function of keyword options with defaults as fused_ddpm::<its name>.

    Args:
        schema: its arguments in the language of torch.library. A `step` is an int or a tensor, which that language
            cannot say: it is taken apart, into `Tensor? device_step` and `int step`.
        fake: an empty tensor like the result, from the arguments of the schema.
    """

    def register(function: Callable[P, Tensor]) -> Callable[P, Tensor]:
        defaults = function.__kwdefaults__ or {}

        def run(*args: Any, **options: Any) -> Tensor:
            if "step" in defaults:
                *args, device_step = args  # type: ignore[assignment]
                if device_step is not None:
                    options["step"] = device_step
            return function(*args, **options)

        name = f"fused_ddpm::{function.__name__}"
        op = torch.library.custom_op(name, run, mutates_args=(), schema=f"({schema}) -> Tensor")
        op.register_fake(fake)

        @functools.wraps(function)
        def call(*args: P.args, **options: P.kwargs) -> Tensor:
            if not torch.compiler.is_compiling():
                return function(*args, **options)
            every: dict[str, Any] = {**defaults, **options}
            if "step" in every:
                on_device = isinstance(every["step"], Tensor)
                every |= {"device_step": every["step"], "step": 0} if on_device else {"device_step": None}
            if every["seed"] >= 2**63:  # the same 64 bits, in torch's signed integers
                every["seed"] -= 2**64
            return op(*args, **every)

        return call

    return register
