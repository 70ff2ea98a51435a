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

INLINE Float log_any(Float x) {  // as library functions: -infinity for 0, NaN for what is negative
  Float normal = log_scaled(x, Int{}), subnormal = log_scaled(x * 0x1p64f, set(Int{}, -64));
  Float value = if_negative(as_int(x) - 0x800000, subnormal, normal);  // the bits of the least normal number
  Float one = all<Float>(1.f), infinity = if_above(x, all<Float>(0x1.fffffep127f), x);
  Float zero = one - one / if_above(x, Float{}, one);
  Float negative = sqrt(larger(one * -1.f, x * -1.f) * -1.f) * 0.f;  // the root of at most 1: it is finite or NaN
  return value + infinity + zero + negative;
}

template <class V> INLINE V log1p_unit(V x) {  // x in [0, 1]
  return fma(x * x, polynomial(x, LOG1P_UNIT), x);
}

// exp(-|s|), constant beyond 87, where the subnormals would begin. log 2 has no second part: that is 1.2 units in the last
// place for |s| < 14, and no std feels what e is beyond.
template <class V> INLINE V exp_negative_abs(V s) {
  V y = larger(all<V>(-87.f), as_float(as_int(s) | INT32_MIN));
  V t = fma(y, all<V>(1 / LOG2), all<V>(0x1.8p23f)), n = t - 0x1.8p23f;  // rounds, and leaves n in the low bits of t
  V r = fma(n, all<V>(-LOG2), y);
  V fraction = fma(fma(polynomial(r, EXP), r, all<V>(1.f)), r, all<V>(1.f));
  return as_float(as_int(fraction) + (as_int(t) << 23));
}
