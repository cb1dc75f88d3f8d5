// The model as the forward pass sees it: views of weights that someone else keeps, usually the mapped file.
#ifndef OCTOBERT_ENGINE_MODEL_H_
#define OCTOBERT_ENGINE_MODEL_H_

#include <array>
#include <cstdint>
#include <vector>

#include "engine/format.h"

namespace octobert {

class ModelFile;

// Most ways in which one product's input may be quantized: for query, for key and for value.
inline constexpr int kMaxInputParts = 3;

// y = W x + b under a scheme: W is [n][k], n outputs, k inputs. Pointers that the scheme does not use are null.
struct Linear {
  format::Scheme scheme = format::Scheme::kFloat;
  int n = 0, k = 0;
  const int8_t* weight_s8 = nullptr;     // kN16K4: kWeightOnly, kDynamic, kStatic
  const float* weight_f32 = nullptr;     // kN16K1: kFloat
  const uint8_t* weight_4bit = nullptr;  // kN16K8: kWeightOnlyInt4 (-8..7), kCodebook (0..15)
  const float* scale = nullptr;          // [padded n]: kWeightOnly, kDynamic, kStatic, kCodebook
  const int32_t* sum = nullptr;          // [padded n]: kDynamic, kStatic (kWeightOnly does not read it)
  const float* bias = nullptr;           // [padded n]
  // Multipliers of the input's channels, whose inverses the weights have taken in; zero past k.
  // kStatic: q = round_to_i8(fma(x, input_inv[c], input_zero)). kDynamic: null, or x * input_inv[c] is quantized.
  // kStatic: where a checkpoint quantizes the inputs of query, key and value differently, qkv has three input parts,
  // one for each of them, whole panels of outputs all; every other product has one.
  int input_parts = 1;
  const float* input_inv = nullptr;                  // [input_parts][padded k]
  std::array<int32_t, kMaxInputParts> input_zero{};  // kStatic, in [-127, 127], [input_parts]
  const float* group_scale = nullptr;                // [groups][padded n]: kWeightOnlyInt4
  int group_size = 0;                                // kWeightOnlyInt4, a multiple of 8; the last group may be shorter
  const float* codebook = nullptr;                   // [16]: kCodebook

  // The product of one input part: n / input_parts outputs, and one input part.
  Linear part(int index) const;
};

// How a product reads its input: as floats (scheme kFloat), as int8 with a scale a row (kDynamic), or static (kStatic).
struct InputForm {
  format::Scheme scheme = format::Scheme::kFloat;
  const float* inv = nullptr;  // as Linear::input_inv, of one part
  int32_t zero = 0;

  // Of several input parts: the first one.
  static InputForm of(const Linear& product) {
    if (product.scheme != format::Scheme::kDynamic && product.scheme != format::Scheme::kStatic) return {};
    return {product.scheme, product.input_inv, product.input_zero[0]};
  }
  bool operator==(const InputForm&) const = default;
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
  format::Scheme attention = format::Scheme::kFloat;  // of scores and context: kFloat, kDynamic or kStatic
  // kStatic attention: qkv's outputs become round_to_i8(y * qkv_output_inv[n]), a multiplier a head for Q and K and one
  // a column for V; what one step of them is worth: scale of Q times scale of K by head, scale of V by column.
  const float* qkv_output_inv = nullptr;  // [padded 3 hidden_size]
  const float* scores_factor = nullptr;   // [head_count]
  const float* value_scale = nullptr;     // [hidden_size]
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
