"""A table of PTX's arithmetic: from opcode to a function of NumPy arrays.

The PTX ISA is the specification. The table has the opcodes that Triton's kernels use and close relatives of them, not
all of PTX. Operations on floats are exactly rounded. The approximate ones are in approximations.py.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ptx import Array, approximations, floats, integers
from ptx.faults import UnknownInstruction
from ptx.integers import widen

INTEGERS = ("u16", "s16", "u32", "s32", "u64", "s64")
BITS = ("b16", "b32", "b64")


@functools.cache
def dtype(kind: str) -> np.dtype[Any]:
    """Return the NumPy dtype of a PTX type: u32, s64, f32, b16, pred ..."""
    return (
        np.dtype(bool) if kind == "pred" else np.dtype(f"{ {'s': 'i', 'f': 'f'}.get(kind[0], 'u') }{width(kind) // 8}")
    )


def width(kind: str) -> int:
    """Return the width of a type in bits."""
    return 1 if kind == "pred" else int(kind[1:])


@dataclass(frozen=True)
class Operation:
    """An instruction without side effects: the type of its result, the types of its operands, and its function."""

    result: str
    sources: tuple[str, ...]
    compute: Callable[..., Array]


OPERATIONS: dict[str, Operation] = {}


def operation(opcode: str) -> Operation:
    """Return the operation of an opcode.

    Raises:
        UnknownInstruction: the opcode is not in the table.
    """
    if opcode not in OPERATIONS:
        raise UnknownInstruction(f"the machine does not know {opcode!r}")
    return OPERATIONS[opcode]


def define(opcode: str, result: str, sources: str, compute: Callable[..., Array]) -> None:
    OPERATIONS[opcode] = Operation(result, tuple(sources.split()), compute)


# ---- integers

for kind in INTEGERS:
    define(f"add.{kind}", kind, f"{kind} {kind}", np.add)
    define(f"sub.{kind}", kind, f"{kind} {kind}", np.subtract)
    define(f"mul.lo.{kind}", kind, f"{kind} {kind}", np.multiply)
    define(f"mad.lo.{kind}", kind, f"{kind} {kind} {kind}", lambda a, b, c: a * b + c)
    define(f"div.{kind}", kind, f"{kind} {kind}", lambda a, b: integers.divide(a, b)[0])
    define(f"rem.{kind}", kind, f"{kind} {kind}", lambda a, b: integers.divide(a, b)[1])
    define(f"min.{kind}", kind, f"{kind} {kind}", np.minimum)
    define(f"max.{kind}", kind, f"{kind} {kind}", np.maximum)
    define(f"shr.{kind}", kind, f"{kind} u32", lambda a, by: integers.shift(np.right_shift, a, by))
    if kind[0] == "s":
        define(f"neg.{kind}", kind, kind, np.negative)
        define(f"abs.{kind}", kind, kind, np.abs)
    if width(kind) < 64:
        wide = f"{kind[0]}{2 * width(kind)}"
        define(f"mul.wide.{kind}", wide, f"{kind} {kind}", lambda a, b: widen(a) * widen(b))
        define(f"mad.wide.{kind}", wide, f"{kind} {kind} {wide}", lambda a, b, c: widen(a) * widen(b) + c)
    if width(kind) == 32:
        define(f"mul.hi.{kind}", kind, f"{kind} {kind}", integers.high)
        define(f"bfe.{kind}", kind, f"{kind} u32 u32", integers.bit_field)
for kind in (*BITS, "pred"):
    define(f"and.{kind}", kind, f"{kind} {kind}", np.bitwise_and)
    define(f"or.{kind}", kind, f"{kind} {kind}", np.bitwise_or)
    define(f"xor.{kind}", kind, f"{kind} {kind}", np.bitwise_xor)
    define(f"not.{kind}", kind, kind, np.invert)
for kind in BITS:
    define(f"shl.{kind}", kind, f"{kind} u32", lambda a, by: integers.shift(np.left_shift, a, by))
    define(f"shr.{kind}", kind, f"{kind} u32", lambda a, by: integers.shift(np.right_shift, a, by))
define("prmt.b32", "b32", "b32 b32 b32", integers.permute)


# ---- floats


def define_float(opcode: str, kind: str, number: int, compute: Callable[..., Array]) -> None:
    """Define an operation on `number` operands of a float type."""
    define(opcode, kind, " ".join([kind] * number), floats.with_one_nan(compute) if kind == "f32" else compute)


for kind, fma in (("f32", floats.fma32), ("f64", floats.fma64)):
    for rounding in ("", ".rn"):  # without .rn, ptxas may fuse two operations into one multiply-add
        define_float(f"add{rounding}.{kind}", kind, 2, np.add)
        define_float(f"sub{rounding}.{kind}", kind, 2, np.subtract)
        define_float(f"mul{rounding}.{kind}", kind, 2, np.multiply)
    define_float(f"fma.rn.{kind}", kind, 3, fma)
    define_float(f"div.rn.{kind}", kind, 2, np.divide)
    define_float(f"sqrt.rn.{kind}", kind, 1, np.sqrt)
    define_float(f"rcp.rn.{kind}", kind, 1, lambda a: a.dtype.type(1) / a)
    define_float(f"min.{kind}", kind, 2, floats.smaller)
    define_float(f"max.{kind}", kind, 2, floats.larger)
    define(f"neg.{kind}", kind, kind, np.negative)
    define(f"abs.{kind}", kind, kind, np.abs)
define_float("min.NaN.f32", "f32", 2, floats.nan_if_any(floats.smaller))
define_float("max.NaN.f32", "f32", 2, floats.nan_if_any(floats.larger))
for opcode, compute in approximations.TABLE.items():
    define_float(opcode, "f32", 2 if opcode.startswith("div") else 1, compute)


# ---- comparisons and choices

ORDERED: dict[str, Callable[[Array, Array], Array]] = {
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
}


def ordered(compare: Callable[[Array, Array], Array]) -> Callable[[Array, Array], Array]:
    """Return the comparison that is false where an operand is NaN."""
    return lambda a, b: compare(a, b) & ~(np.isnan(a) | np.isnan(b))


def unordered(compare: Callable[[Array, Array], Array]) -> Callable[[Array, Array], Array]:
    """Return the comparison that is true where an operand is NaN."""
    return lambda a, b: compare(a, b) | np.isnan(a) | np.isnan(b)


def with_predicate(
    compare: Callable[[Array, Array], Array], combine: Callable[[Array, Array], Array]
) -> Callable[[Array, Array, Array], Array]:
    return lambda a, b, p: combine(compare(a, b), p)


def choose(a: Array, b: Array, first: Array) -> Array:
    return np.where(first, a, b)


def define_comparison(how: str, kind: str, compare: Callable[[Array, Array], Array]) -> None:
    """Define setp, alone and combined with another predicate."""
    define(f"setp.{how}.{kind}", "pred", f"{kind} {kind}", compare)
    for word, combine in (("and", np.logical_and), ("or", np.logical_or), ("xor", np.logical_xor)):
        define(f"setp.{how}.{word}.{kind}", "pred", f"{kind} {kind} pred", with_predicate(compare, combine))


for how, compare in ORDERED.items():
    for kind in (*INTEGERS, *(BITS if how in ("eq", "ne") else ())):
        define_comparison(how, kind, compare)
    for kind in ("f32", "f64"):
        define_comparison(how, kind, ordered(compare))
        define_comparison(f"{how}u", kind, unordered(compare))
for kind in ("f32", "f64"):
    define_comparison("num", kind, lambda a, b: ~(np.isnan(a) | np.isnan(b)))
    define_comparison("nan", kind, lambda a, b: np.isnan(a) | np.isnan(b))
for kind in (*BITS, *INTEGERS, "f32", "f64"):
    define(f"selp.{kind}", kind, f"{kind} {kind} pred", choose)
    define(f"mov.{kind}", kind, kind, lambda a: a)
define("mov.pred", "pred", "pred", lambda a: a)


# ---- conversions


def to(kind: str) -> Callable[[Array], Array]:
    return lambda a: a.astype(dtype(kind))


for kind in INTEGERS:
    for source in INTEGERS:
        define(f"cvt.{kind}.{source}", kind, source, to(kind))
    for source in ("f32", "f64"):
        define(f"cvt.rzi.{kind}.{source}", kind, source, floats.to_integer(dtype(kind)))
        define(f"cvt.rn.{source}.{kind}", source, kind, to(source))
define("cvt.f64.f32", "f64", "f32", to("f64"))
define("cvt.rn.f32.f64", "f32", "f64", floats.with_one_nan(to("f32")))
