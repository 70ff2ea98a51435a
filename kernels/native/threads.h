// A loop over pieces on several threads. The caller takes part, and waits only for pieces that another thread has
// begun. So on a busy machine it loses the help of the others and nothing more. Threads are started when they are first
// needed, and again in a child after a fork.
#pragma once
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <time.h>

namespace threads {

// To block a thread and wake it takes longer than a small call. So a thread first polls for work for this long, and
// yields its core after each look.
constexpr int64_t PATIENCE_NS = 200000;

struct Job {
  void (*run)(const void *, int64_t);
  const void *function;
  int64_t pieces, next;
  int wanted, helpers;  // threads that may still join, and threads that are at work
  unsigned mode;        // the caller's floating-point mode, which torch.set_flush_denormal may have changed
  Job *after;
};

struct Pool {
  pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
  pthread_cond_t work = PTHREAD_COND_INITIALIZER, done = PTHREAD_COND_INITIALIZER;
  Job *jobs = nullptr;
  int threads = 0, asleep = 0;
};
static Pool *pool = new Pool;

static int64_t now() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

// Polls until `found()`, or for PATIENCE_NS.
template <class F> static void look(F found) {
  for (const int64_t until = now() + PATIENCE_NS; !found() && now() < until;) sched_yield();
}

#if defined(__x86_64__)
static unsigned mode() { return __builtin_ia32_stmxcsr(); }
static void set_mode(unsigned mode) { __builtin_ia32_ldmxcsr(mode); }
#else
static unsigned mode() { return 0; }
static void set_mode(unsigned) {}
#endif

static void take_part(Job &job) {
  for (int64_t i; (i = __atomic_fetch_add(&job.next, 1, __ATOMIC_RELAXED)) < job.pieces;) job.run(job.function, i);
}

static Job *open_job(const Pool &p) {  // the caller holds the mutex
  Job *job = p.jobs;
  while (job && job->wanted == 0) job = job->after;
  return job;
}

static void *helper(void *argument) {
  Pool &p = *(Pool *)argument;
  pthread_mutex_lock(&p.mutex);
  for (;;) {
    if (!open_job(p)) {
      pthread_mutex_unlock(&p.mutex);
      look([&] { return __atomic_load_n(&p.jobs, __ATOMIC_RELAXED) != nullptr; });
      pthread_mutex_lock(&p.mutex);
    }
    Job *job = open_job(p);
    if (!job) {
      p.asleep++;
      pthread_cond_wait(&p.work, &p.mutex);
      p.asleep--;
      continue;
    }
    job->wanted--;
    job->helpers++;
    pthread_mutex_unlock(&p.mutex);
    set_mode(job->mode);
    take_part(*job);
    pthread_mutex_lock(&p.mutex);
    if (__atomic_sub_fetch(&job->helpers, 1, __ATOMIC_RELEASE) == 0) pthread_cond_broadcast(&p.done);
  }
  return nullptr;
}

// the threads and locks of a parent do not exist in its child
static void after_fork() { pool = new Pool; }
__attribute__((constructor)) static void watch_forks() { pthread_atfork(nullptr, nullptr, after_fork); }

static bool start_helper(Pool &p) {
  pthread_t thread;
  if (pthread_create(&thread, nullptr, helper, &p) != 0) return false;
  pthread_detach(thread);
  p.threads++;
  return true;
}

// Calls f(i) for i = 0 ... pieces - 1 on at most `most` threads, in any order.
template <class F> static void parallel(int64_t pieces, int most, const F &f) {
  Job job{[](const void *function, int64_t i) { (*(const F *)function)(i); }, &f, pieces, 0, 0, 0, mode(), nullptr};
  if (most > pieces) most = (int)pieces;
  if (most <= 1) return take_part(job);
  Pool &p = *pool;
  pthread_mutex_lock(&p.mutex);
  job.wanted = most - 1;
  job.after = p.jobs;
  __atomic_store_n(&p.jobs, &job, __ATOMIC_RELAXED);
  while (p.threads < job.wanted && start_helper(p)) continue;
  for (int i = 0; i < job.wanted && i < p.asleep; i++) pthread_cond_signal(&p.work);
  pthread_mutex_unlock(&p.mutex);
  take_part(job);
  pthread_mutex_lock(&p.mutex);
  Job **at = &p.jobs;
  while (*at != &job) at = &(*at)->after;
  __atomic_store_n(at, job.after, __ATOMIC_RELAXED);
  if (job.helpers > 0) {
    pthread_mutex_unlock(&p.mutex);
    look([&] { return __atomic_load_n(&job.helpers, __ATOMIC_ACQUIRE) == 0; });
    pthread_mutex_lock(&p.mutex);
    while (job.helpers > 0) pthread_cond_wait(&p.done, &p.mutex);
  }
  pthread_mutex_unlock(&p.mutex);
}

}  // namespace threads

using threads::parallel;
