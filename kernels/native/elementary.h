// log, log(1 + x) and exp from the polynomials of kernels/constants.py, in a fixed order of operations.
#pragma once
#include "lanes.h"

template <class V, int N> INLINE V polynomial(V x, const float (&c)[N]) {  // c0 + c1 x + c2 x^2 + ..., by Horner's scheme
  V value = all<V>(c[N - 1]);
#pragma GCC unroll 16
  for (int i = N - 2; i >= 0; i--) value = fma(value, x, all<V>(c[i]));
  return value;
}

template <class V, class I> INLINE V log_scaled(V x, I more) {  // log(x 2^more) for x > 0 and not subnormal
  I bits = as_int(x), exponent = (bits - SQRT_HALF_BITS) >> 23;
  V f = as_float(bits - (exponent << 23)) - 1.f;
  return fma(to_float(exponent + more), all<V>(LOG2), fma(f * f, polynomial(f, LOG_FRACTION), f));
}

INLINE Float log_any(Float x) {  // as in libraries: -infinity for 0, NaN for negative x
  Float normal = log_scaled(x, Int{}), subnormal = log_scaled(x * 0x1p64f, set(Int{}, -64));
  Float value = if_negative(as_int(x) - 0x800000, subnormal, normal);  // 0x800000: the smallest normal number
  Float one = all<Float>(1.f), infinity = if_above(x, all<Float>(0x1.fffffep127f), x);
  Float zero = one - one / if_above(x, Float{}, one);
  Float negative = sqrt(larger(one * -1.f, x * -1.f) * -1.f) * 0.f;  // the root of min(x, 1): finite or NaN
  return value + infinity + zero + negative;
}

template <class V> INLINE V log1p_unit(V x) {  // x in [0, 1]
  return fma(x * x, polynomial(x, LOG1P_UNIT), x);
}

constexpr float ROUND = 0x1.8p23f;  // a sum with it is rounded to a whole number, which is then in its low bits

// exp(-|s|) = 2^n exp(r), constant for |s| > 87, where the subnormal numbers would begin. n is in the low bits of t.
// log 2 is not split in two parts. So the error is 1.2 units in the last place for |s| < 14, and beyond that no std
// depends on the last places of exp(-|s|).
template <class V> struct Power { V r, t; };
template <class V> INLINE Power<V> power_of_2(V s) {
  V y = larger(all<V>(-87.f), as_float(as_int(s) | INT32_MIN)), t = fma(y, all<V>(1 / LOG2), all<V>(ROUND));
  return {fma(t - ROUND, all<V>(-LOG2), y), t};
}
template <class V> INLINE V exp_negative_abs(V s) {
  const Power<V> p = power_of_2(s);
  V fraction = fma(fma(polynomial(p.r, EXP), p.r, all<V>(1.f)), p.r, all<V>(1.f));
  return as_float(as_int(fraction) + (as_int(p.t) << 23));
}

template <class V> INLINE V sigmoid(V s, V exp) {  // of s and exp(-|s|)
  return if_negative(as_int(s), exp, all<V>(1.f)) / (exp + 1.f);
}

template <class V> INLINE V tanh(V s) {  // -m / (2 + m) for m = exp(-2 |s|) - 1, also precise for small s
  const Power<V> p = power_of_2(s + s);
  V power = as_float((as_int(p.t) << 23) + 0x3F800000);
  V m = fma(power, fma(polynomial(p.r, EXP) * p.r, p.r, p.r), power - 1.f);
  V magnitude = m * -1.f / (m + 2.f);
  return as_float(as_int(magnitude) | (as_int(s) & INT32_MIN));
}

template <class V> struct Turn { V sin, cos; };
template <class V> INLINE Turn<V> within_an_eighth(V x) {  // sin and cos for |x| up to an eighth of a turn
  V q = x * x;
  return {fma(x * q, polynomial(q, SIN), x), fma(q, fma(q, polynomial(q, COS), all<V>(-0.5f)), all<V>(1.f))};
}

// For an angle of up to 2^20 radians. First a multiple of a quarter of a turn is subtracted, in two parts.
template <class V> INLINE Turn<V> sin_and_cos(V angle) {
  V t = fma(angle, all<V>(TWO_OVER_PI), all<V>(ROUND)), n = t - ROUND;
  const Turn<V> x = within_an_eighth(fma(n, all<V>(-QUARTER_LOW), fma(n, all<V>(-QUARTER_HIGH), angle)));
  auto quarters = as_int(t), swap = quarters << 31, sign = (quarters << 30) & INT32_MIN;
  return {as_float(as_int(if_negative(swap, x.cos, x.sin)) ^ sign),
          as_float(as_int(if_negative(swap, x.sin, x.cos)) ^ sign ^ swap)};
}
