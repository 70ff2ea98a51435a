"""Integer instructions of PTX that NumPy lacks."""

from collections.abc import Callable

import numpy as np

from ptx import Array
from ptx.faults import Undefined


def shift(function: Callable[[Array, Array], Array], a: Array, by: Array) -> Array:
    """Shift by any amount. A shift by the width or more leaves no bits or, of a signed type, only the sign."""
    bits = a.dtype.itemsize * 8
    shifted = function(a, np.minimum(by, bits - 1).astype(a.dtype))
    gone = function(shifted, a.dtype.type(1)) if a.dtype.kind == "i" else a.dtype.type(0)
    return np.where(by < bits, shifted, gone)


def divide(a: Array, b: Array) -> tuple[Array, Array]:
    """Return the quotient, rounded towards zero, and the remainder."""
    if (b == 0).any():
        raise Undefined("an integer is divided by zero")
    away = (a < 0) != (b < 0)
    quotient, rest = np.divmod(a, b)
    up = away & (rest != 0)
    return quotient + up.astype(a.dtype), np.where(up, rest - b, rest)


def high(a: Array, b: Array) -> Array:
    """Return the upper 32 bits of the product of two 32-bit integers."""
    product = widen(a) * widen(b)
    return (product >> product.dtype.type(32)).astype(a.dtype)


def widen(a: Array) -> Array:
    return a.astype(f"{a.dtype.kind}{2 * a.dtype.itemsize}")


def bit_field(a: Array, position: Array, length: Array) -> Array:
    """Return `length` bits of a from `position` on, extended by zeros or, if signed, by the highest of these bits."""
    word, position, length = a.view("u4"), position & np.uint32(255), length & np.uint32(255)
    taken = np.clip(32 - position.astype("i8"), 0, length).astype("u4")
    mask = ~shift(np.left_shift, np.array(0xFFFFFFFF, "u4"), taken)
    field = shift(np.right_shift, word, position) & mask
    if a.dtype.kind == "i":
        last = np.minimum(position + length - (length > 0), 31).astype("u4")
        negative = (length > 0) & (word >> last & np.uint32(1) != 0)
        field = np.where(negative, field | ~mask, field)
    return field.view(a.dtype)


def permute(a: Array, b: Array, selection: Array) -> Array:
    """Return four bytes of b:a. Four bits select each; the highest of them asks for the byte's sign instead."""
    both, selection = a.astype("u8") | b.astype("u8") << np.uint64(32), selection.astype("u8")
    result = np.zeros_like(both)
    for i in range(0, 32, 8):
        name = selection >> np.uint64(i // 2)
        byte = both >> (name & np.uint64(7)) * np.uint64(8) & np.uint64(255)
        sign = np.where(byte >= 128, np.uint64(255), np.uint64(0))
        result = result | np.where(name & np.uint64(8), sign, byte) << np.uint64(i)
    return result.astype("u4")
