// Constants by step: element t - 1 of each is for step t = 1 ... T.
#pragma once
#include <stdint.h>

struct Steps {
  const float *scale, *noise_scale;              // sqrt(1 - beta_t) and sqrt(beta_t); null for the reverse process
  const float *of_data, *of_state, *variance;    // of q(x_{t-1} | x_t, x_0) for the bound in closed form, null for Eq. 3
  const float *skip, *out, *std_scale, *time;    // a network's tables by step (kernels.networks.StepTables), or null
  int64_t count;                                 // T
  float time_at(int64_t t) const { return time ? time[t - 1] : (float)((double)t / (double)(count + 1)); }
};
