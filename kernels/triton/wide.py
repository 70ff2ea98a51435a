"""A wide network in Triton: one warp evaluates a few samples, and its lanes have the hidden units of each.

Blocks are [samples, DIMS] outside the network and [samples, UNITS] inside, DIMS and UNITS the powers of two that hold D
and H. A network is W1 of x [DIMS, UNITS], W1 of the time [UNITS], b1 [UNITS], W2 [DIMS, UNITS] and b2 [DIMS], zero
beyond D and H.

The products are written as sums over [samples, DIMS, UNITS], where a lane holds all DIMS. tl.dot is for matrices as
large as its tiles. With one or a few columns it pads and shuffles (H = 64, D = 1, one warp, compiled for sm_90: 5800
instead of 735 instructions a step).
"""

import triton
import triton.language as tl

from kernels.triton.elementary import maximum


@triton.jit
def load_network(
    w1_ptr, b1_ptr, w2_ptr, b2_ptr, D: tl.constexpr, H: tl.constexpr, DIMS: tl.constexpr, UNITS: tl.constexpr
):
    d = tl.arange(0, DIMS)
    j = tl.arange(0, UNITS)
    mask = (d < D)[:, None] & (j < H)[None, :]
    # if a lane held neighbouring elements of b1, it would pass them on to other lanes at every step
    apart = tl.max_contiguous(tl.arange(0, UNITS), 1)
    return (
        tl.load(w1_ptr + j[None, :] * (D + 1) + d[:, None], mask=mask, other=0.0),
        tl.load(w1_ptr + j * (D + 1) + D, mask=j < H, other=0.0),
        tl.load(b1_ptr + apart, mask=j < H, other=0.0),
        tl.load(w2_ptr + d[:, None] * H + j[None, :], mask=mask, other=0.0),
        tl.load(b2_ptr + d, mask=d < D, other=0.0),
    )


@triton.jit
def forward(network, x, time):
    """Return outputs [samples, DIMS] and hidden values after the relu [samples, UNITS] for x [samples, DIMS]."""
    w1_x, w1_t, b1, w2, b2 = network
    hidden = maximum(tl.sum(x[:, :, None] * w1_x[None, :, :], 1) + tl.fma(time, w1_t, b1)[None, :], 0.0)
    return tl.sum(hidden[:, None, :] * w2[None, :, :], 2) + b2[None, :], hidden
