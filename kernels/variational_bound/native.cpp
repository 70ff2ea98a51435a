// The variational bound and every gradient in one pass, a block of samples at a time (see kernels/variational_bound).
//
// Four steps of a block are computed forward. Each number that the gradients need is kept on a tape: a row for each x,
// hidden unit and output, a column for each (step, sample). Then every gradient is a product of two rows:
//
//   d W2 = g h^T,   d b2 = g 1^T,   a = [h > 0] W2^T g,   d W1 = a [x, t]^T,   d b1 = a 1^T
//
// With one dimension, D = 1, everything that a sample needs at a step stays in registers. W2 is left out of the sums,
// because it is a factor of a. Where a is not 0, h = W1 [x, t] + b1, so that the sums of a x, a t and a also give d W2.
//
// Limits at D = 1, H = 4 for a (sample, step): 49 instructions on AVX2 (counted by valgrind), for which the ports of
// Zen 3 need 10 cycles (llvm-mca). Measured: 3.5 ns on a core of an EPYC at 2.6 GHz or more. Passes over the tape wait
// for one another, and the code around their loops is counted in the instructions but not in the cycles.
#include "native.h"

#include "../native/gaussian.h"
#include "../native/network.h"
#include "../native/noise.h"
#include "../native/products.h"
#include "../native/scratch.h"
#include "../native/threads.h"

