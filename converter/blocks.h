// Rows or columns of a matrix in blocks, spread over threads.
#ifndef OCTOBERT_CONVERTER_BLOCKS_H_
#define OCTOBERT_CONVERTER_BLOCKS_H_

#include <algorithm>
#include <cstddef>

#include "engine/parallel.h"
#include "kernels/layout.h"

namespace octobert::converter {

// body(first, last) for each block of up to `step` from [begin, end), on the executor's threads. A block is one task's
// alone.
template <typename Body>
void for_each_block(Executor& executor, size_t begin, size_t end, size_t step, const Body& body) {
  const auto blocks = static_cast<int>((end - begin + step - 1) / step);
  parallel_for(Workers{&executor, executor.concurrency()}, blocks, [&](int /*worker*/, int block) {
    const size_t first = begin + static_cast<size_t>(block) * step;
    body(first, std::min(first + step, end));
  });
}

// body(first row, rows, panel) for each panel of 16 rows.
template <typename Body>
void for_each_panel(Executor& executor, size_t rows, const Body& body) {
  for_each_block(executor, 0, rows, kPanelWidth,
                 [&](size_t first, size_t last) { body(first, last - first, first / kPanelWidth); });
}

}  // namespace octobert::converter

#endif  // OCTOBERT_CONVERTER_BLOCKS_H_
