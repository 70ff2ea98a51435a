// The reverse process, a block of samples at a time: noise, both networks, x_{t-1} = mean + std eps.
//
// Limits at D = 1, H = 4 for a (sample, step): 25 instructions on AVX2 (counted by valgrind), for which the ports of
// Zen 3 need 7.1 cycles (llvm-mca). Measured: 2.0 ns on a core of an EPYC at 2.6 GHz or more.
#include "../native/features.h"
#include "../native/gaussian.h"
#include "../native/network.h"
#include "../native/noise.h"
#include "../native/scratch.h"
#include "../native/steps.h"
#include "../native/threads.h"

namespace {

constexpr int SAMPLES = 128, STEPS_DRAWN = 4;

struct Network {
  const Perceptron *layers;
  int depth;
};

struct Reverse {
  int64_t count;
  int64_t first;
  bool history;
  Key terminal, reverse;
  int dim, networks, frequencies;
  const float *frequency;  // of Fourier features
  const float *condition;  // [count, conditions]
  int conditions;
  Network network[2];      // of the mean and of the std, or one with the outputs of both
  Steps steps;
  float *out;
  int inputs() const { return dim * (1 + 2 * frequencies) + conditions; }  // x, its Fourier features, the condition
  bool in_registers() const {  // whether a step of both networks can stay in registers
    return dim == 1 && networks == 2 && frequencies + conditions == 0 && network[0].depth == 1 && network[1].depth == 1 &&
           network[0].layers[0].activation == RELU;
  }
};

struct State {
  float *x, *eps, *hidden[2], *bias[2], *output[2];
  Counter *counters;
  State(Scratch &s, const Reverse &p) {
    int widest = 0;
    for (int k = 0; k < p.networks; k++)
      for (int i = 0; i + 1 < p.network[k].depth; i++)
        if (p.network[k].layers[i].hidden > widest) widest = p.network[k].layers[i].hidden;
    x = s.take<float>(p.inputs() * SAMPLES);
    eps = s.take<float>(p.dim * STEPS_DRAWN * SAMPLES);
    float *outputs = s.take<float>(2 * p.dim * SAMPLES);
    for (int k = 0; k < 2; k++) {
      hidden[k] = s.take<float>(widest * SAMPLES);
      if (k < p.networks) bias[k] = s.take<float>(p.network[k].layers[0].hidden);
      output[k] = outputs + k * p.dim * SAMPLES;
    }
    counters = s.take<Counter>(p.dim * (SAMPLES / LANES));  // last: their odd size would shift rows within a page
  }
};

// Returns x_{t-1} from x_t and the networks' outputs f and s. t is counted from 0.
template <class V> INLINE V next_x(const Steps &steps, int64_t t, V x, V f, V s, V eps) {
  if (!steps.skip) return fma(std_of(s), eps, f);
  const V mean = fma(x, all<V>(steps.skip[t]), f * steps.out[t]);
  return fma(std_of(s, steps.std_scale[t]), eps, mean);
}

// Applies next_x to one dimension of a block.
__attribute__((noinline)) void step(const Steps &steps, int64_t t, const float *f, const float *s, const float *eps, float *x,
                                    int n) {
  columns<Four>(n, [=, &steps](auto vector, int v) {
    typedef decltype(vector) V;
    store(x + v, next_x(steps, t, load<V>(x + v), load<V>(f + v), load<V>(s + v), load<V>(eps + v)));
  });
}

// Computes both networks and next_x for D = 1, all in registers.
__attribute__((noinline)) void step_of_one(const Reverse &p, int64_t t, float *const bias[2], const float *eps, float *x,
                                           int n) {
  const Perceptron &mean = p.network[0].layers[0], &std = p.network[1].layers[0];
  columns<Four>(n, [&](auto vector, int v) {
    typedef decltype(vector) V;
    const V now = load<V>(x + v), f = output(mean, now, bias[0], nullptr, 0), s = output(std, now, bias[1], nullptr, 0);
    store(x + v, next_x(p.steps, t, now, f, s, load<V>(eps + v)));
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
  if (!arrange<State>(p)) return false;
  const State r(scratch, p);
  const int dim = p.dim;
  const bool in_registers = p.in_registers();
  const int64_t first = p.first + begins;
  float *out = p.out + begins * dim;
  for (int c = 0; c < p.conditions; c++)
    for (int m = 0; m < SAMPLES; m++)
      r.x[(p.inputs() - p.conditions + c) * SAMPLES + m] = m < n ? p.condition[(begins + m) * p.conditions + c] : 0;
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
  for (int64_t t = p.steps.count; t >= 1; t--) {
    const int drawn = (int)((t - 1) % STEPS_DRAWN);
    if (t == p.steps.count || drawn == STEPS_DRAWN - 1)
      draw_block(r.counters, p.reverse, (t - 1) / STEPS_DRAWN, dim, SAMPLES, n, r.eps);
    fourier(p.frequency, p.frequencies, dim, r.x, SAMPLES, n);
    for (int k = 0; k < p.networks; k++) {
      bias_at(p.network[k].layers[0], p.steps.time_at(t), r.bias[k]);
      if (!in_registers) outputs_of(p.network[k], r, k, n);
    }
    if (in_registers) {
      step_of_one(p, t - 1, r.bias, r.eps + drawn * SAMPLES, r.x, n);
    } else {
      for (int d = 0; d < dim; d++)
        step(p.steps, t - 1, r.output[0] + d * SAMPLES, r.output[1] + d * SAMPLES,
             r.eps + (d * STEPS_DRAWN + drawn) * SAMPLES, r.x + d * SAMPLES, n);
    }
    if (p.history) write_state();
  }
  if (!p.history) write_state();
  return true;
}

}  // namespace

// out: [count, dim], or with `history` [T + 1, count, dim].
// tensors: weight and bias of every layer of the mean, then of the std; or of one network with the outputs of both.
// widths: the widths of the hidden layers, one network after the other. depths: how many hidden layers each has.
// Returns whether there was enough memory.
extern "C" bool reverse_process(float *out, const float *const *tensors, const int *widths, const int *depths, int networks,
                                int activation, const float *frequency, int frequencies,
                                const float *condition, int conditions, int dim, int64_t count, const Steps *steps, bool history, uint64_t seed, int64_t first, int threads) {
  if (count == 0) return true;
  Perceptron *layers = (Perceptron *)malloc((depths[0] + (networks > 1 ? depths[1] : 0)) * sizeof *layers), *next = layers;
  if (!layers) return false;
  Reverse p{count, first, history, key_of(seed, 0, TERMINAL), key_of(seed, 0, REVERSE), dim, networks, frequencies,
            frequency, condition, conditions, {}, *steps, out};
  for (int k = 0; k < networks; k++) {
    p.network[k] = {next, depths[k]};
    int inputs = p.inputs();
    for (int i = 0; i < depths[k]; i++, tensors += 2, widths++) {
      const bool last = i + 1 == depths[k];
      *next++ = {tensors[0], tensors[1], last ? tensors[2] : nullptr, last ? tensors[3] : nullptr,
                 inputs, *widths, last ? 2 * dim / networks : 0, i == 0 ? inputs + 1 : inputs, (Activation)activation};
      inputs = *widths;
    }
    tensors += 2;
  }
  // a few samples are divided among all threads; no sample depends on how
  const int64_t share = 1 + (count - 1) / threads, even = (share + LANES - 1) / LANES * LANES;
  const int64_t each = even < SAMPLES ? even : SAMPLES;
  Enough enough;
  parallel((count + each - 1) / each, threads, [=, &enough](int64_t i) {
    if (!block(p, i * each, (int)(count - i * each < each ? count - i * each : each))) enough.fail();
  });
  free(layers);
  return enough;
}
