"""Functions of the C++ library, looked up at their first call."""

import ctypes
import functools
from collections.abc import Callable
from typing import Any

from kernels.native.library import library

POINTER, INT, FLAG, DOUBLE = ctypes.c_void_p, ctypes.c_int, ctypes.c_bool, ctypes.c_double
WORD, LONG, SEED = ctypes.c_uint32, ctypes.c_int64, ctypes.c_uint64  # a negative seed is taken modulo 2^64


# arithmetic operations for one lane of a vector, counted in the machine code for AVX2
OPERATIONS_OF_A_NORMAL = 54


def check_memory(enough: bool) -> None:
    """Raise MemoryError unless `enough`: whether a function of the library had enough memory."""
    if not enough:
        raise MemoryError("backend 'native' does not have enough memory for a network of this size")


def function(name: str, *types: Any, result: Any = None) -> Callable[..., Any]:
    """Return the library's function `name` with arguments of these types. Other Python threads run during a call."""

    @functools.cache
    def of(loaded: ctypes.CDLL) -> Any:
        found = getattr(loaded, name)
        found.argtypes, found.restype = types, result
        return found

    return lambda *arguments: of(library.load())(*arguments)
