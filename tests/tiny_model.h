// Random models of any shape and scheme, as the engine sees them and as packed files in memory.
#ifndef OCTOBERT_TESTS_TINY_MODEL_H_
#define OCTOBERT_TESTS_TINY_MODEL_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <random>
#include <string>
#include <vector>

#include "converter/model_writer.h"
#include "engine/aligned_buffer.h"
#include "engine/model.h"
#include "kernels/kernels.h"
#include "octobert/engine.h"

namespace octobert::test {

struct TinySpec {
  uint32_t hidden = 24, layers = 2, heads = 3, intermediate = 40, vocab = 50, positions = 64, types = 2, labels = 5;
  Activation activation = Activation::kGelu;
  format::Scheme scheme = format::Scheme::kDynamic;
  // One scheme a product in the file's order (attention's two always equal); empty: `scheme` for all, as the converter
  // does it (a classifier in floats, attention of weight-only models in floats).
  std::vector<format::Scheme> products = {};
  bool smoothed = false;      // dynamic products have multipliers of their input's channels
  bool split_inputs = false;  // static qkv has three input parts; hidden is a multiple of 16
  float layer_norm_eps = 1e-12f;
  uint32_t seed = 1;
};

std::string describe(const TinySpec& spec);

// Weights are drawn so that activations stay of order 1 through all layers. The same seed gives the same model.
class TinyModel {
 public:
  explicit TinyModel(const TinySpec& spec);

  const TinySpec& spec() const { return spec_; }
  const BertModel& model() const { return model_; }  // views; the TinyModel keeps the weights

  // A complete packed file. `vectors` go into it as test vectors.
  std::vector<std::byte> pack(const std::vector<TestVector>& vectors = {}) const;

 private:
  float uniform(float low, float high);
  template <class T>
  T* allocate(size_t count);
  const float* floats(size_t count, float low, float high);
  Linear linear(format::Scheme scheme, uint32_t n, uint32_t k);
  void add_float_weights(Linear& linear, float bound);
  void add_4bit_weights(Linear& linear, float bound);
  void add_int8_weights(Linear& linear, float bound);
  void add_static_attention(EncoderLayer& layer);
  const float* padded_floats(size_t count, float low, float high);
  LayerNormWeights norm();
  format::Scheme scheme_of(size_t product) const;

  TinySpec spec_;
  std::mt19937 random_;
  std::deque<AlignedBuffer> storage_;
  BertModel model_;
};

// The tokenizer section of a WordPiece tokenizer of `vocab` >= 6 tokens: [PAD] [UNK] [CLS] [SEP] (ids 0 to 3), then
// a, ##a, b, ##b, ... z, ##z, then words of two letters and more.
std::vector<std::byte> tiny_tokenizer(uint32_t vocab);

// Sequences of the given lengths with random ids and type ids. Owns what its batch() views.
class RandomBatch {
 public:
  RandomBatch(const TinySpec& spec, const std::vector<int>& lengths, uint32_t seed, bool types = true);
  PackedBatch batch() const { return {.ids = ids, .type_ids = type_ids, .offsets = offsets}; }
  // One of the sequences by itself.
  RandomBatch sequence(size_t s) const;

  std::vector<int32_t> ids, type_ids, offsets;

 private:
  RandomBatch() = default;
};

}  // namespace octobert::test

#endif  // OCTOBERT_TESTS_TINY_MODEL_H_
