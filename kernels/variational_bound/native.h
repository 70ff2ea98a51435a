#pragma once
#include "../native/steps.h"

// out [P + 1]: the gradient of each weight, then the bound, all of the mean over elements.
// weights: W1, b1, W2, b2 of the mean, then of the std. x0 [count, dim].
// constant: the part of the bound that the schedule alone determines, times T + 1.
// terminal: the factor with which half the square of x_T, or in closed form of x_0, is added to it.
// Returns whether there was enough memory.
extern "C" bool variational_bound(float *out, const float *const *weights, int dim, int hidden, const float *x0,
                                  int64_t count, const Steps *steps, double constant, double terminal, uint64_t seed,
                                  uint32_t step, int64_t first, int threads);
