#include "engine/profile.h"

#include <array>

namespace octobert {

const char* step_name(Step step) {
  constexpr std::array<const char*, kStepCount> kNames = {
      "embeddings",     "quantize_input", "qkv",          "attention", "quantize_context", "attention_output",
      "attention_norm", "ffn1",           "quantize_ffn", "ffn2",      "ffn_norm",         "classifier"};
  return kNames.at(static_cast<size_t>(step));
}

void Profile::reset(int layers, int workers) {
  layers_ = layers;
  workers_ = workers;
  const int rows = workers * (layers + 1);
  slots_.assign(static_cast<size_t>(rows) * static_cast<size_t>(kStepCount), 0);
}

uint64_t Profile::nanoseconds(int layer, Step step) const {
  uint64_t sum = 0;
  for (int worker = 0; worker < workers_; ++worker) sum += slots_[slot(worker, layer, step)];
  return sum;
}

}  // namespace octobert
