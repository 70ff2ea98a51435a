// Some terms of the bound for each sample, in closed form, and the gradient of every weight, for perceptrons of any depth
// (see drawn.py). The rows of a pass are up to four draws of some samples: first their noise, then the layers forward,
// then backward.
//
// Limits of the estimator's network for a plane (19 inputs, three layers of 64, 4 outputs): 9,664 multiply-adds a row
// forward and 18,112 backward, so 1,736 cycles of a core that does 16 per cycle. Measured: 0.83 us for a row on a core
// of an EPYC at 2.6 GHz or more, including the activations and the noise.
#include "../native/dense.h"
#include "../native/features.h"
#include "../native/gaussian.h"
#include "../native/noise.h"
#include "../native/scratch.h"
#include "../native/steps.h"
#include "../native/threads.h"

namespace {
namespace drawn {

constexpr int SAMPLES = 32, GROUP = 4, ROWS = GROUP * SAMPLES;

// Layers in sequence, with an activation after each except the last.
struct Network {
  Dense *layers;
  int depth, outputs;
};

struct Bound {
  int64_t count;
  int64_t first;
  const float *x0, *condition;  // [count, dim], [count, conditions]
  int dim, conditions, draws, frequencies;
  const float *frequency;
  Steps steps;
  const float *log_beta;
  Key key;
  uint32_t start;  // of the golden-ratio sequence that gives the steps
  Activation activation;
  int networks;
  Network network[2];  // of the mean and of the std, or one with the outputs of both
  int64_t gradients;   // the size of the gradients of all layers
  int inputs() const { return dim * (1 + 2 * frequencies) + conditions + 1; }  // x, its Fourier features, condition, time
  int64_t step_of(int64_t sample, int draw) const {                            // counted from 0
    const uint32_t index = (uint32_t)(first + sample) * (uint32_t)draws + (uint32_t)draw;
    return (int64_t)((uint64_t)(start + index * GOLDEN) * (uint64_t)steps.count >> 32);
  }
};

// The constants of each row, because each row has its own step.
struct Constants {
  float time[ROWS], scale[ROWS], noise_scale[ROWS], of_data[ROWS], of_state[ROWS], variance[ROWS], skip[ROWS], out[ROWS],
      std_scale[ROWS];
};

struct Tape {
  float *seen, *outputs, *x0, *eps, *std, *twice, *sums, *gradient[2];
  float **h[2], **slope[2];  // for each network: the inputs of each layer, then the outputs, [ROWS, units]
  Constants *constants;
  Counter *counters;
  Tape(Scratch &s, const Bound &p) {
    const int dim = p.dim;
    seen = s.take<float>((size_t)p.inputs() * ROWS);  // [inputs, ROWS]; down to `twice`, rows of ROWS columns
    outputs = s.take<float>((size_t)2 * dim * ROWS);
    x0 = s.take<float>((size_t)dim * ROWS);
    eps = s.take<float>((size_t)dim * ROWS);
    std = s.take<float>((size_t)dim * ROWS);
    twice = s.take<float>(ROWS);
    constants = s.take<Constants>(1);
    counters = s.take<Counter>((size_t)dim * (SAMPLES / LANES));
    float *first = s.take<float>((size_t)padded(p.inputs()) * ROWS);
    size_t widest = 0, largest = 0;
    for (int k = 0; k < p.networks; k++) {
      const Network &network = p.network[k];
      h[k] = s.take<float *>(network.depth + 1);
      slope[k] = s.take<float *>(network.depth + 1);
      for (int i = 0; i <= network.depth; i++) {
        const size_t width = i == 0 ? network.layers[0].in() : network.layers[i - 1].out();
        const bool hidden = i > 0 && i < network.depth;
        float *state = i == 0 ? first : s.take<float>(width * ROWS), *slopes = hidden ? s.take<float>(width * ROWS) : nullptr;
        if (!s.counting) h[k][i] = state, slope[k][i] = slopes;
        if (width > widest) widest = width;
        if (i < network.depth && width * network.layers[i].outputs > largest) largest = width * network.layers[i].outputs;
      }
    }
    sums = s.take<float>(largest);
    for (float *&g : gradient) g = s.take<float>(widest * ROWS);
  }
};

// Sets the constants of every row. Returns twice the sum of what is subtracted from the terms (see drawn.py), without
// their log(2 pi).
double constants(const Bound &p, const Tape &tape, int64_t begins, int group, int draws, int n) {
  Constants &c = *tape.constants;
  const Steps &s = p.steps;
  double known = 0;
  for (int k = 0; k < draws; k++)
    for (int m = 0; m < SAMPLES; m++) {
      const int row = k * SAMPLES + m;
      const int64_t t = p.step_of(begins + m, group * GROUP + k);
      c.time[row] = s.time_at(t + 1);
      c.scale[row] = s.scale[t], c.noise_scale[row] = s.noise_scale[t];
      c.of_data[row] = s.of_data[t], c.of_state[row] = s.of_state[t], c.variance[row] = s.variance[t];
      c.skip[row] = s.skip ? s.skip[t] : 0, c.out[row] = s.skip ? s.out[t] : 1, c.std_scale[row] = s.skip ? s.std_scale[t] : 1;
      if (m < n) known += p.dim * (1 + (double)p.log_beta[t]);
    }
  return known;
}

// Computes x_t of every row, and from it the inputs of the networks.
void inputs(const Bound &p, const Tape &tape, int rows) {
  const int dim = p.dim;
  const Constants &c = *tape.constants;
  for (int d = 0; d < dim; d++) {
    const float *x0 = tape.x0 + d * ROWS, *eps = tape.eps + d * ROWS;
    float *x = tape.seen + d * ROWS;
    columns<Two>(rows, [&](auto vector, int v) {
      typedef decltype(vector) V;
      store(x + v, fma(load<V>(c.scale + v), load<V>(x0 + v), load<V>(c.noise_scale + v) * load<V>(eps + v)));
    });
  }
  fourier(p.frequency, p.frequencies, dim, tape.seen, ROWS, rows);
  memcpy(tape.seen + (p.inputs() - 1) * ROWS, c.time, rows * sizeof(float));
  transpose(tape.seen, ROWS, p.inputs(), rows, tape.h[0][0], padded(p.inputs()));
}

void forward(const Bound &p, const Tape &tape, int k, int rows) {
  const Network &network = p.network[k];
  for (int i = 0; i < network.depth; i++) {
    const Dense &layer = network.layers[i];
    float *z = tape.h[k][i + 1];
    product(tape.h[k][i], layer.in(), 1, layer.across, layer.out(), layer.bias, z, layer.out(), rows, layer.inputs, layer.out());
    if (i + 1 < network.depth) activate_with_slope(p.activation, z, tape.slope[k][i + 1], rows * layer.out());
  }
  const int last = network.layers[network.depth - 1].out();
  transpose(tape.h[k][network.depth], last, rows, network.outputs, tape.outputs + k * p.dim * ROWS, ROWS);
}

// Returns twice the sum of the terms, also without log(2 pi). Replaces the networks' outputs by the gradients with
// respect to them.
double terms(const Bound &p, const Tape &tape, int draws, int n) {
  const int dim = p.dim, rows = draws * SAMPLES;
  const Constants &c = *tape.constants;
  double total = 0;
  memset(tape.twice, 0, rows * sizeof(float));
  for (int d = 0; d < dim; d++) {
    float *f = tape.outputs + d * ROWS, *s = f + dim * ROWS, *std = tape.std + d * ROWS;
    const float *x = tape.seen + d * ROWS, *x0 = tape.x0 + d * ROWS;
    columns<Two>(rows, [&](auto vector, int v) {
      typedef decltype(vector) V;
      const V now = load<V>(x + v), out = load<V>(c.out + v), scale = load<V>(c.std_scale + v);
      const V mean = fma(now, load<V>(c.skip + v), load<V>(f + v) * out);
      const Std<V> unscaled = softplus_and_slope(load<V>(s + v));
      const Std<V> scaled = above_floor(Std<V>{unscaled.value * scale, unscaled.slope * scale});
      const V previous = fma(load<V>(c.of_data + v), load<V>(x0 + v), now * load<V>(c.of_state + v));
      const Term<V> found = term(previous, mean, scaled.value, load<V>(c.variance + v));
      store(f + v, found.mean * out);
      store(s + v, found.std * scaled.slope);
      store(std + v, scaled.value);
      store(tape.twice + v, load<V>(tape.twice + v) + found.twice);
    });
    alignas(64) float logs[SAMPLES];
    for (int m = 0; m < SAMPLES; m += LANES) store(logs + m, sum_of_logs<Float>(std + m, SAMPLES, draws));
    for (int m = 0; m < n; m++) total += 2 * (double)logs[m];
  }
  for (int k = 0; k < draws; k++)
    for (int m = 0; m < n; m++) total += tape.twice[k * SAMPLES + m];
  return total;
}

// Adds the gradients of a network's layers to `total`. The gradient of its outputs is in gradient[0].
void backward(const Bound &p, const Tape &tape, int k, int rows, double *total) {
  const Network &network = p.network[k];
  float *gradient = tape.gradient[0], *next = tape.gradient[1];
  for (int i = network.depth - 1; i >= 0; i--) {
    const Dense &layer = network.layers[i];
    const int in = layer.in(), out = layer.out();
    product(gradient, 1, out, tape.h[k][i], in, nullptr, tape.sums, in, layer.outputs, rows, in);
    double *weights = total + layer.offset, *biases = weights + (int64_t)layer.outputs * in;
    for (int64_t w = 0; w < (int64_t)layer.outputs * in; w++) weights[w] += tape.sums[w];
    for (int j = 0; j < out; j += LANES) {
      Float sum{};
      for (int m = 0; m < rows; m++) sum = sum + load<Float>(gradient + m * out + j);
      alignas(64) float sums[LANES];
      store(sums, sum);
      for (int l = 0; l < LANES; l++) biases[j + l] += sums[l];
    }
    if (i == 0) break;
    product(gradient, out, 1, layer.along, in, nullptr, next, in, rows, layer.outputs, in);
    const float *slope = tape.slope[k][i];
    columns<Two>(rows * in, [=](auto vector, int v) {
      typedef decltype(vector) V;
      store(next + v, load<V>(next + v) * load<V>(slope + v));
    });
    float *const used = gradient;
    gradient = next, next = used;
  }
}

bool block(const Bound &p, int64_t begins, double *total) {
  if (!arrange<Tape>(p)) return false;
  const Tape tape(scratch, p);
  const int n = (int)(p.count - begins < SAMPLES ? p.count - begins : SAMPLES), dim = p.dim;
  begin_block(tape.counters, p.key, p.first + begins, dim, SAMPLES, n);
  for (int row = 0; row < ROWS; row++) {
    const int64_t sample = begins + row % SAMPLES;
    const bool is_there = sample < p.count;
    for (int d = 0; d < dim; d++) {
      tape.x0[d * ROWS + row] = is_there ? p.x0[sample * dim + d] : 0;
      tape.eps[d * ROWS + row] = 0;
    }
    for (int c = 0; c < p.conditions; c++)
      tape.seen[(p.inputs() - 1 - p.conditions + c) * ROWS + row] = is_there ? p.condition[sample * p.conditions + c] : 0;
  }
  for (int group = 0; group * GROUP < p.draws; group++) {
    const int draws = p.draws - group * GROUP < GROUP ? p.draws - group * GROUP : GROUP, rows = draws * SAMPLES;
    double known = constants(p, tape, begins, group, draws, n);
    draw_block(tape.counters, p.key, group, dim, SAMPLES, n, tape.eps);
    inputs(p, tape, rows);
    for (int k = 0; k < p.networks; k++) forward(p, tape, k, rows);
    total[p.gradients] += terms(p, tape, draws, n) - known;
    for (int row = 0; row < rows; row++)
      for (int d = 0; d < 2 * dim && row % SAMPLES >= n; d++) tape.outputs[d * ROWS + row] = 0;  // no sample
    for (int k = 0; k < p.networks; k++) {
      const int outputs = p.network[k].outputs;
      transpose(tape.outputs + k * dim * ROWS, ROWS, outputs, rows, tape.gradient[0], padded(outputs));
      backward(p, tape, k, rows, total);
    }
  }
  return true;
}

// Lays out all layers in `layers`; returns how many floats they need.
int64_t arrange_layers(Bound &p, Dense *layers, const int *widths, const int *depths) {
  int64_t floats = 0;
  for (int k = 0; k < p.networks; k++) {
    const int depth = depths[k] + 1;
    p.network[k] = {layers, depth, p.networks == 1 ? 2 * p.dim : p.dim};
    int inputs = p.inputs();
    for (int i = 0; i < depth; i++, layers++) {
      *layers = {inputs, i + 1 < depth ? *widths++ : p.network[k].outputs, nullptr, nullptr, nullptr, p.gradients};
      inputs = layers->outputs;
      p.gradients += layers->gradients();
      floats += layers->floats();
    }
  }
  return floats;
}

}  // namespace drawn
}  // namespace

