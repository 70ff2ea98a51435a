// Vectors of 16 lanes, whatever the machine's vectors are: + - * / sqrt and fma, each rounded as IEEE 754 says. The
// lanes, and so the order of every sum over them, are the same on all machines.
#pragma once
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#define INLINE static inline __attribute__((always_inline))

// ---- one vector of the machine: the only part that knows instruction sets
#if defined(__x86_64__)
#include <immintrin.h>
#if defined(__AVX512F__)
#define VECTOR(f) _mm512_##f
typedef __m512i words_t;
typedef __m512 floats_t;
#elif defined(__AVX2__) && defined(__FMA__)
#define VECTOR(f) _mm256_##f
typedef __m256i words_t;
typedef __m256 floats_t;
#else
#define VECTOR(f) _mm_##f
typedef __m128i words_t;
typedef __m128 floats_t;
#endif
#elif defined(__aarch64__)
#include <arm_neon.h>
typedef uint64x2_t words_t;
typedef float32x4_t floats_t;
#else
#error "an x86-64 or a 64-bit ARM processor is needed"
#endif

constexpr int BYTES = sizeof(floats_t), NATIVE = BYTES / 4;
typedef float float_v __attribute__((vector_size(BYTES)));
typedef int32_t int_v __attribute__((vector_size(BYTES)));
typedef uint64_t long_v __attribute__((vector_size(BYTES)));

#if defined(__x86_64__)
#if defined(__FMA__)
INLINE float_v fma(float_v a, float_v b, float_v c) { return VECTOR(fmadd_ps)(a, b, c); }
#else  // exact and slow, for processors before 2013; inlined, it would take minutes to compile
__attribute__((noinline)) static float_v fma(float_v a, float_v b, float_v c) {
  for (int i = 0; i < NATIVE; i++) c[i] = __builtin_fmaf(a[i], b[i], c[i]);
  return c;
}
#endif
INLINE float_v sqrt(float_v a) { return VECTOR(sqrt_ps)(a); }
INLINE float_v larger(float_v a, float_v b) { return VECTOR(max_ps)(a, b); }  // a > b ? a : b, so a NaN in b stays
INLINE float_v set(float_v, float x) { return VECTOR(set1_ps)(x); }  // not 0 + x, which turns -0 into 0
INLINE long_v multiply(long_v a, long_v b) { return (long_v)VECTOR(mul_epu32)((words_t)a, (words_t)b); }
INLINE int_v pack(long_v a, long_v b) { return (int_v)VECTOR(shuffle_ps)((floats_t)a, (floats_t)b, 0x88); }
#else
INLINE float_v fma(float_v a, float_v b, float_v c) { return vfmaq_f32(c, a, b); }
INLINE float_v sqrt(float_v a) { return vsqrtq_f32(a); }
INLINE float_v larger(float_v a, float_v b) { return a > b ? a : b; }  // vmaxq_f32 has other rules for NaN and -0
INLINE float_v set(float_v, float x) { return vdupq_n_f32(x); }
INLINE long_v multiply(long_v a, long_v b) { return (long_v)vmull_u32(vmovn_u64((words_t)a), vmovn_u64((words_t)b)); }
INLINE int_v pack(long_v a, long_v b) { return (int_v)vuzp1q_u32((uint32x4_t)a, (uint32x4_t)b); }
#endif
INLINE int_v set(int_v, int32_t x) { return int_v{} + x; }
INLINE long_v set(long_v, uint64_t x) { return long_v{} + x; }
INLINE float_v to_float(int_v a) { return __builtin_convertvector(a, float_v); }
INLINE float_v as_float(int_v a) { return (float_v)a; }
INLINE int_v as_int(float_v a) { return (int_v)a; }
INLINE float_v if_negative(int_v sign, float_v a, float_v b) { return sign < 0 ? a : b; }
INLINE float_v if_above(float_v x, float_v floor, float_v a) { return (float_v)((x > floor) & (int_v)a); }  // else 0

