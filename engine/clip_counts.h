// What a static model has clipped, over all calls of an engine.
#ifndef OCTOBERT_ENGINE_CLIP_COUNTS_H_
#define OCTOBERT_ENGINE_CLIP_COUNTS_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/model.h"
#include "engine/workspace.h"
#include "octobert/engine.h"

namespace octobert {

// add() and shares() may be called from many threads at once.
class ClipCounts {
 public:
  explicit ClipCounts(const BertModel& model);

  // The counts of the forward pass that `state` has just done.
  void add(const BertState& state) const;
  std::vector<ClippedShare> shares() const;

 private:
  struct Site {
    size_t number;  // as BertState::clipped() takes it
    std::string product;
    uint64_t width;  // values a token
  };

  std::vector<Site> sites_;                          // the static ones
  std::unique_ptr<std::atomic<uint64_t>[]> totals_;  // of each of them, then the tokens
};

}  // namespace octobert

#endif  // OCTOBERT_ENGINE_CLIP_COUNTS_H_