namespace {

constexpr int BLOCK = 64, STEPS = 4, COLUMNS = STEPS * BLOCK;
constexpr int FLOAT_STEPS = 256;  // gradients of so many steps are summed in float32, then added in float64

struct Bound {
  int64_t count;
  int64_t first;
  const float *x0;
  Steps steps;
  Key key;
  Perceptron network[2];  // of the mean, of the std
  int dim, hidden;
  double terminal;
  int weights() const { return hidden * (2 * dim + 2) + dim; }  // of one network
};

struct Tape {
  float *x0, *x, *terms, *total, *lost, *eps, *features, *std;
  float *h[2], *g[2], *bias[2], *output[2], *first_layer[2], *last_layer[2];
  size_t sums_bytes;  // of both layers, one after the other
  Counter *counters;
  Tape(Scratch &s, const Bound &p) {
    const int dim = p.dim, hidden = p.hidden;
    x0 = s.take<float>(dim * BLOCK);
    x = s.take<float>(dim * BLOCK);
    terms = s.take<float>(BLOCK);  // of four steps; total: of all steps; lost: what total has lost to rounding
    total = s.take<float>(BLOCK);
    lost = s.take<float>(BLOCK);
    eps = s.take<float>(dim * COLUMNS);
    features = s.take<float>((dim + 2) * COLUMNS);  // x, t / (T + 1) and 1
    std = s.take<float>(dim * COLUMNS);
    const int first = hidden * (dim + 2) * LANES, last = (hidden + 1) * dim * LANES;
    sums_bytes = (first + last) * sizeof(float);
    for (int k = 0; k < 2; k++) {
      h[k] = s.take<float>((hidden + 1) * COLUMNS);  // and a row of ones
      g[k] = s.take<float>(dim * COLUMNS);           // gradients with respect to the outputs
      bias[k] = s.take<float>(hidden);
      output[k] = s.take<float>(dim * BLOCK);
      first_layer[k] = s.take<float>(first + last);  // a [x, t, 1]^T, then [h, 1] g^T
      last_layer[k] = first_layer[k] + first;
    }
    counters = s.take<Counter>(dim * (BLOCK / LANES));  // last: their odd size would shift rows within a page
  }
};

// One dimension of a step: rows of columns for the samples of a block.
struct Row {
  const float *x0, *before, *eps;
  float *now, *g_mean, *g_std, *std, *terms;
};

// The term at x_t, t counted from 0, and its gradients with respect to the networks' outputs f and s. GENERAL: with
// tables by step or in closed form. The tutorial's bound has neither, and without them it needs fewer registers.
template <bool GENERAL, class V> INLINE void gaussian(const Steps &steps, int64_t t, const Row &r, int v, V x, V f, V s) {
  const bool tables = GENERAL && steps.skip, closed_form = GENERAL && steps.of_data;
  V mean = f;
  auto std = softplus_and_slope(s);
  if (tables) {
    mean = fma(x, all<V>(steps.skip[t]), f * steps.out[t]);
    std = {std.value * steps.std_scale[t], std.slope * steps.std_scale[t]};
  }
  std = above_floor(std);
  Term<V> found;
  V counted;
  if (closed_form) {
    const V previous = fma(load<V>(r.x0 + v), all<V>(steps.of_data[t]), x * steps.of_state[t]);
    found = term(previous, mean, std.value, all<V>(steps.variance[t]));
    counted = found.twice - (t == 0 ? 0.f : 1.f);
  } else {
    const V eps = load<V>(r.eps + v);
    found = term(load<V>(r.before + v), mean, std.value);
    counted = fma(eps * -1.f, eps, found.twice);
  }
  store(r.g_mean + v, tables ? found.mean * steps.out[t] : found.mean);
  store(r.g_std + v, found.std * std.slope);
  store(r.std + v, std.value);
  store(r.terms + v, load<V>(r.terms + v) + counted);
}

template <bool GENERAL>
__attribute__((noinline)) void gaussians(const Steps &steps, int64_t t, const Row &r, const float *f, const float *s, int n) {
  columns<Four>(n, [&](auto vector, int v) {
    typedef decltype(vector) V;
    gaussian<GENERAL>(steps, t, r, v, load<V>(r.now + v), load<V>(f + v), load<V>(s + v));
  });
}

template <class V> INLINE V next_x(V before, V eps, float scale, float noise_scale) {
  return fma(before, all<V>(scale), eps * noise_scale);
}

template <bool GENERAL>
__attribute__((noinline)) void step_of_one(const Bound &p, const Tape &tape, const Row &r, int64_t t, int column, int n) {
  columns<Four>(n, [&](auto vector, int v) {
    typedef decltype(vector) V;
    const V x = next_x(load<V>(r.before + v), load<V>(r.eps + v), p.steps.scale[t], p.steps.noise_scale[t]);
    store(r.now + v, x);
    const V mean = output(p.network[0], x, tape.bias[0], tape.h[0] + column + v, COLUMNS);
    const V s = output(p.network[1], x, tape.bias[1], tape.h[1] + column + v, COLUMNS);
    gaussian<GENERAL>(p.steps, t, r, v, x, mean, s);
  });
}

// Steps t + 1 ... t + steps of a block, forward.
void walk(const Bound &p, const Tape &tape, int64_t t, int steps, const float time[STEPS], int n) {
  const bool general = p.steps.skip || p.steps.of_data;
  draw_block(tape.counters, p.key, t / STEPS, p.dim, BLOCK, n, tape.eps);
  for (int i = 0; i < steps; i++) {
    const int column = i * BLOCK;
    float *now = tape.features + column;
    const auto row = [&](int d) {
      const int at = d * COLUMNS + column;
      const float *before = i == 0 ? tape.x + d * BLOCK : tape.features + at - BLOCK;
      return Row{tape.x0 + d * BLOCK, before, tape.eps + at, now + d * COLUMNS, tape.g[0] + at, tape.g[1] + at, tape.std + at, tape.terms};
    };
    for (int k = 0; k < 2; k++) bias_at(p.network[k], time[i], tape.bias[k]);
    if (p.dim == 1) {
      (general ? step_of_one<true> : step_of_one<false>)(p, tape, row(0), t + i, column, n);
      continue;
    }
    for (int d = 0; d < p.dim; d++) {
      const Row r = row(d);
      columns<Two>(n, [&](auto vector, int v) {
        typedef decltype(vector) V;
        const V before = load<V>(r.before + v), eps = load<V>(r.eps + v);
        store(now + d * COLUMNS + v, next_x(before, eps, p.steps.scale[t + i], p.steps.noise_scale[t + i]));
      });
    }
    columns<Two>(n, [&](auto vector, int v) { store(now + p.dim * COLUMNS + v, all<decltype(vector)>(time[i])); });
    for (int k = 0; k < 2; k++)
      outputs(p.network[k], now, COLUMNS, tape.bias[k], tape.h[k] + column, COLUMNS, tape.output[k], BLOCK, n);
    for (int d = 0; d < p.dim; d++) (general ? gaussians<true> : gaussians<false>)(p.steps, t + i, row(d), tape.output[0] + d * BLOCK, tape.output[1] + d * BLOCK, n);
  }
  columns<Two>(n, [&](auto vector, int v) {
    typedef decltype(vector) V;
    V terms = load<V>(tape.terms + v);
    for (int d = 0; d < p.dim; d++) {
      store(tape.x + d * BLOCK + v, load<V>(tape.features + d * COLUMNS + (steps - 1) * BLOCK + v));
      terms = fma(sum_of_logs<V>(tape.std + d * COLUMNS + v, BLOCK, steps), all<V>(2.f), terms);
    }
    // Kahan summation: log std is nearly the same at every step, and so would be the rounding errors
    const V total = load<V>(tape.total + v), added = terms - load<V>(tape.lost + v), sum = total + added;
    store(tape.lost + v, (sum - total) - added);
    store(tape.total + v, sum);
    store(tape.terms + v, V{});
  });
}

// Adds to the sums of UNITS units, for D = 1: of a x, a t and a [UNITS, 3, LANES], and of g [LANES].
template <int UNITS>
__attribute__((noinline)) void unit_sums(const Grid &grid, const float *h, const float *g, const float *x, const float *time,
                                         float *sums, float *g_sums) {
  for (int lane = 0; lane < LANES; lane += NATIVE) {
    float_v g_sum = load<float_v>(g_sums + lane), ax[UNITS];
#pragma GCC unroll 4
    for (int u = 0; u < UNITS; u++) get(sums + 3 * u * LANES + lane, ax[u]);
    for (int step = 0; step < grid.steps; step++) {
      float_v a[UNITS] = {};  // of one step: the time is a factor of this sum
      for (int m = step * BLOCK + lane; m < step * BLOCK + grid.samples; m += LANES) {
        const float_v gm = load<float_v>(g + m), xm = load<float_v>(x + m);
        g_sum += gm;
#pragma GCC unroll 4
        for (int u = 0; u < UNITS; u++) {
          const float_v masked = if_above(load<float_v>(h + u * COLUMNS + m), float_v{}, gm);
          a[u] += masked;
          ax[u] = fma(masked, xm, ax[u]);
        }
      }
#pragma GCC unroll 4
      for (int u = 0; u < UNITS; u++) {
        float *at = sums + (3 * u + 1) * LANES + lane;
        store(at, fma(a[u], all<float_v>(time[step]), load<float_v>(at)));
        store(at + LANES, load<float_v>(at + LANES) + a[u]);
      }
    }
#pragma GCC unroll 4
    for (int u = 0; u < UNITS; u++) store(sums + 3 * u * LANES + lane, ax[u]);
    store(g_sums + lane, g_sum);
  }
}

// Replaces h by [h > 0] W2^T g.
void through_relu(const Bound &p, const Tape &tape, int k, int steps, int n) {
  for (int j = 0; j < p.hidden; j++)
    for (int i = 0; i < steps; i++) {
      float *h = tape.h[k] + j * COLUMNS + i * BLOCK;
      const float *g = tape.g[k] + i * BLOCK, *w2 = p.network[k].w2 + j;
      columns<Two>(n, [&](auto vector, int v) {
        typedef decltype(vector) V;
        V a = load<V>(g + v) * w2[0];
        for (int d = 1; d < p.dim; d++) a = fma(load<V>(g + d * COLUMNS + v), all<V>(w2[d * p.hidden]), a);
        store(h + v, if_above(load<V>(h + v), V{}, a));
      });
    }
}

// Adds the gradients of the steps on the tape to the sums.
void gradients(const Bound &p, const Tape &tape, int steps, const float time[STEPS], int n) {
  const Grid grid{COLUMNS, BLOCK, steps, n};
  for (int k = 0; k < 2; k++) {
    float *h = tape.h[k], *first = tape.first_layer[k], *last = tape.last_layer[k];
    for (int i = 0; i < steps; i++)
      for (int m = n; m % LANES != 0; m++) {  // lanes without a sample
        const int column = i * BLOCK + m;
        for (int d = 0; d < p.dim; d++) tape.g[k][d * COLUMNS + column] = tape.features[d * COLUMNS + column] = 0;
        for (int j = 0; j < p.hidden; j++) h[j * COLUMNS + column] = 0;
      }
    if (p.dim > 1) {
      add_products(grid, h, p.hidden + 1, tape.g[k], p.dim, last);
      through_relu(p, tape, k, steps, n);
      add_products(grid, h, p.hidden, tape.features, p.dim + 2, first);
      continue;
    }
    alignas(64) float again[LANES];
    for (int j = 0; j < p.hidden;) {
      const bool four = p.hidden - j >= 4;
      const auto units = four ? unit_sums<4> : unit_sums<1>;
      float *g_sums = j == 0 ? last + p.hidden * LANES : again;
      units(grid, h + j * COLUMNS, tape.g[k], tape.features, time, first + 3 * j * LANES, g_sums);
      j += four ? 4 : 1;
    }
  }
}

// A unit that was never active has sum 0 and adds 0, even if its weight is infinite.
double times(double sum, double weight) { return sum == 0 ? 0 : sum * weight; }

// Adds the sums to `total`, the gradients of W1 [H, D + 1], b1, W2 [D, H] and b2 of the mean, then of the std.
void add_sums(const Bound &p, const Tape &tape, double *total) {
  const int dim = p.dim, hidden = p.hidden;
  for (int k = 0; k < 2; k++, total += p.weights()) {
    const Perceptron &network = p.network[k];
    double *w1 = total, *b1 = w1 + hidden * (dim + 1), *w2 = b1 + hidden, *b2 = w2 + dim * hidden;
    for (int j = 0; j < hidden; j++) {
      const float *first = tape.first_layer[k] + j * (dim + 2) * LANES, *w = network.w1 + j * (dim + 1);
      const double factor = dim == 1 ? network.w2[j] : 1, bias = over_lanes(first + (dim + 1) * LANES);
      double from_moments = times(bias, network.b1[j]);
      for (int i = 0; i <= dim; i++) {
        const double sum = over_lanes(first + i * LANES);
        w1[j * (dim + 1) + i] += factor * sum;
        from_moments += times(sum, w[i]);
      }
      b1[j] += factor * bias;
      for (int d = 0; d < dim; d++)
        w2[d * hidden + j] += dim == 1 ? from_moments : over_lanes(tape.last_layer[k] + (j * dim + d) * LANES);
    }
    for (int d = 0; d < dim; d++) b2[d] += over_lanes(tape.last_layer[k] + (hidden * dim + d) * LANES);
    memset(tape.first_layer[k], 0, tape.sums_bytes);
  }
}

// Computes one block of samples. Adds its gradients to `total`, and after them twice its terms without their constants.
bool block(const Bound &p, int64_t begins, double *total) {
  if (!arrange<Tape>(p)) return false;
  const Tape tape(scratch, p);
  const int n = (int)(p.count - begins < BLOCK ? p.count - begins : BLOCK), dim = p.dim;
  begin_block(tape.counters, p.key, p.first + begins, dim, BLOCK, n);
  for (int d = 0; d < dim; d++)
    for (int m = 0; m < BLOCK; m++) tape.x[d * BLOCK + m] = tape.x0[d * BLOCK + m] = m < n ? p.x0[(begins + m) * dim + d] : 0;
  for (int m = 0; m < BLOCK; m++) tape.terms[m] = tape.total[m] = tape.lost[m] = 0;
  for (int k = 0; k < 2; k++) {
    memset(tape.first_layer[k], 0, tape.sums_bytes);
    for (int m = 0; m < COLUMNS; m++) tape.h[k][p.hidden * COLUMNS + m] = tape.features[(dim + 1) * COLUMNS + m] = 1;
  }
  for (int64_t t = 0; t < p.steps.count; t += STEPS) {
    const int steps = (int)(p.steps.count - t < STEPS ? p.steps.count - t : STEPS);
    float time[STEPS] = {};
    for (int i = 0; i < steps; i++) time[i] = p.steps.time_at(t + i + 1);
    walk(p, tape, t, steps, time, n);
    gradients(p, tape, steps, time, n);
    if ((t + STEPS) % FLOAT_STEPS == 0 || t + STEPS >= p.steps.count) add_sums(p, tape, total);
  }
  for (int m = 0; m < n; m++) {
    double terms = (double)tape.total[m] - tape.lost[m];
    // the square of x_T, or in closed form the part of its expectation that depends on x_0
    const float *end = p.steps.of_data ? tape.x0 : tape.x;
    for (int d = 0; d < dim; d++) terms += p.terminal * end[d * BLOCK + m] * end[d * BLOCK + m];
    total[2 * p.weights()] += terms;
  }
  return true;
}

}  // namespace

