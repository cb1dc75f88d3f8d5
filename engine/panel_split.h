// A product's outputs, shared out to workers.
#ifndef OCTOBERT_ENGINE_PANEL_SPLIT_H_
#define OCTOBERT_ENGINE_PANEL_SPLIT_H_

#include <algorithm>
#include <cstddef>

#include "engine/parallel.h"
#include "kernels/layout.h"

namespace octobert {

// Panels that the widest register blocks (AVX-512's) take at once; the others take one.
inline constexpr int kPanelsAtOnce = 3;

struct PanelRange {
  int begin, end;
};

// The panels of `outputs` outputs in shares: one for one worker; several a worker where there are more, so that none
// waits long for another. They end between register blocks where that leaves all workers equally many, else between
// panels, since the slowest worker is what counts.
class PanelSplit {
 public:
  PanelSplit(int outputs, int workers)
      : panels_(static_cast<int>(panel_count(static_cast<size_t>(outputs)))), workers_(workers) {
    const int blocks = (panels_ + kPanelsAtOnce - 1) / kPanelsAtOnce;
    unit_ = blocks % workers == 0 ? kPanelsAtOnce : 1;
    units_ = unit_ == 1 ? panels_ : blocks;
    count_ = workers == 1 ? 1 : std::min(units_, workers * kSharesPerWorker);
  }

  int count() const { return count_; }
  PanelRange operator[](int i) const { return {begin(i), begin(i + 1)}; }
  // The first of a worker's own shares in parallel_for, one past the last of the worker before; count() for workers
  // that have none.
  int first(int worker) const {
    const int tasks = std::min(workers_, count_);
    return part_begin(count_, std::min(worker, tasks), tasks);
  }

 private:
  static constexpr int kSharesPerWorker = 3;
  int begin(int share) const { return std::min(part_begin(units_, share, count_) * unit_, panels_); }

  int panels_, workers_, unit_, units_, count_;  // shares are of `units_` times `unit_` panels, the last perhaps fewer
};

}  // namespace octobert

#endif  // OCTOBERT_ENGINE_PANEL_SPLIT_H_
