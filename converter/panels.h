// Matrices of weights in panels of 16 outputs, spread over threads.
#ifndef OCTOBERT_CONVERTER_PANELS_H_
#define OCTOBERT_CONVERTER_PANELS_H_

#include <algorithm>
#include <cstddef>

#include "engine/parallel.h"
#include "kernels/layout.h"

namespace octobert::converter {

// body(first row, rows, panel) for each panel of 16 rows, on the executor's threads. A row is one task's alone.
template <typename Body>
void for_each_panel(Executor& executor, size_t rows, const Body& body) {
  const Workers workers{&executor, executor.concurrency()};
  parallel_for(workers, static_cast<int>(panel_count(rows)), [&](int /*worker*/, int index) {
    const auto panel = static_cast<size_t>(index);
    const size_t first = panel * kPanelWidth;
    body(first, std::min(rows - first, size_t{kPanelWidth}), panel);
  });
}

}  // namespace octobert::converter

#endif  // OCTOBERT_CONVERTER_PANELS_H_
