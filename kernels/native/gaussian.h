// p(x_{t-1} | x_t) = N(mean, std^2) from the outputs of both networks, and its term of the bound. The equations are in
// kernels/vectorized/gaussian.py.
#pragma once
#include "elementary.h"

template <class V> struct Std { V value, slope; };  // std, and its derivative with respect to s
template <class V> INLINE V softplus(V s) { return larger(V{}, s) + log1p_unit(exp_negative_abs(s)); }
template <class V> INLINE V std_of(V s) { return larger(all<V>(STD_FLOOR), softplus(s)); }
template <class V> INLINE V std_of(V s, float scale) { return larger(all<V>(STD_FLOOR), softplus(s) * scale); }
template <class V> INLINE Std<V> softplus_and_slope(V s) {
  V exp = exp_negative_abs(s);
  return {larger(V{}, s) + log1p_unit(exp), sigmoid(s, exp)};
}
template <class V> INLINE Std<V> above_floor(Std<V> std) {
  return {larger(all<V>(STD_FLOOR), std.value), if_above(std.value, all<V>(STD_FLOOR), std.slope)};
}

template <class V> struct Term { V twice, mean, std; };  // z^2 of -log p, and the gradients for mean and std
// In closed form variance / std^2 is added to z^2 (see kernels/transition_bound).
template <class V> INLINE Term<V> term(V previous, V mean, V std) {
  V inverse = all<V>(1.f) / std, z = (mean - previous) * inverse;
  return {z * z, z * inverse, fma(z * -1.f, z, all<V>(1.f)) * inverse};
}
template <class V> INLINE Term<V> term(V previous, V mean, V std, V variance) {
  V inverse = all<V>(1.f) / std, z = (mean - previous) * inverse, spread = variance * inverse * inverse;
  return {fma(z, z, spread), z * inverse, fma(z * -1.f, z, all<V>(1.f) - spread) * inverse};
}

// The sum of log std over `steps` rows, with one logarithm for all. Mantissas are multiplied and exponents added,
// because a product of the numbers themselves could overflow silently. An infinite std gives NaN.
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
