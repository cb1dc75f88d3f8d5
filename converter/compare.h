// Two models over the same texts: the float model of a checkpoint, and the packed one that came of it.
#ifndef OCTOBERT_CONVERTER_COMPARE_H_
#define OCTOBERT_CONVERTER_COMPARE_H_

#include <cstddef>
#include <filesystem>
#include <functional>
#include <span>

#include "converter/evaluate.h"
#include "converter/metrics.h"
#include "engine/aligned_buffer.h"
#include "octobert/converter.h"
#include "octobert/engine.h"

namespace octobert::converter {

// A checkpoint as a float model in memory: the reference.
class FloatModel {
 public:
  // labels: as ConvertOptions::labels. Throws what convert() throws.
  explicit FloatModel(const std::filesystem::path& checkpoint, const OpenOptions& options = {},
                      const std::filesystem::path& labels = {});
  const Engine& engine() const { return engine_; }

 private:
  AlignedBuffer bytes_;
  Engine engine_;
};

// Runs both models over `encoded` (of the model's own tokenizer). `sentences`: the texts' labels, empty if they have
// none. Both models must have the same dimensions; the names of the labels are the model's.
// progress, if given, is told how many tokens of how many are done.
// Throws Error(kInvalidInput) if the models don't fit each other; Error(kNumeric).
Comparison compare_models(const Engine& reference, const Engine& model, const EncodedTexts& encoded,
                          std::span<const Sentence> sentences,
                          const std::function<void(size_t done, size_t total)>& progress = {});

}  // namespace octobert::converter

#endif  // OCTOBERT_CONVERTER_COMPARE_H_
