// Print a digest of the results of each library function, for machines where Python does not run. The inputs are made
// without library functions. This file is compiled together with the library.
#include <stdio.h>
#include <vector>

static uint64_t state = 1;
static float uniform(float low, float high) {  // a linear congruential generator
  state = state * 6364136223846793005u + 1442695040888963407u;
  return low + (high - low) * (float)(state >> 40) * 0x1p-24f;
}
static std::vector<float> uniforms(size_t size, float low, float high) {
  std::vector<float> values(size);
  for (float &value : values) value = uniform(low, high);
  return values;
}

static void print(const char *name, const std::vector<float> &values) {  // FNV-1a
  uint64_t hash = 14695981039346656037u;
  for (float value : values) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    for (int i = 0; i < 4; i++, bits >>= 8) hash = (hash ^ (bits & 255)) * 1099511628211u;
  }
  printf("%s %016llx\n", name, (unsigned long long)hash);
}

static void digest(int dim, int hidden, int64_t count, int64_t steps) {
  const uint64_t seed = 0x123456789abcdef0;
  const int64_t size = count * dim;
  printf("D%d H%d N%d T%d\n", dim, hidden, (int)count, (int)steps);
  std::vector<float> noise(steps * size), trajectory((steps + 1) * size), step(size), slopes(2 * size), history = trajectory;
  const auto x0 = uniforms(size, -3, 3), mean = uniforms(size, -1, 1), std = uniforms(size, 0.1f, 2);
  const auto scale = uniforms(steps, 0.9f, 1), noise_scale = uniforms(steps, 0.01f, 0.5f);
  const auto some = uniforms(steps, 0.2f, 0.8f), others = uniforms(steps, -1, 1);
  Steps tutorial{};
  tutorial.scale = scale.data(), tutorial.noise_scale = noise_scale.data(), tutorial.count = steps;
  Steps general = tutorial;  // in closed form and with tables
  general.of_data = general.of_state = general.variance = general.skip = general.std_scale = some.data();
  general.out = general.time = others.data();
  std::vector<std::vector<float>> tensors;
  std::vector<const float *> weights;
  for (int k = 0; k < 2; k++)
    for (int size : {hidden * (dim + 1), hidden, dim * hidden, dim}) tensors.push_back(uniforms(size, -0.6f, 0.7f));
  for (const auto &tensor : tensors) weights.push_back(tensor.data());
  const int widths[] = {hidden, hidden}, depths[] = {1, 1}, two = 2;

  normal(noise.data(), count, dim, steps, seed, 7, (INT64_C(1) << 40) - 1, 3, 2);
  print("noise", noise);
  memcpy(trajectory.data(), x0.data(), size * sizeof(float));
  forward_process(trajectory.data(), count, dim, steps, scale.data(), noise_scale.data(), seed, 3, 5, 2);
  print("forward_process", trajectory);
  reverse_step(step.data(), mean.data(), std.data(), count, dim, 4, 2, seed, 9, 2);
  print("reverse_step", step);
  slopes.push_back((float)transition_bound(slopes.data(), x0.data(), mean.data(), std.data(), nullptr, size, 2));
  print("transition_bound", slopes);
  slopes.back() = (float)transition_bound(slopes.data(), x0.data(), mean.data(), std.data(), std.data(), size, 2);
  print("transition_bound in closed form", slopes);
  std::vector<float> bound(2 * (hidden * (2 * dim + 2) + dim) + 1);
  for (const Steps *form : {&tutorial, &general}) {
    variational_bound(bound.data(), weights.data(), dim, hidden, x0.data(), count, form, 0.5, 0.3, seed, 1, 2, 2);
    print("variational_bound", bound);
    reverse_process(history.data(), weights.data(), widths, depths, 2, RELU, nullptr, 0, nullptr, 0, dim, count, form, true, seed, 0, 2);
    print("reverse_process", history);
  }
  // two shared hidden layers on x, its sines and cosines at two frequencies, and the time
  const float frequencies[] = {1.5f, 30};
  std::vector<std::vector<float>> deep;
  for (int size : {hidden * (5 * dim + 1), hidden, hidden * hidden, hidden, 2 * dim * hidden, 2 * dim})
    deep.push_back(uniforms(size, -0.6f, 0.7f));
  std::vector<const float *> layers;
  for (const auto &tensor : deep) layers.push_back(tensor.data());
  for (int activation : {RELU, SILU, TANH}) {
    reverse_process(history.data(), layers.data(), widths, &two, 1, activation, frequencies, 2, nullptr, 0, dim, count, &general,
                    true, seed, 0, 2);
    print("reverse_process of a deep network", history);
    std::vector<float> drawn(hidden * (5 * dim + 1 + hidden + 2 + 2 * dim) + 2 * dim + 1);
    const float *split[8] = {layers[0], layers[1], layers[2], layers[3], layers[4], layers[5],
                             layers[4] + dim * hidden, layers[5] + dim};
    drawn_bound(drawn.data(), split, widths, &two, 1, activation, frequencies, 2, nullptr, 0, x0.data(), count, dim, 6, &general,
                some.data(), 0.5, 0.3, seed, 1, 2, 77, 2);
    print("drawn_bound of a deep network", drawn);
  }
}

int main() {
  digest(1, 4, 100, 9);
  digest(1, 5, 3, 250);
  digest(3, 9, 70, 6);
}
