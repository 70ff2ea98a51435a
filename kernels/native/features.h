// Fourier features: sines and cosines of each coordinate at some frequencies.
#pragma once
#include "elementary.h"

constexpr float FAR = 0x1p20f;  // beyond it sin_and_cos loses digits, and soon all of them

// The angle minus whole turns. A turn is the sum of two doubles, so that digits are kept up to 2^53 turns.
INLINE float within_a_turn(float angle) {
  constexpr double TURN = 0x1.921fb54442d18p+2, REST = 0x1.1a62633145c07p-52;
  const double turns = __builtin_rint(angle / TURN);
  const double left = __builtin_fma(-turns, REST, __builtin_fma(-turns, TURN, (double)angle));
  return (float)(left < -TURN ? -TURN : left > TURN ? TURN : left);
}

// Writes sin(w x) for each frequency w, then cos(w x), to the rows after the `dim` rows of x. Rows are `pitch` apart.
static __attribute__((noinline)) void fourier(const float *frequency, int frequencies, int dim, float *x, int64_t pitch, int n) {
  for (int d = 0; d < dim; d++) {
    float largest = 0;
    for (int m = 0; m < n; m++) {
      const float size = __builtin_fabsf(x[d * pitch + m]);
      if (size > largest) largest = size;
    }
    for (int i = 0; i < frequencies; i++) {
      float *sin = x + ((int64_t)(1 + i) * dim + d) * pitch, *cos = sin + (int64_t)frequencies * dim * pitch;
      columns<Two>(n, [=](auto vector, int v) {
        store(sin + v, load<decltype(vector)>(x + d * pitch + v) * frequency[i]);
      });
      if (largest * __builtin_fabsf(frequency[i]) > FAR)
        for (int m = 0; m < n; m++) sin[m] = within_a_turn(sin[m]);
      columns<Two>(n, [=](auto vector, int v) {
        const auto found = sin_and_cos(load<decltype(vector)>(sin + v));
        store(sin + v, found.sin);
        store(cos + v, found.cos);
      });
    }
  }
}
