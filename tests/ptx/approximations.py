"""Instructions that a GPU computes approximately, each as far off as its specification allows.

PTX ISA, section "Floating Point Instructions": the largest relative error is 2^-23 for sqrt.approx and 2^-22.9 for
rsqrt.approx; ex2.approx and div.full are at most two units in the last place from the correctly rounded result. The
result of a real GPU lies within these limits and may differ from GPU to GPU.
"""

import os
from collections.abc import Callable

import numpy as np

from ptx import Array

DIRECTIONS = ("exact", "up", "down", "mixed")
direction = os.environ.get("PTX_APPROXIMATE", "mixed")  # mixed: up or down, as the bits of the operand decide
"""The direction in which approximate instructions err. Each of them reads it when it is executed."""


def signs(x: Array) -> Array:
    """Return the direction of the error for each operand, -1, 0 or 1. It is the same on every call, as in hardware."""
    if direction != "mixed":
        return np.full((), {"exact": 0, "up": 1, "down": -1}[direction], "f4")
    mixed = np.ascontiguousarray(x).view("u4") * np.uint32(2654435761)
    mixed = (mixed ^ mixed >> np.uint32(15)) * np.uint32(2246822519)
    return np.where(mixed >> np.uint32(31), np.float32(-1), np.float32(1))


def flush(x: Array) -> Array:
    """Return x with subnormal numbers replaced by zeros of the same sign (.ftz)."""
    return np.where(np.abs(x) < np.finfo("f4").tiny, np.copysign(np.float32(0), x), x).astype("f4")


def relative_ftz(function: Callable[[Array], Array], error: float) -> Callable[[Array], Array]:
    """Return `function` with the largest float32 error that a relative `error` allows."""

    def approximate(x: Array) -> Array:
        x = flush(x)
        exact = function(x.astype("f8"))
        moved = (exact * (1 + error * signs(x))).astype("f4")
        too_far = np.abs(moved.astype("f8") - exact) > error * np.abs(exact)
        moved = np.where(too_far, np.nextafter(moved, exact.astype("f4")), moved)
        return flush(np.where(np.isfinite(exact) & (exact != 0), moved, exact.astype("f4")))

    return approximate


def units(function: Callable[..., Array], number: int) -> Callable[..., Array]:
    """Return `function` with an error of `number` units in the last place, except where its result is special."""

    def approximate(*operands: Array) -> Array:
        exact = function(*(x.astype("f8") for x in operands)).astype("f4")
        moved, sign = exact, signs(operands[-1])
        for _ in range(number):
            moved = np.where(sign == 0, moved, np.nextafter(moved, np.copysign(np.float32(np.inf), sign)))
        special = ~np.isfinite(exact) | (exact == 0) | (operands[0] == 0)
        return np.where(special, exact, moved)

    return approximate


TABLE: dict[str, Callable[..., Array]] = {
    "sqrt.approx.ftz.f32": relative_ftz(np.sqrt, 2.0**-23),
    "rsqrt.approx.ftz.f32": relative_ftz(lambda x: 1 / np.sqrt(x), 2.0**-22.9),
    "ex2.approx.ftz.f32": lambda x: flush(units(np.exp2, 2)(flush(x))),
    "div.full.f32": units(np.divide, 2),
}
