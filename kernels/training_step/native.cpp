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

struct AdamW {
  double lr, weight_decay, beta1, beta2, eps;
  void update(float *weight, float *first, float *second, float *step, const float *gradient, int64_t size) const {
    const double taken = ++*step, bias1 = 1 - power(beta1, (int64_t)taken), bias2 = 1 - power(beta2, (int64_t)taken);
    const float rate = (float)(lr / bias1), unbias = (float)(1 / __builtin_sqrt(bias2));
    for (int64_t i = 0; i < size; i += LANES) {
      alignas(64) float lanes[4][LANES];
      const float *from[] = {weight + i, first + i, second + i, gradient + i};
      for (int k = 0; k < 4; k++) read(lanes[k], from[k], size - i);
      Float w = load<Float>(lanes[0]), m = load<Float>(lanes[1]), v = load<Float>(lanes[2]), g = load<Float>(lanes[3]);
      m = fma(g - m, all<Float>((float)(1 - beta1)), m);
      v = fma(g * g, all<Float>((float)(1 - beta2)), v * (float)beta2);
      w = fma(w, all<Float>((float)(-lr * weight_decay)), w);
      w = w - m * rate / (sqrt(v) * unbias + (float)eps);
      store(lanes[0], w);
      store(lanes[1], m);
      store(lanes[2], v);
      write(weight + i, lanes[0], size - i);
      write(first + i, lanes[1], size - i);
      write(second + i, lanes[2], size - i);
    }
  }
};

}  // namespace

// Updates `tensors` weights in place; gradients: flat, in their order; moments: the first of each weight, then the second of
// each, then how many steps each has taken. `updates` counts: a signal that comes meanwhile must not hide an update.
extern "C" void adamw(float *const *weights, float *const *moments, const int64_t *sizes, int tensors, const float *gradients,
                      int64_t *updates, double lr, double weight_decay, double beta1, double beta2, double eps) {
  const AdamW adamw{lr, weight_decay, beta1, beta2, eps};
  for (int i = 0; i < tensors; gradients += sizes[i], i++)
    adamw.update(weights[i], moments[i], moments[tensors + i], moments[2 * tensors + i], gradients, sizes[i]);
  ++*updates;
}
