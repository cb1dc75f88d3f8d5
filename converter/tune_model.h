// A model in several forms at once, for the search of tune.h: every product packed in each scheme, so that trying a
// choice is forward passes and nothing else; and texts that remember the layers' inputs, so that those begin at the
// first layer that differs.
#ifndef OCTOBERT_CONVERTER_TUNE_MODEL_H_
#define OCTOBERT_CONVERTER_TUNE_MODEL_H_

#include <array>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "converter/calibrate.h"
#include "converter/evaluate.h"
#include "converter/metrics.h"
#include "converter/model_parts.h"
#include "converter/recipe.h"
#include "engine/bert.h"

namespace octobert::converter {

// The schemes that products are tried in, the fastest first.
inline constexpr std::array kTuneSchemes = {format::Scheme::kStatic, format::Scheme::kDynamic,
                                            format::Scheme::kWeightOnly, format::Scheme::kFloat};

class TuneModel {
 public:
  // Reads the checkpoint a layer at a time and packs it. reference: its float model, for kernels, threads and names;
  // must outlive this object. progress is told how many layers of how many are done.
  // Throws what Checkpoint and make_layer_recipe throw.
  TuneModel(const Checkpoint& checkpoint, const Engine& reference, const Calibration& calibration,
            const CalibrationSettings& settings, const std::function<void(size_t, size_t)>& progress);

  const Engine& reference() const { return reference_; }
  const format::ModelConfig& config() const { return config_; }
  const Embeddings& embeddings() const { return embeddings_.view(); }
  EncoderLayer layer(size_t index, const LayerPlan& plan) const;
  const Linear& classifier(format::Scheme scheme) const;
  RunContext run() const;

 private:
  struct Layer {
    LayerFloats floats;              // the norms; what is packed is gone
    LayerRecipe recipe;              // attention's scales
    std::vector<PackedLayer> forms;  // one a scheme of kTuneSchemes
  };
  std::unique_ptr<Layer> make_layer(const Checkpoint& checkpoint, uint32_t index, const Calibration& calibration,
                                    const CalibrationSettings& settings) const;

  const Engine& reference_;
  format::ModelConfig config_;
  EmbeddingParts embeddings_;
  std::vector<PackedLinear> classifiers_;  // one a scheme of kTuneSchemes
  std::vector<std::unique_ptr<Layer>> layers_;
};

// Texts, the float model's answers to them, and what products in other schemes make of them.
class TuneTexts {
 public:
  // Throws Error(kNumeric) if the float model's answer is not finite.
  TuneTexts(const TuneModel& model, EncodedTexts encoded, std::vector<Sentence> sentences);

  size_t tokens() const { return encoded_.ids.size(); }
  const EncodedTexts& encoded() const { return encoded_; }
  const std::vector<Sentence>& sentences() const { return sentences_; }

  // The float model's answers against the texts' labels.
  EntityScores reference_scores() const;

  // The plan's answers against the float model's. Answers that are not finite: no word agrees, divergence is infinite.
  Comparison evaluate(const Plan& plan);
  // From now on evaluate() begins at the first layer in which a plan differs from this one, or from another one kept.
  // Memory: layers * tokens * hidden_size floats.
  void keep(const Plan& plan);

  // Seconds of one pass over the first texts, about max_tokens of them, the least of `rounds`; the plans take turns, so
  // that what else the machine does falls on all of them.
  size_t timed_tokens(size_t max_tokens) const;  // tokens of a pass of time()
  std::vector<double> time(std::span<const Plan> plans, size_t max_tokens, size_t rounds);

 private:
  struct Trajectory {
    Plan plan;
    std::vector<std::vector<float>> inputs;  // [layer][token * hidden_size]
  };
  struct Batch {
    size_t first, count;           // tokens
    std::vector<int32_t> offsets;  // from 0
  };
  // What a plan runs.
  struct Products {
    Products(const TuneModel& model, const Plan& plan);
    std::vector<EncoderLayer> layers;
    const Linear& classifier;
  };
  Batch first_batch(size_t max_tokens) const;
  std::vector<float> run(const Plan& plan, Trajectory* recorded);
  void run_batch(const Products& products, const Batch& batch, const Trajectory* known, size_t from,
                 Trajectory* recorded, std::span<float> logits);
  size_t shared_layers(const Plan& plan, const Trajectory*& best) const;

  const TuneModel& model_;
  EncodedTexts encoded_;
  std::vector<Sentence> sentences_;
  std::vector<Batch> batches_;
  std::vector<float> reference_;  // [token][label]
  std::vector<Trajectory> kept_;
  BertState state_;
};

}  // namespace octobert::converter

#endif  // OCTOBERT_CONVERTER_TUNE_MODEL_H_
