"""Triton kernels with one fault each, for test_emulation."""

import triton
import triton.language as tl


@triton.jit
def copy(x_ptr, out_ptr, size, BLOCK: tl.constexpr):
    """Copy x, without a fault."""
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out_ptr + at, tl.load(x_ptr + at, mask=at < size), mask=at < size)


@triton.jit
def without_a_mask(x_ptr, out_ptr, size, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out_ptr + at, tl.load(x_ptr + at), mask=at < size)


@triton.jit
def one_too_far(x_ptr, out_ptr, size, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out_ptr + at + 1, tl.load(x_ptr + at, mask=at < size), mask=at < size)


@triton.jit
def programs_that_overlap(x_ptr, out_ptr, size, BLOCK: tl.constexpr):
    at = tl.program_id(0) * (BLOCK - 1) + tl.arange(0, BLOCK)
    tl.store(out_ptr + at, tl.load(x_ptr + at, mask=at < size), mask=at < size)


@triton.jit
def reads_what_its_neighbour_writes(x_ptr, out_ptr, size, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + at, mask=at < size) + tl.load(out_ptr + (at + BLOCK) % size, mask=at < size)
    tl.store(out_ptr + at, x, mask=at < size)


@triton.jit
def reads_without_a_barrier(x_ptr, out_ptr, size, BLOCK: tl.constexpr):
    """Let each lane read a word that another lane has written, without a barrier."""
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out_ptr + at, tl.load(x_ptr + at, mask=at < size), mask=at < size)
    tl.store(out_ptr + at, tl.load(out_ptr + (at ^ 1), mask=at < size), mask=at < size)
