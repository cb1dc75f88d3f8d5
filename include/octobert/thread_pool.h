// Worker threads for an engine, or several engines.
#ifndef OCTOBERT_THREAD_POOL_H_
#define OCTOBERT_THREAD_POOL_H_

#include <cstddef>
#include <memory>

#include "octobert/export.h"

namespace octobert {

// Physical cores that this process may really use: affinity mask, cgroup v1/v2 quota
// (rounded up), one per SMT pair. At least 1.
OCTOBERT_API int usable_cores();

// Implement this to run the engine on threads of your own (OpenOptions::executor).
// Results do not depend on how the tasks are spread.
class OCTOBERT_API Executor {
 public:
  virtual ~Executor() = default;
  // How many tasks may run at once, the caller's included.
  virtual int concurrency() const = 0;
  // Runs task(context, i) for i in [0, count), in any order, on any threads; returns when all are done.
  // May be called from several threads at once. Tasks do not throw.
  virtual void run(int count, void (*task)(void* context, int index), void* context) = 0;
};

// A pool of `threads` threads including the caller's. Threads start at the first call that needs them, spin
// briefly for the next piece of work (about 20 microseconds) and then sleep: an idle pool uses no CPU. After
// fork() the child starts its own threads. Nothing is pinned. A thread runs the same index in every job, where it is
// free to; of more tasks than threads each gets every threads-th one, in order, whatever they take. Thread-safe.
class OCTOBERT_API ThreadPool : public Executor {
 public:
  explicit ThreadPool(int threads = 0);  // 0: usable_cores()
  ~ThreadPool() override;
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int concurrency() const override;
  void run(int count, void (*task)(void* context, int index), void* context) override;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace octobert

#endif  // OCTOBERT_THREAD_POOL_H_
