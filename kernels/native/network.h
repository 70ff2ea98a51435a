// Multilayer perceptrons on several samples at a time. Every sum runs in the order of its index. The bias of an output
// is added last, because a large bias would cost each term some digits.
#pragma once
#include "elementary.h"

enum Activation { RELU, SILU, TANH };
template <class V> INLINE V activate(Activation activation, V z) {
  if (activation == SILU) return z * sigmoid(z, exp_negative_abs(z));
  if (activation == TANH) return tanh(z);
  return larger(V{}, z);
}

// A hidden layer, w1 [H, inputs] and b1 [H], and the linear layer after it, w2 [D, H] and b2 [D], as torch keeps them.
// D is 0 if another hidden layer comes instead. Rows of w1 are `pitch` apart: a first layer has a last column for the
// time.
struct Perceptron {
  const float *w1, *b1, *w2, *b2;
  int inputs, hidden, dim, pitch;
  Activation activation;
};

// The biases of a first layer plus what one time adds to them.
INLINE void bias_at(const Perceptron &p, float time, float *bias) {
  for (int j = 0; j < p.hidden; j++) bias[j] = __builtin_fmaf(time, p.w1[j * p.pitch + p.pitch - 1], p.b1[j]);
}

// The output for one input, one dimension and relu. Unless h is null, the hidden units are stored there, h_row apart.
template <class V> INLINE V output(const Perceptron &p, V x, const float *bias, float *h, int h_row) {
  V sum = V{};
  for (int j = 0; j < p.hidden; j++) {
    V z = larger(V{}, fma(x, all<V>(p.w1[j * p.pitch]), all<V>(bias[j])));
    if (h) store(h + j * h_row, z);
    sum = fma(z, all<V>(p.w2[j]), sum);
  }
  return sum + all<V>(p.b2[0]);
}

// UNITS hidden units from `unit` on: h = activation(w1 x + bias), and what they add to the outputs.
template <int UNITS>
INLINE void units(const Perceptron &p, int unit, const float *x, int x_row, const float *bias, float *h, int h_row,
                  float *out, int out_row, int n) {
  const float *w1 = p.w1 + unit * p.pitch, *w2 = p.w2 + unit, *b1 = bias + unit;
  columns<Two>(n, [=](auto vector, int v) {
    typedef decltype(vector) V;
    V z[UNITS];
#pragma GCC unroll 8
    for (int u = 0; u < UNITS; u++) z[u] = all<V>(b1[u]);
    for (int i = 0; i < p.inputs; i++) {
      const V value = load<V>(x + i * x_row + v);
#pragma GCC unroll 8
      for (int u = 0; u < UNITS; u++) z[u] = fma(value, all<V>(w1[u * p.pitch + i]), z[u]);
    }
#pragma GCC unroll 8
    for (int u = 0; u < UNITS; u++) {
      z[u] = activate(p.activation, z[u]);
      if (h) store(h + (unit + u) * h_row + v, z[u]);
    }
    for (int d = 0; d < p.dim; d++) {
      V sum = unit > 0 ? load<V>(out + d * out_row + v) : V{};
#pragma GCC unroll 8
      for (int u = 0; u < UNITS; u++) sum = fma(z[u], all<V>(w2[d * p.hidden + u]), sum);
      store(out + d * out_row + v, unit + UNITS == p.hidden ? sum + all<V>(p.b2[d]) : sum);
    }
  });
}

// x [inputs, n], bias [H] -> out [D, n], and h [H, n] unless it is null. Rows are x_row, out_row and h_row apart.
static __attribute__((noinline)) void outputs(const Perceptron &p, const float *x, int x_row, const float *bias, float *h,
                                              int h_row, float *out, int out_row, int n) {
  int unit = 0;
  for (; unit + 4 <= p.hidden; unit += 4) units<4>(p, unit, x, x_row, bias, h, h_row, out, out_row, n);
  for (; unit < p.hidden; unit++) units<1>(p, unit, x, x_row, bias, h, h_row, out, out_row, n);
}
