// The reverse process, a block of samples at a time: noise, both networks, x_{t-1} = mean + std eps.
//
// Limits at D = 1, H = 4 for a (sample, step): 25 instructions on AVX2 (counted by valgrind), and 7.1 cycles until Zen 3 has
// a port for each (llvm-mca); it takes 2.0 ns on a core of an EPYC of 2.6 GHz or more.
#include "../native/gaussian.h"
#include "../native/network.h"
#include "../native/noise.h"
#include "../native/scratch.h"
#include "../native/threads.h"

namespace {

constexpr int SAMPLES = 128, STEPS_DRAWN = 4;

struct Network {
  const Perceptron *layers;
  int depth;
};

struct Reverse {
  int64_t count, steps;
  uint32_t first;
  bool history;
  Key terminal, reverse;
  Network network[2];  // of the mean, of the std
  float *out;
};

struct State {
  float *x, *eps, *hidden[2], *bias[2], *output[2];
  Counter *counters;
  State(Scratch &s, const Network network[2]) {
    const int dim = network[0].layers[network[0].depth - 1].dim;
    int widest = 0;
    for (int k = 0; k < 2; k++)
      for (int i = 0; i + 1 < network[k].depth; i++)
        if (network[k].layers[i].hidden > widest) widest = network[k].layers[i].hidden;
    x = s.take<float>(dim * SAMPLES);
    eps = s.take<float>(dim * STEPS_DRAWN * SAMPLES);
    counters = s.take<Counter>(dim * (SAMPLES / LANES));
    for (int k = 0; k < 2; k++) {
      hidden[k] = s.take<float>(widest * SAMPLES);
      bias[k] = s.take<float>(network[k].layers[0].hidden);
      output[k] = s.take<float>(dim * SAMPLES);
    }
  }
};

// x_{t-1} from x_t, for one dimension.
__attribute__((noinline)) void step(const float *mean, const float *s, const float *eps, float *x, int n) {
  columns<Four>(n, [=](auto vector, int v) {
    typedef decltype(vector) V;
    store(x + v, fma(std_of(load<V>(s + v)), load<V>(eps + v), load<V>(mean + v)));
  });
}

// The same with both networks, each of one hidden layer: where there is one dimension only, all stays in registers.
__attribute__((noinline)) void step_of_one(const Network network[2], float *const bias[2], const float *eps, float *x,
                                           int n) {
  const Perceptron &mean = network[0].layers[0], &std = network[1].layers[0];
  columns<Four>(n, [&](auto vector, int v) {
    typedef decltype(vector) V;
    const V now = load<V>(x + v), center = output(mean, now, bias[0], nullptr, 0), s = output(std, now, bias[1], nullptr, 0);
    store(x + v, fma(std_of(s), load<V>(eps + v), center));
  });
}

void outputs_of(const Network &network, const State &r, int k, int n) {
  const float *x = r.x, *bias = r.bias[k];
  for (int i = 0; i < network.depth; i++) {
    const bool last = i + 1 == network.depth;
    float *hidden = last ? nullptr : r.hidden[i % 2];
    outputs(network.layers[i], x, SAMPLES, bias, hidden, SAMPLES, last ? r.output[k] : nullptr, SAMPLES, n);
    if (!last) x = hidden, bias = network.layers[i + 1].b1;
  }
}

bool block(const Reverse &p, int64_t begins, int n) {
  if (!arrange<State>(p.network)) return false;
  const State r(scratch, p.network);
  const int dim = p.network[0].layers[p.network[0].depth - 1].dim;
  const bool in_registers = dim == 1 && p.network[0].depth == 1 && p.network[1].depth == 1;
  const uint32_t first = p.first + (uint32_t)begins;
  float *out = p.out + begins * dim;
  const auto write_state = [&] {
    for (int m = 0; m < n; m++)
      for (int d = 0; d < dim; d++) out[m * dim + d] = r.x[d * SAMPLES + m];
    out += p.count * dim;
  };
  begin_block(r.counters, p.terminal, first, dim, SAMPLES, n);
  draw_block(r.counters, p.terminal, 0, dim, SAMPLES, n, r.eps);
  for (int d = 0; d < dim; d++) memcpy(r.x + d * SAMPLES, r.eps + d * STEPS_DRAWN * SAMPLES, SAMPLES * sizeof(float));
  if (p.history) write_state();
  begin_block(r.counters, p.reverse, first, dim, SAMPLES, n);
  for (int64_t t = p.steps; t >= 1; t--) {
    const int drawn = (int)((t - 1) % STEPS_DRAWN);
    if (t == p.steps || drawn == STEPS_DRAWN - 1)
      draw_block(r.counters, p.reverse, (t - 1) / STEPS_DRAWN, dim, SAMPLES, n, r.eps);
    for (int k = 0; k < 2; k++) {
      bias_at(p.network[k].layers[0], time_of(t, p.steps), r.bias[k]);
      if (!in_registers) outputs_of(p.network[k], r, k, n);
    }
    if (in_registers) {
      step_of_one(p.network, r.bias, r.eps + drawn * SAMPLES, r.x, n);
    } else {
      for (int d = 0; d < dim; d++)
        step(r.output[0] + d * SAMPLES, r.output[1] + d * SAMPLES, r.eps + (d * STEPS_DRAWN + drawn) * SAMPLES,
             r.x + d * SAMPLES, n);
    }
    if (p.history) write_state();
  }
  if (!p.history) write_state();
  return true;
}

}  // namespace

// out [count, dim], or with `history` [steps + 1, count, dim]; tensors: weight and bias of every layer of the mean, then of
// the std; widths: of their hidden layers, `depths` of them for each.
// Returns whether there was enough memory.
extern "C" bool reverse_process(float *out, const float *const *tensors, const int *widths, int mean_depth, int std_depth,
                                int dim, int64_t count, int64_t steps, bool history, uint64_t seed, uint32_t first,
                                int threads) {
  if (count == 0) return true;
  const int depths[2] = {mean_depth, std_depth};
  Perceptron *layers = (Perceptron *)malloc((mean_depth + std_depth) * sizeof *layers), *next = layers;
  if (!layers) return false;
  Reverse p{count, steps, first, history, key_of(seed, 0, TERMINAL), key_of(seed, 0, REVERSE), {}, out};
  for (int k = 0; k < 2; k++) {
    p.network[k] = {next, depths[k]};
    int inputs = dim;
    for (int i = 0; i < depths[k]; i++, tensors += 2, widths++) {
      const bool last = i + 1 == depths[k];
      *next++ = {tensors[0], tensors[1], last ? tensors[2] : nullptr, last ? tensors[3] : nullptr,
                 inputs, *widths, last ? dim : 0, i == 0 ? inputs + 1 : inputs};
      inputs = *widths;
    }
    tensors += 2;
  }
  // a few samples are shared out among all threads: how, no sample depends on
  const int64_t share = 1 + (count - 1) / threads, even = (share + LANES - 1) / LANES * LANES;
  const int64_t each = even < SAMPLES ? even : SAMPLES;
  Enough enough;
  parallel((count + each - 1) / each, threads, [=, &enough](int64_t i) {
    if (!block(p, i * each, (int)(count - i * each < each ? count - i * each : each))) enough.fail();
  });
  free(layers);
  return enough;
}
