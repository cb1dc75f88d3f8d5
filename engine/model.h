// The model as the forward pass sees it: views of weights that someone else keeps, usually the mapped file.
#ifndef OCTOBERT_ENGINE_MODEL_H_
#define OCTOBERT_ENGINE_MODEL_H_

#include <cstdint>
#include <vector>

#include "engine/format.h"

namespace octobert {

class ModelFile;

// y = W x + b under a scheme: W is [n][k], n outputs, k inputs. Pointers that the scheme does not use are null.
struct Linear {
  format::Scheme scheme = format::Scheme::kFloat;
  int n = 0, k = 0;
  const int8_t* weight_s8 = nullptr;  // kN16K4: kWeightOnly, kDynamic
  const float* weight_f32 = nullptr;  // kN16K1: kFloat
  const float* scale = nullptr;       // [padded n]: kWeightOnly, kDynamic
  const int32_t* sum = nullptr;       // [padded n]: kDynamic (kWeightOnly does not read it)
  const float* bias = nullptr;        // [padded n]
};

struct LayerNormWeights {
  const float* gamma = nullptr;  // [hidden_size]
  const float* beta = nullptr;   // [hidden_size]
};

struct Embeddings {
  const int8_t* word_s8 = nullptr;    // [vocab_size][hidden_size] with word_scale, or null
  const float* word_scale = nullptr;  // [vocab_size]
  const float* word_f32 = nullptr;    // [vocab_size][hidden_size], used if word_s8 is null
  const float* position = nullptr;    // [max_positions][hidden_size]
  const float* type = nullptr;        // [type_count][hidden_size]
  LayerNormWeights norm;
};

struct EncoderLayer {
  Linear qkv;  // outputs: query, key, value one after the other, n = 3 hidden_size
  format::Scheme attention = format::Scheme::kFloat;  // of both products, scores and context: kFloat or kDynamic
  Linear attention_output;
  LayerNormWeights attention_norm;
  Linear ffn1, ffn2;  // intermediate_size outputs and inputs
  LayerNormWeights ffn_norm;
};

struct BertModel {
  format::ModelConfig config{};
  Embeddings embeddings;
  std::vector<EncoderLayer> layers;
  Linear classifier;  // n = label_count
};

// Views of the tensors of an opened file, which must outlive them. Every tensor that the config and the products
// ask for is looked up by name; its type, layout, shape and size are checked against them.
// Throws Error(kFormat, kUnsupported) naming file, tensor, what was expected and what was found.
BertModel make_bert_model(const ModelFile& file);

}  // namespace octobert

#endif  // OCTOBERT_ENGINE_MODEL_H_
