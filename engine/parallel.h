// Spreading work over an executor's threads.
#ifndef OCTOBERT_ENGINE_PARALLEL_H_
#define OCTOBERT_ENGINE_PARALLEL_H_

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>

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

// The first of `items` in part `part`, of `parts` nearly equal ones; `items` for the one after the last.
inline int part_begin(int items, int part, int parts) { return static_cast<int>(int64_t{items} * part / parts); }

// Calls body(worker, item) once for each item in [0, items). Worker w of workers.count has a share of its own,
// [share(w), share(w + 1)), with share(0) = 0, share(count) = items and none below the one before; when that is done it
// takes items out of the others' one by one, so that one that is slower gets fewer. Steps whose shares are the same
// rows find them in their own core's caches: attention took a fifth longer on two cores that read each other's results.
// body must not throw.
template <class Share, class Body>
void parallel_for(const Workers& workers, int items, const Share& share, const Body& body) {
  const int tasks = std::min(workers.count, items);
  if (tasks <= 1) {
    for (int item = 0; item < items; ++item) body(workers.first, item);
    return;
  }
  constexpr int kMostShares = 64;  // more workers have one together
  struct alignas(64) Range {
    std::atomic<int> next;
    int end;
  };
  struct Job {
    const Body& body;
    int first, tasks, shares;
    std::array<Range, kMostShares> ranges;  // the first `shares` are set
  };
  Job job{body, workers.first, tasks, std::min(workers.count, kMostShares), {}};
  for (int s = 0; s < job.shares; ++s) {
    Range& range = job.ranges[static_cast<size_t>(s)];
    range.next.store(share(part_begin(workers.count, s, job.shares)), std::memory_order_relaxed);
    range.end = share(part_begin(workers.count, s + 1, job.shares));
  }
  const auto task = [](void* context, int index) {
    const FpGuard guard;  // the executor may be the caller's own
    Job& j = *static_cast<Job*>(context);
    // Task i is worker i where there are as many; else the tasks begin apart from each other.
    const int own = static_cast<int>((int64_t{j.shares} * (index + 1) - 1) / j.tasks);
    for (int i = 0; i < j.shares; ++i) {
      Range& range = j.ranges[static_cast<size_t>(own + i < j.shares ? own + i : own + i - j.shares)];
      while (range.next.load(std::memory_order_relaxed) < range.end) {
        const int item = range.next.fetch_add(1, std::memory_order_relaxed);
        if (item < range.end) j.body(j.first + index, item);
      }
    }
  };
  workers.executor->run(tasks, task, &job);
}

// The same with equal shares.
template <class Body>
void parallel_for(const Workers& workers, int items, const Body& body) {
  parallel_for(
      workers, items, [&](int worker) { return part_begin(items, worker, workers.count); }, body);
}

}  // namespace octobert

#endif  // OCTOBERT_ENGINE_PARALLEL_H_