// loads and stores of one vector of the machine: GCC copies wide structs piece by piece
typedef float_v in_memory __attribute__((aligned(4), may_alias));
template <class S> INLINE void get(const S *p, float_v &v) { v = *(const in_memory *)p; }
template <class S> INLINE void get(const S *p, long_v &v) { v = (long_v)*(const in_memory *)p; }
template <class S, class V> INLINE void store(S *p, V v) { *(in_memory *)p = (float_v)v; }

// ---- 16 lanes: as many vectors side by side as that takes. Two hide each other's latency.
constexpr int LANES = 16;
template <class T> struct Pair { T low, high; };
template <class T, int N> struct Wide { typedef Pair<typename Wide<T, N / 2>::type> type; };
template <class T> struct Wide<T, 1> { typedef T type; };
typedef Wide<float_v, LANES / NATIVE>::type Float;
typedef Wide<int_v, LANES / NATIVE>::type Int;
typedef Wide<long_v, LANES / NATIVE>::type Long;  // 32-bit words in 64-bit lanes: 8 of the 16

#define PAIRWISE(f)                                                                      \
  template <class T, class... R> INLINE auto f(Pair<T> a, Pair<R>... r) {                \
    return Pair<decltype(f(a.low, r.low...))>{f(a.low, r.low...), f(a.high, r.high...)}; \
  }
#define OPERATOR(o)                                                                                               \
  template <class T> INLINE Pair<T> operator o(Pair<T> a, Pair<T> b) { return {a.low o b.low, a.high o b.high}; } \
  template <class T, class S> INLINE Pair<T> operator o(Pair<T> a, S b) { return {a.low o b, a.high o b}; }
PAIRWISE(fma) PAIRWISE(sqrt) PAIRWISE(larger) PAIRWISE(multiply) PAIRWISE(pack) PAIRWISE(to_float) PAIRWISE(as_float)
PAIRWISE(as_int) PAIRWISE(if_negative) PAIRWISE(if_above)
OPERATOR(+) OPERATOR(-) OPERATOR(*) OPERATOR(/) OPERATOR(&) OPERATOR(|) OPERATOR(^) OPERATOR(<<) OPERATOR(>>)
template <class T, class S> INLINE Pair<T> set(Pair<T> a, S x) { return {set(a.low, x), set(a.high, x)}; }
template <class S, class T> INLINE void get(const S *p, Pair<T> &v) {
  get(p, v.low);
  get(p + sizeof v.low / sizeof *p, v.high);
}
template <class S, class T> INLINE void store(S *p, Pair<T> v) {
  store(p, v.low);
  store(p + sizeof v.low / sizeof *p, v.high);
}
template <class V, class S> INLINE V load(const S *p) {
  V v;
  get(p, v);
  return v;
}
template <class V> INLINE V all(float x) { return set(V{}, x); }
INLINE Long all_words(uint64_t x) { return set(Long{}, x); }  // only the low half of each is used

// ---- For work on elements, without sums: several vectors side by side. One long chain of instructions leaves a core
// idle, because the core does not look far enough ahead to find the next chain.
typedef Wide<float_v, 2>::type Two;
typedef Wide<float_v, 4>::type Four;
template <class V> constexpr int width = sizeof(V) / sizeof(float);

// Calls f(V{}, v) for v = 0, ... < n in steps of the width of V, and for the rest f(float_v{}, v), one vector of the
// machine at a time.
template <class V, class F> INLINE void columns(int n, F f) {
  int v = 0;
  for (; n - v > width<V> / 2; v += width<V>) f(V{}, v);
  for (; v < n; v += NATIVE) f(float_v{}, v);
}

// Writes and reads the first `count` of 16 lanes; the memory ends there.
INLINE void write(float *to, const float *lanes, int64_t count) {
  if (count >= LANES) store(to, load<Float>(lanes));
  else memcpy(to, lanes, count * sizeof *to);
}
INLINE void read(float *lanes, const float *from, int64_t count, float rest = 0) {
  if (count >= LANES) return store(lanes, load<Float>(from));
  for (int i = 0; i < LANES; i++) lanes[i] = i < count ? from[i] : rest;
}