// out [P + 1]: the gradient of each weight in the order of `tensors`, then the bound, all of the mean over elements.
// tensors: weight and bias of every layer of the mean, then of the std; or of one network whose last layer is in two
// parts, one for the mean and one for the std.
// widths: the widths of the hidden layers, one network after the other. depths: how many hidden layers each has.
// steps: its scale and noise_scale are sqrt(alpha_bar_t) and sqrt(1 - alpha_bar_t).
// Returns whether there was enough memory.
extern "C" bool drawn_bound(float *out, const float *const *tensors, const int *widths, const int *depths, int networks,
                            int activation, const float *frequency, int frequencies, const float *condition, int conditions,
                            const float *x0, int64_t count, int dim, int draws, const Steps *steps, const float *log_beta,
                            double constant, double terminal, uint64_t seed, uint32_t step, int64_t first, uint32_t start,
                            int threads) {
  drawn::Bound p{count, first, x0, condition, dim, conditions, draws, frequencies, frequency, *steps, log_beta,
                 key_of(seed, step, DRAWS), start, (Activation)activation, networks, {}, 0};
  const int all_layers = depths[0] + 1 + (networks > 1 ? depths[1] + 1 : 0), torchs = all_layers + (networks == 1);
  Dense *layers = (Dense *)malloc(all_layers * sizeof *layers);
  Part *parts = (Part *)malloc(torchs * sizeof *parts);
  const int64_t floats = layers && parts ? drawn::arrange_layers(p, layers, widths, depths) : 0;
  float *packed = floats ? (float *)calloc(floats, sizeof *packed) : nullptr;
  // The blocks are summed in runs, each in order. The runs are few, so that the memory for sums does not grow with N.
  const int64_t size = p.gradients + 1, blocks = (count + drawn::SAMPLES - 1) / drawn::SAMPLES, most = 1 + (1 << 22) / size;
  int64_t runs = blocks < 256 ? blocks : 256;
  if (runs > most) runs = most;
  double *totals = packed ? (double *)calloc(runs * size, sizeof *totals) : nullptr;
  Enough enough;
  if (!totals) enough.fail();
  if (enough) {
    float *at = packed;
    for (int i = 0; i < all_layers; at += layers[i].floats(), i++) {
      layers[i].place(at);
      parts[i] = {layers + i, 0, layers[i].outputs};
    }
    if (networks == 1) {
      parts[torchs - 2].rows = dim;
      parts[torchs - 1] = {parts[torchs - 2].layer, dim, dim};
    }
    for (int i = 0; i < torchs; i++) parts[i].pack(tensors[2 * i], tensors[2 * i + 1]);
    parallel(runs, threads, [=, &p, &enough](int64_t i) {
      for (int64_t b = blocks * i / runs; b < blocks * (i + 1) / runs; b++)
        if (!drawn::block(p, b * drawn::SAMPLES, totals + i * size)) enough.fail();
    });
    const double elements = (double)count * dim, share = (double)steps->count / draws, scale = steps->count + 1.;
    for (int64_t i = 1; i < runs; i++)
      for (int64_t w = 0; w < size; w++) totals[w] += totals[i * size + w];
    const auto gradient = [=](int64_t w) { return (float)(share * totals[w] / elements / scale); };
    for (int i = 0; i < torchs; i++) out = parts[i].unpack(out, gradient);
    double squares = 0;
    for (int64_t i = 0; i < count * dim; i++) squares += (double)x0[i] * x0[i];
    *out = (float)((0.5 * (share * totals[p.gradients] + terminal * squares) / elements + constant) / scale);
  }
  free(totals), free(packed), free(parts), free(layers);
  return enough;
}
