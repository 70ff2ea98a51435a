// Layers of many units, for many samples at once. A row has the units of one sample side by side, so that weights,
// states and gradients are all read along their rows. Zeros fill each row up to a multiple of LANES.
#pragma once
#include "network.h"

INLINE int padded(int units) { return (units + LANES - 1) / LANES * LANES; }

// c [ROWS, n] = `start` (or 0) + a b, for a [ROWS, depth] and b [depth, n]. Every sum runs in the order of its index.
template <int ROWS>
static __attribute__((noinline)) void rows_of_product(const float *a, int64_t a_row, int64_t a_column, const float *b,
                                                      int64_t b_row, const float *start, float *c, int64_t c_row, int depth,
                                                      int n) {
  columns<Two>(n, [=](auto vector, int v) {
    typedef decltype(vector) V;
    V sum[ROWS];
#pragma GCC unroll 4
    for (int r = 0; r < ROWS; r++) sum[r] = start ? load<V>(start + v) : V{};
    for (int k = 0; k < depth; k++) {
      const V right = load<V>(b + k * b_row + v);
#pragma GCC unroll 4
      for (int r = 0; r < ROWS; r++) sum[r] = fma(all<V>(a[r * a_row + k * a_column]), right, sum[r]);
    }
#pragma GCC unroll 4
    for (int r = 0; r < ROWS; r++) store(c + r * c_row + v, sum[r]);
  });
}

// The same product for any number of rows.
static void product(const float *a, int64_t a_row, int64_t a_column, const float *b, int64_t b_row, const float *start, float *c,
                    int64_t c_row, int rows, int depth, int n) {
  int r = 0;
  for (; r + 4 <= rows; r += 4)
    rows_of_product<4>(a + r * a_row, a_row, a_column, b, b_row, start, c + r * c_row, c_row, depth, n);
  for (; r < rows; r++) rows_of_product<1>(a + r * a_row, a_row, a_column, b, b_row, start, c + r * c_row, c_row, depth, n);
}

// [rows, columns] -> [columns, rows], and zeros after the end of each row
static void transpose(const float *from, int from_row, int rows, int columns, float *to, int to_row) {
  for (int c = 0; c < columns; c++) {
    for (int r = 0; r < rows; r++) to[c * to_row + r] = from[r * from_row + c];
    for (int r = rows; r < to_row; r++) to[c * to_row + r] = 0;
  }
}

// A linear layer in the layouts that the products need: across is W^T [inputs, padded outputs], along is W [outputs,
// padded inputs], bias is b [padded outputs].
struct Dense {
  int inputs, outputs;
  float *across, *along, *bias;
  // where its gradient, W [outputs, padded inputs] and b [padded outputs], begins in the gradient of all layers
  int64_t offset;
  int in() const { return padded(inputs); }
  int out() const { return padded(outputs); }
  int64_t gradients() const { return (int64_t)outputs * in() + out(); }
  int64_t floats() const { return (int64_t)inputs * out() + gradients(); }
  void place(float *zeros) { across = zeros, along = across + (int64_t)inputs * out(), bias = along + (int64_t)outputs * in(); }
};

// A layer as torch has it, weight [rows, inputs] and bias [rows]: all or some of the rows of a Dense.
struct Part {
  Dense *layer;
  int first, rows;
  void pack(const float *weight, const float *bias) const {
    for (int r = first; r < first + rows; r++) {
      for (int i = 0; i < layer->inputs; i++) {
        const float w = weight[(int64_t)(r - first) * layer->inputs + i];
        layer->along[(int64_t)r * layer->in() + i] = layer->across[(int64_t)i * layer->out() + r] = w;
      }
      layer->bias[r] = bias[r - first];
    }
  }
  // Writes the gradient of this part to `out` and returns its end. sum(i) is element i of the gradient of all layers.
  template <class F> float *unpack(float *out, F sum) const {
    for (int r = first; r < first + rows; r++)
      for (int i = 0; i < layer->inputs; i++) *out++ = sum(layer->offset + (int64_t)r * layer->in() + i);
    for (int r = first; r < first + rows; r++) *out++ = sum(layer->offset + (int64_t)layer->outputs * layer->in() + r);
    return out;
  }
};

// Replaces z [n] by activation(z), and writes the derivative to `slope`.
static __attribute__((noinline)) void activate_with_slope(Activation activation, float *z, float *slope, int n) {
  columns<Two>(n, [=](auto vector, int v) {
    typedef decltype(vector) V;
    const V x = load<V>(z + v), one = all<V>(1.f);
    V h, d;
    if (activation == SILU) {
      const V s = sigmoid(x, exp_negative_abs(x));
      h = x * s;
      d = fma(s, x - h, s);
    } else if (activation == TANH) {
      h = tanh(x);
      d = fma(h * -1.f, h, one);
    } else {
      h = larger(V{}, x);
      d = if_above(x, V{}, one);
    }
    store(z + v, h);
    store(slope + v, d);
  });
}
