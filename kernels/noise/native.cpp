// The noise stream, written to memory.
#include "../native/noise.h"
#include "../native/threads.h"

// Writes out [steps, count, dim] in pieces of ELEMENTS elements and GROUPS groups of four steps.
extern "C" void normal(float *out, int64_t count, int64_t dim, int64_t steps, uint64_t seed, uint32_t step, int64_t first,
                       uint32_t stream, int threads) {
  constexpr int ELEMENTS = 256, GROUPS = 64;
  const Key key = key_of(seed, step, stream);
  const int64_t size = count * dim, columns = (size + ELEMENTS - 1) / ELEMENTS, groups = (steps + 3) / 4;
  parallel(columns * ((groups + GROUPS - 1) / GROUPS), threads, [=](int64_t piece) {
    const int64_t begins = piece % columns * ELEMENTS, first_group = piece / columns * GROUPS;
    const int elements = (int)(size - begins < ELEMENTS ? size - begins : ELEMENTS);
    Counter c[ELEMENTS / LANES];
    for (int v = 0; v < elements; v += LANES) begin_elements(c[v / LANES], key, first, begins + v, dim);
    for (int64_t group = first_group; group < first_group + GROUPS && group < groups; group++)
      for (int v = 0; v < elements; v += LANES) {
        alignas(64) float e[4][LANES];
        normals(key, c[v / LANES], (uint32_t)group, e[0], LANES);
        for (int i = 0; i < 4 && 4 * group + i < steps; i++)
          write(out + (4 * group + i) * size + begins + v, e[i], elements - v);
      }
  });
}
