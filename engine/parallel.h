// Spreading work over an executor's threads.
#ifndef OCTOBERT_ENGINE_PARALLEL_H_
#define OCTOBERT_ENGINE_PARALLEL_H_

#include <algorithm>
#include <atomic>

#include "engine/fp_guard.h"
#include "octobert/thread_pool.h"

namespace octobert {

// Who may work on something: `count` workers, numbered from `first`; a worker's number says which scratch memory is
// its own. One worker is the calling thread.
struct Workers {
  Executor* executor = nullptr;
  int count = 1;
  int first = 0;

  static Workers only(int worker) { return {nullptr, 1, worker}; }
};

// Calls body(worker, item) once for each item in [0, items); items are handed out one by one, so that a worker that
// is slower gets fewer. body must not throw.
template <class Body>
void parallel_for(const Workers& workers, int items, const Body& body) {
  const int tasks = std::min(workers.count, items);
  if (tasks <= 1) {
    for (int item = 0; item < items; ++item) body(workers.first, item);
    return;
  }
  struct Job {
    const Body& body;
    int first, items;
    std::atomic<int> next{0};
  } job{body, workers.first, items};
  const auto task = [](void* context, int index) {
    const FpGuard guard;  // the executor may be the caller's own
    Job& j = *static_cast<Job*>(context);
    for (int item; (item = j.next.fetch_add(1, std::memory_order_relaxed)) < j.items;) j.body(j.first + index, item);
  };
  workers.executor->run(tasks, task, &job);
}

}  // namespace octobert

#endif  // OCTOBERT_ENGINE_PARALLEL_H_
