// Where the time of a forward pass goes, by operation and layer.
#ifndef OCTOBERT_ENGINE_PROFILE_H_
#define OCTOBERT_ENGINE_PROFILE_H_

#include <chrono>
#include <cstdint>
#include <vector>

#include "engine/parallel.h"

namespace octobert {

enum class Step {
  kEmbeddings,     // of the model, not of a layer: layer index -1, as the classifier
  kQuantizeInput,  // where the LayerNorm before has not done it
  kQkv,
  kAttention,  // scores, softmax and context
  kQuantizeContext,
  kAttentionOutput,
  kAttentionNorm,  // with the residual, and the next product's quantization
  kFfn1,           // with the activation
  kQuantizeFfn,
  kFfn2,
  kFfnNorm,
  kClassifier,
};
inline constexpr int kStepCount = static_cast<int>(Step::kClassifier) + 1;
const char* step_name(Step step);  // "attention_output", ...

// Thread time: time on the clock times the threads that were at the step's disposal, summed over all calls since
// reset(). One call at a time.
class Profile {
 public:
  void reset(int layers, int workers);

  int layer_count() const { return layers_; }
  // layer: 0 .. layer_count() - 1, or -1 for what belongs to no layer.
  uint64_t nanoseconds(int layer, Step step) const;
  void add(int worker, int layer, Step step, uint64_t nanoseconds) { slots_[slot(worker, layer, step)] += nanoseconds; }

 private:
  size_t slot(int worker, int layer, Step step) const {
    const int row = worker * (layers_ + 1) + layer + 1;
    return static_cast<size_t>(row) * static_cast<size_t>(kStepCount) + static_cast<size_t>(step);
  }
  int layers_ = 0, workers_ = 0;
  std::vector<uint64_t> slots_;  // each worker writes its own
};

// Times a scope; without a profile it costs a comparison.
class StepTimer {
 public:
  StepTimer(Profile* profile, const Workers& workers, int layer, Step step)
      : profile_(profile), workers_(workers), layer_(layer), step_(step) {
    if (profile_ != nullptr) begin_ = Clock::now();
  }
  ~StepTimer() {
    if (profile_ == nullptr) return;
    const auto elapsed = std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now() - begin_).count();
    profile_->add(workers_.first, layer_, step_,
                  static_cast<uint64_t>(elapsed) * static_cast<uint64_t>(workers_.count));
  }
  StepTimer(const StepTimer&) = delete;
  StepTimer& operator=(const StepTimer&) = delete;

 private:
  using Clock = std::chrono::steady_clock;
  Profile* profile_;
  const Workers& workers_;
  int layer_;
  Step step_;
  Clock::time_point begin_;
};

}  // namespace octobert

#endif  // OCTOBERT_ENGINE_PROFILE_H_
