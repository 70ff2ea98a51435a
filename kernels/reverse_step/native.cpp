// x_{t-1} = mean + std eps, element by element.
#include "../native/noise.h"
#include "../native/threads.h"

// out, mean, std [count, dim]; t - 1 is 4 group + place.
extern "C" void reverse_step(float *out, const float *mean, const float *std, int64_t count, int64_t dim, uint32_t group,
                             int place, uint64_t seed, int64_t first, int threads) {
  constexpr int ELEMENTS = 1024;
  const Key key = key_of(seed, 0, REVERSE);
  const int64_t size = count * dim;
  parallel((size + ELEMENTS - 1) / ELEMENTS, threads, [=](int64_t block) {
    for (int64_t at = block * ELEMENTS; at < size && at < (block + 1) * ELEMENTS; at += LANES) {
      alignas(64) float e[4][LANES], m[LANES], s[LANES];
      Counter c;
      begin_elements(c, key, first, at, dim);
      normals(key, c, group, e[0], LANES);
      read(m, mean + at, size - at);
      read(s, std + at, size - at);
      store(m, fma(load<Float>(s), load<Float>(e[place]), load<Float>(m)));
      write(out + at, m, size - at);
    }
  });
}
