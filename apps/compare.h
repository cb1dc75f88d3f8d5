// A packed model beside the float model of its checkpoint, over texts.
#ifndef OCTOBERT_APPS_COMPARE_H_
#define OCTOBERT_APPS_COMPARE_H_

#include <cstddef>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "converter/evaluate.h"
#include "octobert/converter.h"
#include "octobert/engine.h"

namespace octobert::apps {

struct Comparison {
  size_t words = 0, agreeing = 0;  // words that have a piece; those that get the float model's label
  bool labelled = false;           // the scores below count
  converter::EntityScores float_scores, model_scores;

  // Fraction of 1; 1 of no words.
  double agreement() const { return words == 0 ? 1 : static_cast<double>(agreeing) / static_cast<double>(words); }
};

class ModelPair {
 public:
  // Converts the checkpoint's float model into a temporary file that is gone when this is made. Throws Error if the
  // two are not of one shape.
  ModelPair(const Engine& model, const std::filesystem::path& checkpoint, const OpenOptions& options);

  // Labels by each word's first piece; sentences with labels are scored. `progress(done, total)` counts tokens.
  using Progress = std::function<void(size_t, size_t)>;
  Comparison compare(std::span<const converter::Sentence> sentences, const Progress& progress) const;
  Comparison compare(std::span<const std::string> texts, const Progress& progress) const;

  // Of every intermediate result, over the first texts (about kSqnrTokens tokens).
  static constexpr size_t kSqnrTokens = 4096;
  std::vector<LayerSqnr> sqnr(const converter::EncodedTexts& encoded) const;
  converter::EncodedTexts encode(std::span<const converter::Sentence> sentences) const;
  converter::EncodedTexts encode(std::span<const std::string> texts) const;

 private:
  std::vector<std::vector<int32_t>> labels_of(const Engine& engine, const converter::EncodedTexts& encoded,
                                              const Progress& progress, size_t already_done) const;
  Comparison count(const converter::EncodedTexts& encoded, std::span<const converter::Sentence> sentences,
                   const Progress& progress) const;

  const Engine& model_;
  Engine float_;
};

}  // namespace octobert::apps

#endif  // OCTOBERT_APPS_COMPARE_H_
