"""The bound of a small network: a lane holds one sample at a time, both networks and all of its sums in registers.

With GROUPS = 1 a program has 32 samples and walks through time. With GROUPS = 32 it has one sample, and its lanes are
32 groups of four steps. Each lane makes its noise. An associative scan over the maps x -> factor x + added of the
groups gives the x where every group starts. Then all lanes go through their four steps at once.

For a unit j with z_j = W1[j] [x, t] + b1_j and g = d loss / d output, a_j = [z_j > 0] sum_d g_d W2[d, j]:

    d W1[j] = sum a_j [x, t],   d b1_j = sum a_j,   d W2[d, j] = sum g_d relu(z_j),   d b2_d = sum g_d

With one dimension, W2 is kept out of a_j until the end, and d W2 needs no sum of its own: relu is homogeneous, so that
sum g relu(z_j) = w sum a_j x + v sum a_j t + b sum a_j with (w, v) = W1[j], b = b1_j.

Limits at D = 1, H = 4, compiled for sm_90 (80 registers, no spills): 764 instructions in the loop over a group of four
steps (799 with the scan), 191 for a (sample, step); 135 of the 764 are the noise. An H100 issues 132 * 4 warp
instructions per cycle, that is 88 (sample, step) pairs. Memory traffic is next to nothing: x0 is read once, and each
program writes 2 P + 1 sums.
"""

import triton
import triton.language as tl

from kernels.triton.elementary import log, maximum
from kernels.triton.gaussian import load_tables, term
from kernels.triton.launch import UNSPECIALIZED
from kernels.triton.noise import normals, step_word
from kernels.triton.unrolled import forward, load_network


@triton.jit
def then(factor, added, next_factor, next_added):
    """Return the map that does x -> factor x + added and then x -> next_factor x + next_added."""
    return factor * next_factor, tl.fma(added, next_factor, next_added)


@triton.jit
def starts(x, drive, factor, lane, BLOCK_N: tl.constexpr, GROUPS: tl.constexpr):
    """Return x before each group [BLOCK_N, GROUPS] and after the last [BLOCK_N, 1]. A group: x -> factor x + drive."""
    factors, drives = tl.associative_scan((factor.broadcast_to(BLOCK_N, GROUPS), drive), 1, then)
    after = tl.fma(factors, x, drives)
    before = tl.gather(after, tl.maximum(lane - 1, 0).broadcast_to(BLOCK_N, GROUPS), 1)
    end = tl.sum(tl.where(lane == GROUPS - 1, after, 0.0), 1, keep_dims=True)
    return tl.where(lane == 0, x, before), end


@triton.jit
def zeros(SIZE: tl.constexpr, BLOCK_N: tl.constexpr, GROUPS: tl.constexpr):
    values = ()
    for _ in tl.static_range(SIZE):
        values = values + (tl.zeros((BLOCK_N, GROUPS), tl.float32),)
    return values


@triton.jit
def no_sums(D: tl.constexpr, H: tl.constexpr, BLOCK_N: tl.constexpr, GROUPS: tl.constexpr):
    """Return zeros for the D sums of g and, for each unit, for those of a, a t, a x and, if D > 1, g relu(z)."""
    units = ()
    for _ in tl.static_range(H):
        zero = tl.zeros((BLOCK_N, GROUPS), tl.float32)
        products = zeros(D if D > 1 else 0, BLOCK_N, GROUPS)
        units = units + ((zero, zero, zeros(D, BLOCK_N, GROUPS), products),)
    return zeros(D, BLOCK_N, GROUPS), units


@triton.jit
def add_products(sums, p, q, SIZE: tl.constexpr):
    new = ()
    for d in tl.static_range(SIZE):
        new = new + (tl.fma(p[d], q, sums[d]),)
    return new


@triton.jit
def backward(sums, network, g, x, time, hidden, D: tl.constexpr, H: tl.constexpr):
    """Add one step to the sums."""
    w2 = network[2]
    g_sums, unit_sums = sums
    units = ()
    for j in tl.static_range(H):
        a_sum, at_sum, ax_sums, gh_sums = unit_sums[j]
        a = g[0]
        if D > 1:
            a = g[0] * w2[0][j]
            for d in tl.static_range(1, D):
                a = tl.fma(g[d], w2[d][j], a)
            gh_sums = add_products(gh_sums, g, maximum(hidden[j], 0.0), D)
        a = tl.where(hidden[j] > 0, a, 0.0)
        units = units + ((a_sum + a, tl.fma(a, time, at_sum), add_products(ax_sums, x, a, D), gh_sums),)
    new = ()
    for d in tl.static_range(D):
        new = new + (g_sums[d] + g[d],)
    return new, units


@triton.jit
def store_gradients(w1_ptr, stride, sums, network, D: tl.constexpr, H: tl.constexpr):
    """Store d W1, d b1, d W2 and d b2 of a program's sums, flat in this order, `stride` apart."""
    w1, b1, w2, _ = network
    b1_ptr = w1_ptr + H * (D + 1) * stride
    w2_ptr = b1_ptr + H * stride
    b2_ptr = w2_ptr + D * H * stride
    g_sums, units = sums
    for d in tl.static_range(D):
        tl.store(b2_ptr + d * stride, tl.sum(g_sums[d]))
    for j in tl.static_range(H):
        a_sum, at_sum, ax_sums, gh_sums = units[j]
        a = tl.sum(a_sum)
        a_t = tl.sum(at_sum)
        if D == 1:
            a_x = tl.sum(ax_sums[0])
            tl.store(w2_ptr + j * stride, w1[j][0] * a_x + w1[j][1] * a_t + b1[j] * a)
            tl.store(w1_ptr + 2 * j * stride, a_x * w2[0][j])
            a *= w2[0][j]
            a_t *= w2[0][j]
        else:
            for d in tl.static_range(D):
                tl.store(w1_ptr + (j * (D + 1) + d) * stride, tl.sum(ax_sums[d]))
                tl.store(w2_ptr + (d * H + j) * stride, tl.sum(gh_sums[d]))
        tl.store(w1_ptr + (j * (D + 1) + D) * stride, a_t)
        tl.store(b1_ptr + j * stride, a)


