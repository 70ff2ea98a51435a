// The noise stream: Philox4x32-10 and Box-Muller (see kernels/noise). Four steps and 16 samples at a time: 10.5
// instructions a normal on AVX2, for which the ports of Zen 3 need 2.0 cycles (llvm-mca).
#pragma once
#include "elementary.h"

struct Key { uint32_t step, stream; uint64_t low[ROUNDS], high[ROUNDS]; };  // what is the same for all lanes
INLINE Key key_of(uint64_t seed, uint32_t step, uint32_t stream) {
  Key key{step, stream, {}, {}};
  for (int r = 0; r < ROUNDS; r++) {
    key.low[r] = (uint32_t)seed + r * KEY_INCREMENTS[0];
    key.high[r] = (uint32_t)(seed >> 32) + r * KEY_INCREMENTS[1];
  }
  return key;
}

// The part of the first three rounds that does not depend on the group of steps. Element i of half h is lane
// 4 (i / 2) + i % 2 + 2 h, so that one shuffle puts the two halves in order.
struct Counter {
  alignas(64) uint64_t c1[2][8], c3[2][8], high[2][8], low[2][8];
  uint32_t above;  // the upper 16 bits of the first lane's sample, placed as in the counter's second word
  int carried;     // the first lane whose sample's upper bits are larger by one, or LANES
};

// Prepares a Counter for the sample and dimension of each lane. The samples must be in order.
INLINE void begin(Counter &c, const Key &key, const int64_t sample[LANES], const uint32_t dimension[LANES]) {
  c.above = (uint32_t)(sample[0] >> 32 << 16);
  c.carried = LANES;
  while (sample[c.carried - 1] >> 32 != sample[0] >> 32) c.carried--;
  for (int half = 0; half < 2; half++) {
    alignas(64) uint64_t samples[8], streams[8];
    for (int i = 0; i < 8; i++) {
      const int lane = 4 * (i / 2) + i % 2 + 2 * half;
      samples[i] = sample[lane];  // only the low half is used
      streams[i] = (key.stream << STREAM_SHIFT | dimension[lane]) ^ (uint32_t)key.high[0];
    }
    const uint32_t round1 = (uint32_t)((uint64_t)MULTIPLIERS[1] * key.step) ^ (uint32_t)key.low[1];
    Long a = multiply(load<Long>(samples), all_words(MULTIPLIERS[0]));
    Long b = multiply((a >> 32) ^ load<Long>(streams), all_words(MULTIPLIERS[1]));
    Long d = multiply((b >> 32) ^ all_words(round1), all_words(MULTIPLIERS[0]));
    store(c.c3[half], a);
    store(c.c1[half], b ^ all_words(key.low[2]));
    store(c.high[half], d >> 32);
    store(c.low[half], d);
  }
}

struct Words { Long c0, c1, c2, c3; };  // upper halves hold garbage, which nothing reads
INLINE Words philox(const Key &key, const Counter &c, int half, uint32_t second) {
  const uint32_t c0 = (uint32_t)((uint64_t)MULTIPLIERS[1] * key.step >> 32) ^ second ^ (uint32_t)key.low[0];
  const uint64_t p = (uint64_t)MULTIPLIERS[0] * c0;  // of round 2, the same for all lanes
  Long b = multiply(load<Long>(c.c3[half]) ^ all_words((p >> 32) ^ key.high[1]),
                    all_words(MULTIPLIERS[1]));
  Words w{(b >> 32) ^ load<Long>(c.c1[half]), b,
          load<Long>(c.high[half]) ^ all_words(p ^ key.high[2]), load<Long>(c.low[half])};
#pragma GCC unroll 16
  for (int r = 3; r < ROUNDS; r++) {
    Long x = multiply(w.c0, all_words(MULTIPLIERS[0])), y = multiply(w.c2, all_words(MULTIPLIERS[1]));
    w = {(y >> 32) ^ (w.c1 ^ all_words(key.low[r])), y,
         (x >> 32) ^ (w.c3 ^ all_words(key.high[r])), x};
  }
  return w;
}

