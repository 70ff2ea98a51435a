// x_t = scale_t x_{t-1} + noise_scale_t eps_t (Ho 2020, Eq. 2), element by element.
#include "../native/noise.h"
#include "../native/threads.h"

// trajectory [steps + 1, count, dim]: row 0 is given, the others are written. scale and noise_scale [steps].
extern "C" void forward_process(float *trajectory, int64_t count, int64_t dim, int64_t steps, const float *scale,
                                const float *noise_scale, uint64_t seed, uint32_t step, int64_t first, int threads) {
  constexpr int ELEMENTS = 256;
  const Key key = key_of(seed, step, FORWARD);
  const int64_t size = count * dim;
  parallel((size + ELEMENTS - 1) / ELEMENTS, threads, [=](int64_t block) {
    const int64_t begins = block * ELEMENTS;
    const int elements = (int)(size - begins < ELEMENTS ? size - begins : ELEMENTS);
    alignas(64) float x[ELEMENTS] = {};
    Counter c[ELEMENTS / LANES];
    memcpy(x, trajectory + begins, elements * sizeof *x);
    for (int v = 0; v < elements; v += LANES) begin_elements(c[v / LANES], key, first, begins + v, dim);
    for (int64_t group = 0; 4 * group < steps; group++)
      for (int v = 0; v < elements; v += LANES) {
        alignas(64) float e[4][LANES];
        normals(key, c[v / LANES], (uint32_t)group, e[0], LANES);
        Float now = load<Float>(x + v);
        for (int i = 0; i < 4 && 4 * group + i < steps; i++) {
          const int64_t t = 4 * group + i;
          now = fma(now, all<Float>(scale[t]), load<Float>(e[i]) * noise_scale[t]);
          store(x + v, now);
          write(trajectory + (t + 1) * size + begins + v, x + v, elements - v);
        }
      }
  });
}
