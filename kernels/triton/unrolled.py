"""A small network in Triton, its weights in registers and its units unrolled: a tuple holds a value for each unit.

A network is (W1, b1, W2, b2) with W1[j][d], d = D for the time, and W2[d][j], all scalars. An input is a tuple of D
blocks, one for each dimension.
"""

import triton
import triton.language as tl

from kernels.triton.elementary import maximum


@triton.jit
def load_vector(ptr, SIZE: tl.constexpr):
    values = ()
    for i in tl.static_range(SIZE):
        values = values + (tl.load(ptr + i),)
    return values


@triton.jit
def load_matrix(ptr, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    rows = ()
    for i in tl.static_range(ROWS):
        rows = rows + (load_vector(ptr + i * COLUMNS, COLUMNS),)
    return rows


@triton.jit
def load_network(w1_ptr, b1_ptr, w2_ptr, b2_ptr, D: tl.constexpr, H: tl.constexpr):
    return (
        load_matrix(w1_ptr, H, D + 1),
        load_vector(b1_ptr, H),
        load_matrix(w2_ptr, D, H),
        load_vector(b2_ptr, D),
    )


@triton.jit
def forward(network, x, time, D: tl.constexpr, H: tl.constexpr):
    """Return D outputs and H hidden values before the relu. Every sum is in the order of kernels/native/network.h."""
    w1, b1, w2, b2 = network
    hidden = ()
    for j in tl.static_range(H):
        z = tl.fma(time, w1[j][D], b1[j])
        for d in tl.static_range(D):
            z = tl.fma(x[d], w1[j][d], z)
        hidden = hidden + (z,)
    outputs = ()
    for d in tl.static_range(D):
        out = 0.0
        for j in tl.static_range(H):
            out = tl.fma(maximum(hidden[j], 0.0), w2[d][j], out)
        outputs = outputs + (out + b2[d],)
    return outputs, hidden