// sqrt(-2 log u) for u = (w + 1/2) 2^-32, where u is 1 + f or, below 1/2, (1 + f) 2^e with f in [-1/2, 0)
INLINE Float radius(Int w) {
  Float c = to_float(w) + 0.5f;  // for a negative word c is (u - 1) 2^32, which keeps the digits of 1 - u
  Int bits = as_int(c), e = ((bits >> 23) - (126 + 32)) & ((w >> 31) ^ -1);
  Float f = if_negative(w, c * 0x1p-32f, as_float((bits & 0x7FFFFF) | 0x3F000000) - 1.f);
  return sqrt(fma(f, fma(f, polynomial(f, RADIUS), all<Float>(-2.f)), to_float(e) * (-2 * LOG2)));
}

struct Normals { Float first, second; };
INLINE Normals box_muller(Int radius_word, Int angle_word) {
  Float r = radius(radius_word);
  const auto [s, c] = within_an_eighth(to_float(angle_word << 2) * (RADIANS / 4));  // from the nearest quarter of a turn
  Int turn = angle_word + (1 << 29), swap = turn << 1;  // sign bits: the sign of sin; whether sin and cos swap
  return {as_float(as_int(r * if_negative(swap, s, c)) ^ ((turn ^ swap) & INT32_MIN)),
          as_float(as_int(r * if_negative(swap, c, s)) ^ (turn & INT32_MIN))};
}

// The four normals of each lane, for one second word of the counters; row i is at e + i * stride.
INLINE void normals_of(uint32_t second, const Key &key, const Counter &c, float *e, int stride) {
  const Words a = philox(key, c, 0, second), b = philox(key, c, 1, second);
  const Normals one = box_muller(pack(a.c0, b.c0), pack(a.c1, b.c1));
  store(e, one.first);
  store(e + stride, one.second);
  const Normals two = box_muller(pack(a.c2, b.c2), pack(a.c3, b.c3));
  store(e + 2 * stride, two.first);
  store(e + 3 * stride, two.second);
}

// Computes the lanes from c.carried on, whose samples' upper bits are larger by one. Of 2^32 samples, at most 16 have
// such neighbours.
static __attribute__((noinline, cold)) void normals_that_carried(const Key &key, const Counter &c, uint32_t group, float *e,
                                                                int stride) {
  alignas(64) float four[4][LANES];
  normals_of((c.above + (1 << 16)) | group, key, c, four[0], LANES);
  for (int i = 0; i < 4; i++)
    for (int lane = c.carried; lane < LANES; lane++) e[i * stride + lane] = four[i][lane];
}

// The normals of steps 4 group + 1 ... 4 group + 4 for each lane; row i is at e + i * stride.
static __attribute__((noinline)) void normals(const Key &key, const Counter &c, uint32_t group, float *e, int stride) {
  normals_of(c.above | group, key, c, e, stride);
  if (c.carried < LANES) normals_that_carried(key, c, group, e, stride);
}

// The counters of 16 elements of [N, dim], from `element` on. Row 0 has the index `first` in the stream.
INLINE void begin_elements(Counter &c, const Key &key, int64_t first, int64_t element, int64_t dim) {
  int64_t sample[LANES];
  uint32_t dimension[LANES];
  int64_t n = element / dim, d = element % dim;
  for (int i = 0; i < LANES; i++) {
    sample[i] = first + n;
    dimension[i] = (uint32_t)d;
    if (++d == dim) d = 0, n++;
  }
  begin(c, key, sample, dimension);
}

// The counters [dim, block / LANES] of the first n samples of a block, whose first index in the stream is `sample`.
static void begin_block(Counter *counters, const Key &key, int64_t sample, int dim, int block, int n) {
  for (int d = 0; d < dim; d++)
    for (int v = 0; v < n; v += LANES) {
      int64_t samples[LANES];
      uint32_t dimensions[LANES];
      for (int i = 0; i < LANES; i++) samples[i] = sample + v + i, dimensions[i] = d;
      begin(counters[d * (block / LANES) + v / LANES], key, samples, dimensions);
    }
}

// The normals of a block for the four steps of a group, e [dim, 4, block].
static void draw_block(const Counter *counters, const Key &key, int64_t group, int dim, int block, int n, float *e) {
  for (int d = 0; d < dim; d++)
    for (int v = 0; v < n; v += LANES)
      normals(key, counters[d * (block / LANES) + v / LANES], (uint32_t)group, e + d * 4 * block + v, block);
}
