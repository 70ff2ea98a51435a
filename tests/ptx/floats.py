"""Floating-point instructions of PTX that NumPy lacks: rounded once, with PTX's rules for zeros and NaN."""

import contextlib
import ctypes
import ctypes.util
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from ptx import Array


@contextlib.contextmanager
def ieee_754() -> Iterator[None]:
    """Turn NumPy's warnings off and subnormal numbers on. Some libraries turn the latter off when they are loaded."""
    flushed = math.ldexp(1.0, -1074) * math.ldexp(1.0, 0) == 0
    torch.set_flush_denormal(False)
    try:
        with np.errstate(all="ignore"):
            yield
    finally:
        torch.set_flush_denormal(flushed)


def fma32(a: Array, b: Array, c: Array) -> Array:
    """Return a b + c, rounded once.

    The product is exact in float64. The sum is rounded to odd in float64: if it is inexact, its last bit becomes odd.
    The rounding to float32 is then correct.
    """
    product, addend = a.astype("f8") * b.astype("f8"), c.astype("f8")
    total = product + addend
    bits = total.view("i8")
    halfway = (bits & 0x1FFFFFFF) == 0x10000000
    subnormal = (np.abs(total) < 2.0**-125) & (total != 0)  # float32 rounds these at other bits
    if (halfway | subnormal).any():
        back = total - product
        rest = (product - (total - back)) + (addend - back)  # the exact error of the sum (Knuth)
        inexact = (rest != 0) & np.isfinite(rest) & ((bits & 1) == 0)
        total = (bits + np.where(inexact, np.where((rest > 0) == (total > 0), 1, -1), 0)).view("f8")
    return total.astype("f4")


_libm = ctypes.CDLL(ctypes.util.find_library("m"))
_libm.fma.restype, _libm.fma.argtypes = ctypes.c_double, [ctypes.c_double] * 3
_fma64 = np.frompyfunc(_libm.fma, 3, 1)


def fma64(a: Array, b: Array, c: Array) -> Array:
    """Return a b + c, rounded once, one number at a time."""
    return np.asarray(_fma64(a, b, c)).astype("f8")


NAN = np.uint32(0x7FFFFFFF).view("f4")


def with_one_nan(function: Callable[..., Array]) -> Callable[..., Array]:
    """Return `function` with the one NaN that float32 operations of a GPU give, whatever NaN the operands have."""

    def operation(*operands: Array) -> Array:
        result = function(*operands)
        is_nan = result != result
        return np.where(is_nan, NAN, result) if is_nan.any() else result

    return operation


def smaller(a: Array, b: Array) -> Array:
    """Return the smaller number. If one operand is NaN, return the other. -0 is smaller than +0."""
    return -larger(-a, -b)


def larger(a: Array, b: Array) -> Array:
    """Return the larger number. If one operand is NaN, return the other. +0 is larger than -0."""
    return np.where((a == 0) & (b == 0), a + b, np.fmax(a, b))  # -0 + 0 = 0


def nan_if_any(function: Callable[[Array, Array], Array]) -> Callable[[Array, Array], Array]:
    """Return `function` with a result of NaN where either operand is NaN."""
    return lambda a, b: np.where(np.isnan(a) | np.isnan(b), NAN, function(a, b))


def to_integer(to: np.dtype[Any]) -> Callable[[Array], Array]:
    """Return the conversion from float: round towards zero, clamp to the range, convert NaN as the manual says."""
    limits, bits = np.iinfo(to), 8 * to.itemsize

    def convert(a: Array) -> Array:
        is_nan, value = np.isnan(a), np.trunc(a.astype("f8"))
        nan = np.array(0 if a.dtype == np.float32 and bits < 64 else 1 << (bits - 1), f"u{to.itemsize}").view(to)
        high, low = value >= float(limits.max) + 1, value < float(limits.min)
        inside = np.where(high | low | is_nan, 0, value).astype(to)
        return np.select([is_nan, high, low], [nan, to.type(limits.max), to.type(limits.min)], inside)

    return convert