extern "C" bool variational_bound(float *out, const float *const *weights, int dim, int hidden, const float *x0,
                                  int64_t count, const Steps *steps, double constant, double terminal, uint64_t seed,
                                  uint32_t step, int64_t first, int threads) {
  Bound p{count, first, x0, *steps, key_of(seed, step, FORWARD), {}, dim, hidden, terminal};
  for (int k = 0; k < 2; k++, weights += 4)
    p.network[k] = {weights[0], weights[1], weights[2], weights[3], dim, hidden, dim, dim + 1, RELU};
  // The blocks are summed in runs, each in order. The runs are few, so that the memory for sums does not grow with N.
  const int64_t size = 2 * p.weights() + 1, blocks = (count + BLOCK - 1) / BLOCK, most = 1 + (1 << 22) / size;
  int64_t runs = blocks < 256 ? blocks : 256;
  if (runs > most) runs = most;
  double *totals = (double *)calloc(runs * size, sizeof *totals);
  if (!totals) return false;
  Enough enough;
  parallel(runs, threads, [=, &enough](int64_t i) {
    for (int64_t b = blocks * i / runs; b < blocks * (i + 1) / runs; b++)
      if (!block(p, b * BLOCK, totals + i * size)) enough.fail();
  });
  const double elements = (double)count * dim;
  for (int64_t w = 0; w < size; w++) {
    double sum = 0;
    for (int64_t i = 0; i < runs; i++) sum += totals[i * size + w];
    out[w] = (float)((w + 1 < size ? sum / elements : sum / 2 / elements + constant) / (double)(steps->count + 1));
  }
  free(totals);
  return enough;
}