@triton.jit(do_not_specialize=UNSPECIALIZED)
def unrolled_kernel(
    x0_ptr, partial_ptr, scale_ptr, noise_scale_ptr, factor_ptr, time_ptr, skip_ptr, out_table_ptr, std_scale_ptr,
    mean_w1_ptr, mean_b1_ptr, mean_w2_ptr, mean_b2_ptr, std_w1_ptr, std_b1_ptr, std_w2_ptr, std_b2_ptr,
    count, before, steps, first_low, first_high, step, seed_low, seed_high,
    D: tl.constexpr, H: tl.constexpr, BLOCK_N: tl.constexpr, GROUPS: tl.constexpr,
):  # fmt: skip
    """Write a column of partial [P + 1, programs]: sums over samples and steps. `before` samples are before a carry."""
    TABLES: tl.constexpr = skip_ptr is not None
    mean_network = load_network(mean_w1_ptr, mean_b1_ptr, mean_w2_ptr, mean_b2_ptr, D, H)
    std_network = load_network(std_w1_ptr, std_b1_ptr, std_w2_ptr, std_b2_ptr, D, H)
    mean_sums = no_sums(D, H, BLOCK_N, GROUPS)
    std_sums = no_sums(D, H, BLOCK_N, GROUPS)
    loss = tl.zeros((BLOCK_N, GROUPS), tl.float32)
    lane = tl.arange(0, GROUPS)[None, :]
    step = step_word(step)

    # A carry into the upper bits of the index occurs at most once. The programs of a row of the grid stay on one side
    # of it: if each lane had its own upper bits, it would need 87 registers instead of 80, which costs one warp in six.
    side = tl.program_id(1)
    begin = side * before
    count = tl.where(side == 0, before, count)

    for block in range(tl.program_id(0), tl.cdiv(count - begin, BLOCK_N), tl.num_programs(0)):
        n = begin + block * BLOCK_N + tl.arange(0, BLOCK_N)[:, None]
        sample = (tl.cast(first_low + n, tl.uint32), tl.cast(first_high + side, tl.uint32) << 16)
        x = ()
        for d in tl.static_range(D):
            x = x + (tl.load(x0_ptr + n.to(tl.int64) * D + d, mask=n < count, other=0.0),)

        for tile in range(0, tl.cdiv(steps, 4 * GROUPS)):
            group = tile * GROUPS + lane
            eps = ()
            for d in tl.static_range(D):
                eps = eps + (normals(sample, group, step, d, seed_low, seed_high),)
            state = x
            if GROUPS > 1:
                state = ()
                ends = ()
                for d in tl.static_range(D):
                    drive = tl.load(noise_scale_ptr + 4 * group) * eps[d][0]
                    for i in tl.static_range(1, 4):
                        noise = tl.load(noise_scale_ptr + 4 * group + i) * eps[d][i]
                        drive = tl.fma(drive, tl.load(scale_ptr + 4 * group + i), noise)
                    start, end = starts(x[d], drive, tl.load(factor_ptr + group), lane, BLOCK_N, GROUPS)
                    state = state + (start,)
                    ends = ends + (end,)
                x = ends

            stds = ()
            for i in tl.static_range(4):
                t = 4 * group + i  # counted from 0
                time = tl.load(time_ptr + t)
                mask = (n < count) & (t < steps)
                previous = state
                state = ()
                for d in tl.static_range(D):
                    noise = tl.load(noise_scale_ptr + t) * eps[d][i]
                    state = state + (tl.fma(previous[d], tl.load(scale_ptr + t), noise),)
                tables = load_tables(skip_ptr, out_table_ptr, std_scale_ptr, t, TABLES)
                f, mean_hidden = forward(mean_network, state, time, D, H)
                s, std_hidden = forward(std_network, state, time, D, H)
                mean_g = ()
                std_g = ()
                for d in tl.static_range(D):
                    std, value, g_mean, g_s = term(previous[d], eps[d][i], state[d], f[d], s[d], tables, TABLES)
                    loss += tl.where(mask, value, 0.0)
                    stds = stds + (tl.where(mask, std, 1.0),)
                    mean_g = mean_g + (tl.where(mask, g_mean, 0.0),)
                    std_g = std_g + (tl.where(mask, g_s, 0.0),)
                mean_sums = backward(mean_sums, mean_network, mean_g, state, time, mean_hidden, D, H)
                std_sums = backward(std_sums, std_network, std_g, state, time, std_hidden, D, H)
            # one logarithm gives the log std of two steps; with four steps, a std of 1e10 would overflow
            for i in tl.static_range(2 * D):
                loss += log(stds[i] * stds[i + 2 * D])
            if GROUPS == 1:
                x = state

        for d in tl.static_range(D):  # -log N(x_T; 0, 1)
            loss += tl.where((n < count) & (lane == GROUPS - 1), 0.5 * x[d] * x[d], 0.0)

    programs = tl.num_programs(0) * tl.num_programs(1)
    partial_ptr += side * tl.num_programs(0) + tl.program_id(0)
    P: tl.constexpr = H * (2 * D + 2) + D
    store_gradients(partial_ptr, programs, mean_sums, mean_network, D, H)
    store_gradients(partial_ptr + P * programs, programs, std_sums, std_network, D, H)
    tl.store(partial_ptr + 2 * P * programs, tl.sum(loss))
