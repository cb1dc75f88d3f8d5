// What the converter knows of a model family: how config.json calls its dimensions and what its tensors are called.
// A family with BERT's block is a row in families.cpp, and its goldens.
#ifndef OCTOBERT_CONVERTER_FAMILIES_H_
#define OCTOBERT_CONVERTER_FAMILIES_H_

#include <array>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/format.h"

namespace octobert::converter {

// A dimension of the model: a field of format::ModelConfig, under the key that config.json gives it.
struct Dimension {
  uint32_t format::ModelConfig::*field;
  std::string_view key;    // "hidden_size"
  uint32_t default_value;  // the reference's, where config.json is silent; 0: not read from config.json
  uint32_t max;            // a bound on memory, far above any real model
};

struct TensorPattern {
  std::string_view ours;    // "layer.#.query.weight": # stands for the layer's number
  std::string_view theirs;  // "encoder.layer.#.attention.self.query.weight", after the prefixes
  uint32_t format::ModelConfig::*rows;
  uint32_t format::ModelConfig::*columns;  // null for a vector
};

struct Family {
  std::string_view model_type;      // config.json: "bert"
  std::string_view architecture;    // architectures[0] begins so: "Bert"
  uint32_t format_family;           // format::ModelConfig::family
  std::string_view activation_key;  // "hidden_act"
  std::string_view activation_default;
  std::string_view epsilon_key;  // "layer_norm_eps"
  double epsilon_default;
  std::span<const Dimension> dimensions;
  std::span<const std::string_view> prefixes;  // stripped from the front of tensor names, repeatedly
  std::span<const TensorPattern> tensors;
  std::span<const std::string_view> ignored;  // tensors that a token classifier does not use, begin so
};

// The family that config.json names (model_type; older files: architectures). Throws Error(kUnsupported) naming a
// family or a head that is not supported.
const Family& find_family(const nlohmann::json& config, const std::string& source);

// One tensor that the model needs.
struct ExpectedTensor {
  std::string ours, theirs;
  std::vector<uint64_t> shape;
  std::string shape_names;  // "[label_count = 9, hidden_size = 384]", for messages
};
std::vector<ExpectedTensor> expected_tensors(const Family& family, const format::ModelConfig& config);

// A tensor's name without prefixes, and with today's names of LayerNorm's parts ("gamma" -> "weight").
std::string plain_name(const Family& family, std::string_view name);
bool is_ignored(const Family& family, std::string_view plain_name);

}  // namespace octobert::converter

#endif  // OCTOBERT_CONVERTER_FAMILIES_H_
