// Two models over the same texts: the float model of a checkpoint, and the packed one that came of it.
#ifndef OCTOBERT_CONVERTER_COMPARE_H_
#define OCTOBERT_CONVERTER_COMPARE_H_

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <vector>

#include "converter/evaluate.h"
#include "engine/aligned_buffer.h"
#include "octobert/converter.h"
#include "octobert/engine.h"

namespace octobert::converter {

// A checkpoint as a float model in memory: the reference.
class FloatModel {
 public:
  // Throws what convert() throws.
  explicit FloatModel(const std::filesystem::path& checkpoint, const OpenOptions& options = {});
  const Engine& engine() const { return engine_; }

 private:
  AlignedBuffer bytes_;
  Engine engine_;
};

// A word that has another label than the reference gives it.
struct ChangedWord {
  size_t text, word;         // which of the texts, which of its words
  int32_t reference, model;  // labels, by number
};

struct Comparison {
  size_t words = 0, same_label = 0;  // words that have a piece; those with the reference's label
  double agreement() const { return words == 0 ? 1 : static_cast<double>(same_label) / static_cast<double>(words); }
  bool labelled = false;          // some texts have labels: the scores count
  EntityScores reference, model;  // against the texts' own labels
  std::vector<LayerSqnr> sqnr;    // of the model's intermediate results and logits
  std::vector<ChangedWord> changed;

  void add(const Comparison& other);  // other texts' counts and scores; sqnr and changed stay
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
