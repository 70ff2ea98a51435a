// Products of the rows of two matrices, over all columns: a sum in 16 lanes for every pair of rows. The lanes and the
// order within each are the same whatever the tiles are.
#pragma once
#include "lanes.h"

// Where the columns are: `steps` pieces of `samples` columns. Pieces are `pitch` apart, rows are `row` apart.
struct Grid {
  int row, pitch, steps, samples;
};

// sums [A, b_rows, LANES] += the products of A rows of `a` with B rows of `b`, one vector of the machine at a time
template <int A, int B>
static __attribute__((noinline)) void tile_of_products(const Grid &g, const float *a, const float *b, float *sums, int b_rows) {
  for (int lane = 0; lane < LANES; lane += NATIVE) {
    float_v sum[A][B];
#pragma GCC unroll 4
    for (int i = 0; i < A; i++)
#pragma GCC unroll 4
      for (int j = 0; j < B; j++) get(sums + (i * b_rows + j) * LANES + lane, sum[i][j]);
    for (int step = 0; step < g.steps; step++)
      for (int m = step * g.pitch + lane; m < step * g.pitch + g.samples; m += LANES) {
        float_v left[A];
#pragma GCC unroll 4
        for (int i = 0; i < A; i++) get(a + i * g.row + m, left[i]);
#pragma GCC unroll 4
        for (int j = 0; j < B; j++) {
          const float_v right = load<float_v>(b + j * g.row + m);
#pragma GCC unroll 4
          for (int i = 0; i < A; i++) sum[i][j] = fma(left[i], right, sum[i][j]);
        }
      }
#pragma GCC unroll 4
    for (int i = 0; i < A; i++)
#pragma GCC unroll 4
      for (int j = 0; j < B; j++) store(sums + (i * b_rows + j) * LANES + lane, sum[i][j]);
  }
}

// sums [a_rows, b_rows, LANES] += the products of all rows. Columns after g.samples, up to a multiple of LANES, are
// added too.
static void add_products(const Grid &g, const float *a, int a_rows, const float *b, int b_rows, float *sums) {
  for (int i = 0; i < a_rows;) {
    const bool four = a_rows - i >= 4;
    for (int j = 0; j < b_rows;) {
      const bool three = b_rows - j >= 3;
      const auto tile = four ? three ? tile_of_products<4, 3> : tile_of_products<4, 1>
                             : three ? tile_of_products<1, 3> : tile_of_products<1, 1>;
      tile(g, a + i * g.row, b + j * g.row, sums + (i * b_rows + j) * LANES, b_rows);
      j += three ? 3 : 1;
    }
    i += four ? 4 : 1;
  }
}

INLINE double over_lanes(const float *lanes) {
  double sum = 0;
  for (int i = 0; i < LANES; i++) sum += lanes[i];
  return sum;
}
