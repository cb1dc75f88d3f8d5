// A way past the Engine's public face for the library's own tools: inspect, verify, bench.
#ifndef OCTOBERT_ENGINE_ENGINE_ACCESS_H_
#define OCTOBERT_ENGINE_ENGINE_ACCESS_H_

#include "engine/engine_impl.h"
#include "engine/profile.h"

namespace octobert {

struct EngineAccess {
  static const ModelFile& file(const Engine& engine) { return engine.impl_->file; }
  static const BertModel& model(const Engine& engine) { return engine.impl_->model; }
  static const KernelTable& kernels(const Engine& engine) { return *engine.impl_->kernels; }
  static Executor& executor(const Engine& engine) { return *engine.impl_->executor; }

  // Engine::logits on memory of the caller's, watched. hooks: cancel, observers and profile count, the rest is the
  // engine's. With an observer the batch is never worked on in several chunks: its size is the caller's to keep small.
  static void logits(const Engine& engine, const PackedBatch& batch, std::span<float> logits, BertState& state,
                     const RunContext& hooks) {
    engine.impl_->logits(batch, logits, state, hooks);
  }
};

}  // namespace octobert

#endif  // OCTOBERT_ENGINE_ENGINE_ACCESS_H_
