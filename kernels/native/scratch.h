// Memory that a thread keeps from call to call. If it were freed and allocated again, the system would zero all of its
// pages each time.
#pragma once
#include <stdint.h>
#include <stdlib.h>

struct Scratch {
  char *memory = nullptr;
  size_t size = 0, used = 0;
  bool counting = false;
  ~Scratch() { free(memory); }
  template <class T> T *take(size_t count) {
    const size_t at = (used + 63) / 64 * 64;
    used = at + count * sizeof(T);
    return counting ? nullptr : (T *)(memory + at);
  }
};
static thread_local Scratch scratch;

// Makes room for an M(scratch, sizes...), which takes its memory from the scratch. Returns whether there was enough
// memory.
template <class M, class... S> static bool arrange(const S &...sizes) {
  scratch.counting = true, scratch.used = 0;
  (void)M(scratch, sizes...);
  if (scratch.used > scratch.size) {
    free(scratch.memory);
    scratch.size = (scratch.used + 4095) / 4096 * 4096;
    scratch.memory = (char *)aligned_alloc(4096, scratch.size);
    if (!scratch.memory) scratch.size = 0;
  }
  scratch.counting = false, scratch.used = 0;
  return scratch.memory != nullptr;
}

// Whether every piece of a parallel loop had enough memory.
struct Enough {
  bool failed = false;
  void fail() { __atomic_store_n(&failed, true, __ATOMIC_RELAXED); }
  operator bool() const { return !failed; }
};
