// What both networks' outputs mean, p(x_{t-1} | x_t) = N(mean, std^2), and its term of the bound (see
// kernels/vectorized/gaussian.py for the equations).
#pragma once
#include "elementary.h"

template <class V> struct Std { V value, slope; };  // max(softplus(s), STD_FLOOR), and its derivative
template <class V> INLINE V std_of(V s) {
  return larger(all<V>(STD_FLOOR), larger(V{}, s) + log1p_unit(exp_negative_abs(s)));
}
template <class V> INLINE Std<V> std_and_slope(V s) {
  V exp = exp_negative_abs(s), softplus = larger(V{}, s) + log1p_unit(exp);
  V sigmoid = if_negative(as_int(s), exp, all<V>(1.f)) / (exp + 1.f);
  return {larger(all<V>(STD_FLOOR), softplus), if_above(softplus, all<V>(STD_FLOOR), sigmoid)};
}

template <class V> struct Term { V twice, mean, std; };  // z^2 of -log p, and the gradients with respect to mean and std
template <class V> INLINE Term<V> term(V previous, V mean, V std) {
  V inverse = all<V>(1.f) / std, z = (mean - previous) * inverse;
  return {z * z, z * inverse, fma(z * -1.f, z, all<V>(1.f)) * inverse};
}

// The sum of log std over `steps` rows. One logarithm for all: mantissas are multiplied and exponents added, because
// a product of the numbers themselves would overflow without a word. An infinite std gives NaN.
template <class V> INLINE V sum_of_logs(const float *std, int stride, int steps) {
  V product = all<V>(1.f), infinite = V{};
  auto exponent = set(as_int(V{}), -127 * steps);
  for (int i = 0; i < steps; i++) {
    V value = load<V>(std + i * stride);
    product = product * as_float((as_int(value) & 0x7FFFFF) | 0x3F800000);
    exponent = exponent + (as_int(value) >> 23);
    infinite = fma(value, V{}, infinite);
  }
  return log_scaled(product, exponent) + infinite;
}
