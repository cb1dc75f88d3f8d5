// The parts of a model as the converter takes them through, one at a time: floats of the checkpoint, then what is
// written. No more than one encoder layer is in memory.
#ifndef OCTOBERT_CONVERTER_MODEL_PARTS_H_
#define OCTOBERT_CONVERTER_MODEL_PARTS_H_

#include <cstdint>
#include <span>
#include <vector>

#include "converter/checkpoint.h"
#include "converter/plan.h"
#include "converter/quantize.h"
#include "engine/model.h"
#include "octobert/thread_pool.h"

namespace octobert::converter {

struct LinearFloats {
  int n = 0, k = 0;
  std::vector<float> weight, bias;  // [n][k] row-major, [n]
  GivenInt8 given;                  // the same weights as the checkpoint quantizes them, if it does
  size_t minus_128_replaced = 0;    // in `given`

  // The index-th of `count` equal shares of the outputs.
  LinearFloats part(size_t index, size_t count) const;
};

struct NormFloats {
  std::vector<float> gamma, beta;
  LayerNormWeights view() const { return {gamma.data(), beta.data()}; }
};

struct LayerFloats {
  LinearFloats qkv, attention_output, ffn1, ffn2;  // qkv: the rows of query, key, value one after the other
  NormFloats attention_norm, ffn_norm;
  // Reads the layer; memory of the last one is used again.
  void read(const Checkpoint& checkpoint, uint32_t index);
};

struct LayerRecipe;  // recipe.h
struct ProductRecipe;

// A product as a plan stores it; with a recipe (null: none) as calibration, or the checkpoint's ranges, have it.
PackedLinear pack_linear(Executor& executor, format::Scheme scheme, int group_size, const LinearFloats& floats,
                         const ProductRecipe* recipe);

// A layer in the form that a plan stores. The norms stay those of `floats`, which must live as long, as must the
// recipe; floats are those that make_layer_recipe has made ready. Throws Error(kInvalidInput) if there is a static
// product and no recipe.
class PackedLayer {
 public:
  PackedLayer(Executor& executor, const LayerPlan& plan, const LayerFloats& floats,
              const LayerRecipe* recipe = nullptr);
  const EncoderLayer& view() const { return view_; }

 private:
  PackedLinear qkv_, attention_output_, ffn1_, ffn2_;
  EncoderLayer view_;
};

// The tables of the embeddings. Words: all of them as they will be stored; of the float model only the rows that are
// asked for.
class EmbeddingParts {
 public:
  EmbeddingParts(Executor& executor, const Checkpoint& checkpoint, bool int8_words);
  EmbeddingParts(const EmbeddingParts&) = delete;  // view() points into it
  EmbeddingParts& operator=(const EmbeddingParts&) = delete;
  const Embeddings& view() const { return view_; }

  // The float model's embeddings with a word table of the rows `ids` alone: word i is ids[i].
  Embeddings with_float_words(const Checkpoint& checkpoint, std::span<const int32_t> ids,
                              std::vector<float>& words) const;

 private:
  void read_int8_words(Executor& executor, const Checkpoint& checkpoint);

  std::vector<int8_t> word_s8_;
  std::vector<float> word_scale_, word_f32_, position_, type_;
  NormFloats norm_;
  Embeddings view_;
};

LinearFloats read_classifier(const Checkpoint& checkpoint);

}  // namespace octobert::converter

#endif  // OCTOBERT_CONVERTER_MODEL_PARTS_H_
