#pragma once
#include "../native/steps.h"

// out [P + 1]: the gradient of each weight, then the bound, of the mean over elements. weights: W1, b1, W2, b2 of the mean,
// then of the std; x0 [count, dim]; constant: what no weight changes, times T + 1; terminal: how often half of the square of
// x_T is added to it, or in closed form that of x_0.
// Returns whether there was enough memory.
extern "C" bool variational_bound(float *out, const float *const *weights, int dim, int hidden, const float *x0,
                                  int64_t count, const Steps *steps, double constant, double terminal, uint64_t seed,
                                  uint32_t step, int64_t first, int threads);
