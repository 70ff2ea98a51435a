// The bound, its gradients, and one step of AdamW (see kernels/training_step).
#include "../variational_bound/native.h"

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
    const double decay = 1 - lr * weight_decay, rate = lr / bias1, unbias = 1 / __builtin_sqrt(bias2);
    for (int64_t i = 0; i < size; i++) {
      const double g = gradient[i];
      first[i] = (float)(beta1 * first[i] + (1 - beta1) * g);
      second[i] = (float)(beta2 * second[i] + (1 - beta2) * g * g);
      weight[i] = (float)(decay * weight[i] - rate * first[i] / (__builtin_sqrt((double)second[i]) * unbias + eps));
    }
  }
};

}  // namespace

// weights as in variational_bound, updated in place unless the bound is not finite; moments: the first of each weight, then
// the second of each, then how many steps each has taken. gradients [P + 1] are written, the last of which is the bound, and
// `updates` counts: a signal that comes meanwhile must not hide an update. Returns whether there was enough memory.
extern "C" bool training_step(float *gradients, int64_t *updates, float *const *weights, float *const *moments, int dim,
                              int hidden, const float *x0, int64_t count, const Steps *steps,
                              double constant, double terminal, uint64_t seed, uint32_t step, double lr,
                              double weight_decay, double beta1, double beta2, double eps, int threads) {
  const int64_t sizes[4] = {(int64_t)hidden * (dim + 1), hidden, (int64_t)dim * hidden, dim};
  if (!variational_bound(gradients, weights, dim, hidden, x0, count, steps, constant, terminal, seed, step, 0,
                         threads))
    return false;
  const float bound = gradients[2 * (sizes[0] + sizes[1] + sizes[2] + sizes[3])];
  if (!(bound - bound == 0)) return true;
  const AdamW adamw{lr, weight_decay, beta1, beta2, eps};
  for (int i = 0; i < 8; gradients += sizes[i % 4], i++)
    adamw.update(weights[i], moments[i], moments[8 + i], moments[16 + i], gradients, sizes[i % 4]);
  ++*updates;
  return true;
}
