// What an Engine holds. For the files that implement its members (engine.cpp, analyze*.cpp), and EngineAccess.
#ifndef OCTOBERT_ENGINE_ENGINE_IMPL_H_
#define OCTOBERT_ENGINE_ENGINE_IMPL_H_

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/analyze.h"
#include "engine/bert.h"
#include "engine/clip_counts.h"
#include "engine/free_list.h"
#include "engine/model.h"
#include "engine/model_file.h"
#include "engine/workspace.h"
#include "kernels/kernels.h"
#include "octobert/engine.h"

namespace octobert {

struct Workspace::Impl {
  BertState state;
};

// Immutable after open, but for free lists, which lock. Engine::logits() on a borrowed Workspace is the way to the
// logits for analyze() as well: it checks its input, guards the floating-point environment, splits what is too long
// for one pass into chunks of whole sequences, honours the CancelToken and throws on non-finite logits.
struct Engine::Impl {
  Impl(ModelFile model_file, const OpenOptions& options);

  // See Engine::logits. `hooks`: cancel, observers and profile are taken from it, the rest is the engine's.
  void logits(const PackedBatch& batch, std::span<float> logits, BertState& state, RunContext hooks) const;
  // Throws Error(kInvalidInput) naming index, value and bound.
  void check_batch(const PackedBatch& batch, size_t logits_size) const;

  ModelFile file;
  BertModel model;  // views into file
  ClipCounts clip_counts{model};
  Tokenizer tokenizer;
  std::vector<std::string> labels;
  ModelInfo info;
  const KernelTable* kernels;
  std::shared_ptr<Executor> executor;

  // What the labels mean to a strategy of analyze().
  std::span<const LabelTag> tags(Strategy strategy) const {
    return strategy == Strategy::kWords ? our_tags : reference_tags;
  }
  std::vector<LabelTag> our_tags = label_tags(labels);
  std::vector<LabelTag> reference_tags = reference_label_tags(labels);
  FreeList<AnalyzeScratch> analyze_scratch;
};

}  // namespace octobert

#endif  // OCTOBERT_ENGINE_ENGINE_IMPL_H_
