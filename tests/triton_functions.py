"""Kernels that call single Triton functions of the project, for tests only."""

import triton
import triton.language as tl

from kernels.triton.elementary import sqrt
from kernels.triton.noise import philox


@triton.jit
def words_kernel(numbers_ptr, words_ptr, SIZE: tl.constexpr):
    """Compute words [4, SIZE] from numbers [6, SIZE], four words of a counter and two of a key; both int64."""
    at = tl.arange(0, SIZE)
    c0 = tl.load(numbers_ptr + at).to(tl.uint32)
    c1 = tl.load(numbers_ptr + SIZE + at).to(tl.uint32)
    c2 = tl.load(numbers_ptr + 2 * SIZE + at).to(tl.uint32)
    c3 = tl.load(numbers_ptr + 3 * SIZE + at).to(tl.uint32)
    k0 = tl.load(numbers_ptr + 4 * SIZE + at).to(tl.uint32)
    k1 = tl.load(numbers_ptr + 5 * SIZE + at).to(tl.uint32)
    words = philox(c0, c1, c2, c3, k0, k1)
    for i in tl.static_range(4):
        tl.store(words_ptr + i * SIZE + at, words[i].to(tl.int64))


@triton.jit
def sqrt_kernel(x_ptr, BLOCK: tl.constexpr):
    """Compute the square root of x in place."""
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(x_ptr + at, sqrt(tl.load(x_ptr + at)))
