// A loop over an Executor. Results must not depend on how the indices are spread.
#ifndef OCTOBERT_CONVERTER_PARALLEL_H_
#define OCTOBERT_CONVERTER_PARALLEL_H_

#include <algorithm>
#include <cstddef>

#include "engine/fp_guard.h"
#include "octobert/thread_pool.h"

namespace octobert::converter {

// body(begin, end) for consecutive ranges that cover [0, count), at most `grain` indices each, in the default
// floating-point environment. body must not throw.
template <typename Body>
void parallel_ranges(Executor& executor, size_t count, size_t grain, const Body& body) {
  struct Loop {
    const Body& body;
    size_t count, grain;
    // Apart, so that no arithmetic moves out of the guard's scope.
    [[gnu::noinline]] void run(size_t begin, size_t end) const { body(begin, end); }
  };
  Loop loop{body, count, grain};
  const auto run_one = [](void* context, int index) {
    const auto& l = *static_cast<const Loop*>(context);
    const size_t begin = static_cast<size_t>(index) * l.grain;
    const FpGuard guard;
    l.run(begin, std::min(begin + l.grain, l.count));
  };
  executor.run(static_cast<int>((count + grain - 1) / grain), run_one, &loop);
}

}  // namespace octobert::converter

#endif  // OCTOBERT_CONVERTER_PARALLEL_H_
