"""Functions of the library, found at their first call."""

import ctypes
import functools
from collections.abc import Callable
from typing import Any

from kernels.native.library import library

POINTER, INT, FLAG, DOUBLE = ctypes.c_void_p, ctypes.c_int, ctypes.c_bool, ctypes.c_double
WORD, LONG, SEED = ctypes.c_uint32, ctypes.c_int64, ctypes.c_uint64  # a negative seed is taken modulo 2^64


# arithmetic in a vector's lane, counted in the machine code for AVX2
OPERATIONS_OF_A_NORMAL = 54


def check_memory(enough: bool) -> None:
    """Raise MemoryError unless a function had `enough`."""
    if not enough:
        raise MemoryError("backend 'native' has not enough memory for a network of this size")


def function(name: str, *types: Any, result: Any = None) -> Callable[..., Any]:
    """Return the function `name` of the library, of arguments of these types. A call lets other Python threads run."""

    @functools.cache
    def of(loaded: ctypes.CDLL) -> Any:
        found = getattr(loaded, name)
        found.argtypes, found.restype = types, result
        return found

    return lambda *arguments: of(library.load())(*arguments)
