"""The bound of a wider network. A program has a few samples, and the lanes of its warp have the hidden units of each.

A segment of time can start anywhere: the program replays the noise of the steps before it. A replayed step costs a few
per cent of a computed one. So even few samples fill the device.

With a = [h > 0] W2^T g, [samples, UNITS], and g = d loss / d output, [samples, DIMS]:

    d W1 = sum a^T [x, t],   d b1 = sum a,   d W2 = sum g^T h,   d b2 = sum g

Limits, compiled for sm_90 without spills: instructions of a warp for a (sample, step), and those that the multiply-adds
alone need:

    D     H    registers    instructions    multiply-adds
    1    64       127             92              28
    4    64       173            297              76
    8    16       225            197              35
    8    64       254            588             140

The rest are sums over lanes, ten instructions each, and additions within a lane: tl.sum uses no multiply-adds. An H100
issues 132 * 4 warp instructions per cycle.
"""

import triton
import triton.language as tl

from kernels.triton.elementary import log
from kernels.triton.gaussian import load_tables, term
from kernels.triton.launch import UNSPECIALIZED
from kernels.triton.noise import normals, pick, sample_words, step_word
from kernels.triton.wide import forward, load_network


@triton.jit
def no_sums(BLOCK_N: tl.constexpr, DIMS: tl.constexpr, UNITS: tl.constexpr):
    """Return zeros for the sums of W1 for x, W1 for the time, b1, W2, and b2, the last not yet summed over samples."""
    matrix = tl.zeros((DIMS, UNITS), tl.float32)
    vector = tl.zeros((UNITS,), tl.float32)
    return matrix, vector, vector, matrix, tl.zeros((BLOCK_N, DIMS), tl.float32)


@triton.jit
def backward(sums, network, g, x, time, hidden):
    """Add one step to the sums."""
    w2 = network[3]
    d_w1_x, d_w1_t, d_b1, d_w2, d_b2 = sums
    a = tl.where(hidden > 0, tl.sum(g[:, :, None] * w2[None, :, :], 1), 0.0)
    of_a = tl.sum(a, 0)
    return (
        d_w1_x + tl.sum(a[:, None, :] * x[:, :, None], 0),
        tl.fma(of_a, time, d_w1_t),
        d_b1 + of_a,
        d_w2 + tl.sum(hidden[:, None, :] * g[:, :, None], 0),
        d_b2 + g,
    )


@triton.jit
def store_gradients(w1_ptr, stride, sums, D: tl.constexpr, H: tl.constexpr, DIMS: tl.constexpr, UNITS: tl.constexpr):
    """Store d W1, d b1, d W2 and d b2 of a program, flat in this order, `stride` apart."""
    d = tl.arange(0, DIMS)
    j = tl.arange(0, UNITS)
    mask = (d < D)[:, None] & (j < H)[None, :]
    d_w1_x, d_w1_t, d_b1, d_w2, d_b2 = sums
    b1_ptr = w1_ptr + H * (D + 1) * stride
    w2_ptr = b1_ptr + H * stride
    b2_ptr = w2_ptr + D * H * stride
    tl.store(w1_ptr + (j[None, :] * (D + 1) + d[:, None]) * stride, d_w1_x, mask=mask)
    tl.store(w1_ptr + (j * (D + 1) + D) * stride, d_w1_t, mask=j < H)
    tl.store(b1_ptr + j * stride, d_b1, mask=j < H)
    tl.store(w2_ptr + (d[:, None] * H + j[None, :]) * stride, d_w2, mask=mask)
    tl.store(b2_ptr + d * stride, tl.sum(d_b2, 0), mask=d < D)


@triton.jit(do_not_specialize=UNSPECIALIZED)
def wide_kernel(
    x0_ptr, partial_ptr, scale_ptr, noise_scale_ptr, time_ptr, skip_ptr, out_table_ptr, std_scale_ptr,
    mean_w1_ptr, mean_b1_ptr, mean_w2_ptr, mean_b2_ptr, std_w1_ptr, std_b1_ptr, std_w2_ptr, std_b2_ptr,
    count, steps, segment, first_low, first_high, step, seed_low, seed_high,
    D: tl.constexpr, H: tl.constexpr, BLOCK_N: tl.constexpr, DIMS: tl.constexpr, UNITS: tl.constexpr,
):  # fmt: skip
    """Write a column of partial [P + 1, programs]: sums over samples and over `segment` groups of four steps."""
    TABLES: tl.constexpr = skip_ptr is not None
    mean_network = load_network(mean_w1_ptr, mean_b1_ptr, mean_w2_ptr, mean_b2_ptr, D, H, DIMS, UNITS)
    std_network = load_network(std_w1_ptr, std_b1_ptr, std_w2_ptr, std_b2_ptr, D, H, DIMS, UNITS)
    mean_sums = no_sums(BLOCK_N, DIMS, UNITS)
    std_sums = no_sums(BLOCK_N, DIMS, UNITS)
    loss = tl.zeros((BLOCK_N, DIMS), tl.float32)
    d = tl.arange(0, DIMS)[None, :]
    step = step_word(step)
    start = tl.program_id(1) * segment
    end = tl.minimum(start + segment, tl.cdiv(steps, 4))

    for block in range(tl.program_id(0), tl.cdiv(count, BLOCK_N), tl.num_programs(0)):
        n = block * BLOCK_N + tl.arange(0, BLOCK_N)[:, None]
        sample = sample_words(first_low, first_high, n)
        sample_mask = (n < count) & (d < D)
        x = tl.load(x0_ptr + n.to(tl.int64) * D + d, mask=sample_mask, other=0.0)
        for group in range(0, end):
            four = normals(sample, group, step, d, seed_low, seed_high)
            for i in range(4):
                t = 4 * group + i  # counted from 0
                eps = pick(four, i)
                previous = x
                x = tl.fma(x, tl.load(scale_ptr + t), tl.load(noise_scale_ptr + t) * eps)
                if group >= start:
                    time = tl.load(time_ptr + t)
                    mask = sample_mask & (t < steps)
                    tables = load_tables(skip_ptr, out_table_ptr, std_scale_ptr, t, TABLES)
                    f, mean_hidden = forward(mean_network, x, time)
                    s, std_hidden = forward(std_network, x, time)
                    std, value, g_mean, g_s = term(previous, eps, x, f, s, tables, TABLES)
                    loss += tl.where(mask, value + log(std), 0.0)
                    g_mean = tl.where(mask, g_mean, 0.0)
                    g_s = tl.where(mask, g_s, 0.0)
                    mean_sums = backward(mean_sums, mean_network, g_mean, x, time, mean_hidden)
                    std_sums = backward(std_sums, std_network, g_s, x, time, std_hidden)
        if 4 * end >= steps:
            loss += tl.where(sample_mask, 0.5 * x * x, 0.0)  # -log N(x_T; 0, 1)

    programs = tl.num_programs(0) * tl.num_programs(1)
    partial_ptr += tl.program_id(0) * tl.num_programs(1) + tl.program_id(1)
    P: tl.constexpr = H * (2 * D + 2) + D
    store_gradients(partial_ptr, programs, mean_sums, D, H, DIMS, UNITS)
    store_gradients(partial_ptr + P * programs, programs, std_sums, D, H, DIMS, UNITS)
    tl.store(partial_ptr + 2 * P * programs, tl.sum(loss))
