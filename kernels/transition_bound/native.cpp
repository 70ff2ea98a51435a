// E[-log N(x_{t-1}; mean, std^2)] and its gradients, element by element (see kernels/transition_bound).
#include "../native/gaussian.h"
#include "../native/threads.h"

// previous, mean, std and variance (which may be null) are [size]. Writes gradients [2, size]. Returns the sum of
// z^2 / 2 + log std.
extern "C" double transition_bound(float *gradients, const float *previous, const float *mean, const float *std,
                                   const float *variance, int64_t size, int threads) {
  constexpr int ELEMENTS = 4096;
  const int64_t blocks = (size + ELEMENTS - 1) / ELEMENTS;
  const float share = (float)(1. / size);
  double *sums = (double *)malloc(blocks * sizeof *sums), total = 0;
  parallel(blocks, threads, [=](int64_t block) {
    alignas(64) float terms[LANES] = {};
    for (int64_t at = block * ELEMENTS; at < size && at < (block + 1) * ELEMENTS; at += LANES) {
      alignas(64) float x[LANES], m[LANES], s[LANES], w[LANES] = {};
      read(x, previous + at, size - at);
      read(m, mean + at, size - at);
      read(s, std + at, size - at, 1.f);
      if (variance) read(w, variance + at, size - at);
      const Float value = load<Float>(s);
      const Term<Float> found = term(load<Float>(x), load<Float>(m), value, load<Float>(w));
      store(m, found.mean * share);
      store(s, found.std * share);
      store(x, fma(found.twice, all<Float>(.5f), log_any(value)));
      write(gradients + at, m, size - at);
      write(gradients + size + at, s, size - at);
      for (int i = 0; i < LANES && at + i < size; i++) terms[i] += x[i];
    }
    double sum = 0;
    for (int i = 0; i < LANES; i++) sum += terms[i];
    sums[block] = sum;
  });
  for (int64_t block = 0; block < blocks; block++) total += sums[block];
  free(sums);
  return total;
}
