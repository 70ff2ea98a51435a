// One step of AdamW (see kernels/training_step), 16 weights at a time.
#include "../native/lanes.h"

namespace {

// x^n in a fixed order of multiplications: library functions differ in the last bit.
double power(double x, int64_t n) {
  double result = 1;
  for (; n > 0; n >>= 1, x *= x)
    if (n & 1) result *= x;
  return result;
}

struct Moments {
  float *first, *second, *step;
};

struct AdamW {
  double lr, weight_decay, beta1, beta2, eps;
  // Returns whether all weights are finite after the update. Writes the update only with WRITE.
  template <bool WRITE> bool update(float *weight, const Moments &moments, const float *gradient, int64_t size) const {
    const double taken = *moments.step + 1., bias1 = 1 - power(beta1, (int64_t)taken), bias2 = 1 - power(beta2, (int64_t)taken);
    const float rate = (float)(lr / bias1), unbias = (float)(1 / __builtin_sqrt(bias2));
    Float all_zero{};
    for (int64_t i = 0; i < size; i += LANES) {
      alignas(64) float lanes[4][LANES];
      const float *from[] = {weight + i, moments.first + i, moments.second + i, gradient + i};
      for (int k = 0; k < 4; k++) read(lanes[k], from[k], size - i, k == 2);  // no 0 / 0 in unused lanes for eps = 0
      Float w = load<Float>(lanes[0]), m = load<Float>(lanes[1]), v = load<Float>(lanes[2]), g = load<Float>(lanes[3]);
      m = fma(g - m, all<Float>((float)(1 - beta1)), m);
      v = fma(g * g, all<Float>((float)(1 - beta2)), v * (float)beta2);
      w = fma(w, all<Float>((float)(-lr * weight_decay)), w);
      w = w - m * rate / (sqrt(v) * unbias + (float)eps);
      all_zero = all_zero + w * 0.f;  // NaN if a weight is not finite
      if (WRITE) {
        store(lanes[0], w);
        store(lanes[1], m);
        store(lanes[2], v);
        write(weight + i, lanes[0], size - i);
        write(moments.first + i, lanes[1], size - i);
        write(moments.second + i, lanes[2], size - i);
      }
    }
    if (WRITE) *moments.step = (float)taken;
    alignas(64) float zeros[LANES];
    store(zeros, all_zero);
    float sum = 0;
    for (const float zero : zeros) sum += zero;
    return sum == 0;
  }
};

}  // namespace

// Updates `tensors` tensors of weights in place. gradients: flat, in the order of the tensors. moments: the first
// moment of each tensor, then the second of each, then the number of steps that each has taken. `updates` is counted
// here, so that a signal during the call cannot hide an update. Returns false and changes nothing if a weight would not
// be finite.
extern "C" bool adamw(float *const *weights, float *const *moments, const int64_t *sizes, int tensors, const float *gradients,
                      int64_t *updates, double lr, double weight_decay, double beta1, double beta2, double eps) {
  const AdamW adamw{lr, weight_decay, beta1, beta2, eps};
  const auto each = [=](auto update) {
    bool finite = true;
    for (int64_t i = 0, at = 0; i < tensors && finite; at += sizes[i++])
      finite = update(weights[i], Moments{moments[i], moments[tensors + i], moments[2 * tensors + i]}, gradients + at, sizes[i]);
    return finite;
  };
  if (!each([=](auto... of) { return adamw.update<false>(of...); })) return false;
  each([=](auto... of) { return adamw.update<true>(of...); });
  ++*updates;
  return true;
}
