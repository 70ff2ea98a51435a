"""The reverse process in one launch: a program takes some samples through all T steps and writes x_0, or every state.

Step t needs all of step t + 1. So with few samples most of the device is idle, and latency decides. The kernel for
small networks therefore makes the noise of the next four steps while it computes the current four.

Two kernels share the work (see kernels.triton.sizes). Both compute a sample the same way wherever it is. The kernel for
small networks does what `native` does, operation by operation, and gives the same bits.

Limits at D = 1, H = 4, compiled for sm_90 (59 registers, no spills): 390 instructions in the loop over a group of four
steps, 98 for a (sample, step); 34 of the 98 are the noise. An H100 issues 132 * 4 warp instructions per cycle, that is
173 (sample, step) pairs. Memory traffic is the result alone.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from kernels import constants
from kernels.networks import MLPPair
from kernels.place import Place
from kernels.triton import launch, schedules, sizes, unrolled, wide
from kernels.triton.gaussian import load_tables, mean, std
from kernels.triton.launch import OPTIONS, UNSPECIALIZED
from kernels.triton.noise import normals, pick, sample_words

REVERSE, TERMINAL = (tl.constexpr(which << constants.STREAM_SHIFT) for which in (constants.REVERSE, constants.TERMINAL))


@triton.jit
def draw(sample, group, stream: tl.constexpr, seed_low, seed_high, D: tl.constexpr):
    """Return four normals for each of D dimensions."""
    dimensions = ()
    for d in tl.static_range(D):
        dimensions = dimensions + (normals(sample, group, 0, stream + d, seed_low, seed_high),)
    return dimensions


@triton.jit
def store(out_ptr, n, x, mask, D: tl.constexpr):
    """Store a tuple of D blocks in rows n of out [count, D]."""
    for d in tl.static_range(D):
        tl.store(out_ptr + n.to(tl.int64) * D + d, x[d], mask=mask)


@triton.jit
def step_back(
    mean_network, std_network, x, time, tables, eps, i, D: tl.constexpr, H: tl.constexpr, TABLES: tl.constexpr
):
    """Return x_{t-1} from x_t, with normal i of the four."""
    f, hidden = unrolled.forward(mean_network, x, time, D, H)
    s, hidden = unrolled.forward(std_network, x, time, D, H)
    new = ()
    for d in tl.static_range(D):
        new = new + (tl.fma(std(s[d], tables, TABLES), pick(eps[d], i), mean(x[d], f[d], tables, TABLES)),)
    return new


@triton.jit(do_not_specialize=UNSPECIALIZED)
def unrolled_kernel(
    out_ptr, time_ptr, skip_ptr, out_table_ptr, std_scale_ptr,
    mean_w1_ptr, mean_b1_ptr, mean_w2_ptr, mean_b2_ptr, std_w1_ptr, std_b1_ptr, std_w2_ptr, std_b2_ptr,
    count, steps, first_low, first_high, seed_low, seed_high,
    D: tl.constexpr, H: tl.constexpr, BLOCK_N: tl.constexpr, HISTORY: tl.constexpr,
):  # fmt: skip
    """Write out [count, D], or with HISTORY [T+1, count, D]."""
    TABLES: tl.constexpr = skip_ptr is not None
    mean_network = unrolled.load_network(mean_w1_ptr, mean_b1_ptr, mean_w2_ptr, mean_b2_ptr, D, H)
    std_network = unrolled.load_network(std_w1_ptr, std_b1_ptr, std_w2_ptr, std_b2_ptr, D, H)
    n = tl.program_id(0) * BLOCK_N + tl.arange(0, BLOCK_N)
    sample = sample_words(first_low, first_high, n)
    terminal = draw(sample, 0, TERMINAL, seed_low, seed_high, D)
    x = ()
    for d in tl.static_range(D):
        x = x + (terminal[d][0],)
    if HISTORY:
        store(out_ptr, n, x, n < count, D)
    # t is counted from 0. The last group comes first. It may have fewer than four steps.
    last = tl.cdiv(steps, 4) - 1
    eps = draw(sample, last, REVERSE, seed_low, seed_high, D)
    for t in range(steps - 1, 4 * last - 1, -1):
        tables = load_tables(skip_ptr, out_table_ptr, std_scale_ptr, t, TABLES)
        x = step_back(mean_network, std_network, x, tl.load(time_ptr + t), tables, eps, t % 4, D, H, TABLES)
        if HISTORY:
            store(out_ptr + (steps - t).to(tl.int64) * count * D, n, x, n < count, D)
    eps = draw(sample, last - 1, REVERSE, seed_low, seed_high, D)
    for group in range(last - 1, -1, -1):
        ahead = draw(sample, group - 1, REVERSE, seed_low, seed_high, D)
        for i in tl.static_range(3, -1, -1):
            t = 4 * group + i
            tables = load_tables(skip_ptr, out_table_ptr, std_scale_ptr, t, TABLES)
            x = step_back(mean_network, std_network, x, tl.load(time_ptr + t), tables, eps, i, D, H, TABLES)
            if HISTORY:
                store(out_ptr + (steps - t).to(tl.int64) * count * D, n, x, n < count, D)
        eps = ahead
    if not HISTORY:
        store(out_ptr, n, x, n < count, D)


@triton.jit(do_not_specialize=UNSPECIALIZED)
def wide_kernel(
    out_ptr, time_ptr, skip_ptr, out_table_ptr, std_scale_ptr,
    mean_w1_ptr, mean_b1_ptr, mean_w2_ptr, mean_b2_ptr, std_w1_ptr, std_b1_ptr, std_w2_ptr, std_b2_ptr,
    count, steps, first_low, first_high, seed_low, seed_high,
    D: tl.constexpr, H: tl.constexpr, BLOCK_N: tl.constexpr, DIMS: tl.constexpr, UNITS: tl.constexpr,
    HISTORY: tl.constexpr,
):  # fmt: skip
    """Write the same as unrolled_kernel."""
    TABLES: tl.constexpr = skip_ptr is not None
    mean_network = wide.load_network(mean_w1_ptr, mean_b1_ptr, mean_w2_ptr, mean_b2_ptr, D, H, DIMS, UNITS)
    std_network = wide.load_network(std_w1_ptr, std_b1_ptr, std_w2_ptr, std_b2_ptr, D, H, DIMS, UNITS)
    n = tl.program_id(0) * BLOCK_N + tl.arange(0, BLOCK_N)[:, None]
    sample = sample_words(first_low, first_high, n)
    d = tl.arange(0, DIMS)[None, :]
    sample_mask = (n < count) & (d < D)
    at = n.to(tl.int64) * D + d
    terminal = normals(sample, 0, 0, d + TERMINAL, seed_low, seed_high)
    x = terminal[0]
    if HISTORY:
        tl.store(out_ptr + at, x, mask=sample_mask)
    groups = tl.cdiv(steps, 4)
    for k in range(groups):
        group = groups - 1 - k
        four = normals(sample, group, 0, d + REVERSE, seed_low, seed_high)
        for i in range(4):
            t = 4 * group + 3 - i  # counted from 0
            time = tl.load(time_ptr + t)
            tables = load_tables(skip_ptr, out_table_ptr, std_scale_ptr, t, TABLES)
            f, hidden = wide.forward(mean_network, x, time)
            s, hidden = wide.forward(std_network, x, time)
            x = tl.where(t < steps, tl.fma(std(s, tables, TABLES), pick(four, 3 - i), mean(x, f, tables, TABLES)), x)
            if HISTORY:
                row_ptr = out_ptr + (steps - t).to(tl.int64) * count * D
                tl.store(row_ptr + at, x, mask=sample_mask & (t < steps))
    if not HISTORY:
        tl.store(out_ptr + at, x, mask=sample_mask)


def reverse_process(pair: MLPPair, steps: int, count: int, place: Place, history: bool) -> Tensor:
    """Return x_0 [count, D], or with `history` x_T ... x_0 [T+1, count, D].

    Raises:
        ValueError: there are more elements than the kernels can count.
    """
    device, dim, (hidden,) = pair.device, pair.dim, pair.hidden[0]
    sizes.check_elements(count * dim)
    out = torch.empty(steps + 1 if history else 1, count, dim, dtype=torch.float32, device=device)
    if sizes.is_unrolled(dim, hidden, pair.tables is not None):
        kernel, blocks = unrolled_kernel, {"D": dim, "H": hidden, "BLOCK_N": sizes.LANES}
    else:
        kernel, blocks = wide_kernel, sizes.wide_sizes(dim, hidden)
    if count > 0:
        with launch.on(device):
            kernel[(triton.cdiv(count, blocks["BLOCK_N"]),)](
                out, *schedules.tables(steps, pair.tables, device), *pair.values, count, steps, **launch.words(place),
                **blocks, HISTORY=history, **OPTIONS,
            )  # fmt: skip
    return out if history else out[0]
