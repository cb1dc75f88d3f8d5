#include "converter/families.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "octobert/error.h"

namespace octobert::converter {
namespace {

using format::ModelConfig;

// Above every published model by an order of magnitude; the products' int32 sums bound widths too (kernels/layout.h).
constexpr uint32_t kMaxWidth = 65536;
constexpr uint32_t kMaxLayers = format::kMaxSections - 64;
constexpr uint32_t kMaxRows = 1u << 27;

// Defaults: transformers' BertConfig.
constexpr Dimension kBertDimensions[] = {
    {&ModelConfig::vocab_size, "vocab_size", 30522, kMaxRows},
    {&ModelConfig::hidden_size, "hidden_size", 768, kMaxWidth},
    {&ModelConfig::layer_count, "num_hidden_layers", 12, kMaxLayers},
    {&ModelConfig::head_count, "num_attention_heads", 12, kMaxWidth},
    {&ModelConfig::intermediate_size, "intermediate_size", 3072, kMaxWidth},
    {&ModelConfig::max_positions, "max_position_embeddings", 512, kMaxWidth},  // keys of attention: sums too
    {&ModelConfig::type_count, "type_vocab_size", 2, kMaxWidth},
    {&ModelConfig::label_count, "labels", 0, kMaxWidth},
};

constexpr auto kVocab = &ModelConfig::vocab_size, kHidden = &ModelConfig::hidden_size,
               kInner = &ModelConfig::intermediate_size, kPositions = &ModelConfig::max_positions,
               kTypes = &ModelConfig::type_count, kLabels = &ModelConfig::label_count;

constexpr TensorPattern kBertTensors[] = {
    {"embeddings.word", "embeddings.word_embeddings.weight", kVocab, kHidden},
    {"embeddings.position", "embeddings.position_embeddings.weight", kPositions, kHidden},
    {"embeddings.type", "embeddings.token_type_embeddings.weight", kTypes, kHidden},
    {"embeddings.norm.gamma", "embeddings.LayerNorm.weight", kHidden, nullptr},
    {"embeddings.norm.beta", "embeddings.LayerNorm.bias", kHidden, nullptr},
    {"layer.#.query.weight", "encoder.layer.#.attention.self.query.weight", kHidden, kHidden},
    {"layer.#.query.bias", "encoder.layer.#.attention.self.query.bias", kHidden, nullptr},
    {"layer.#.key.weight", "encoder.layer.#.attention.self.key.weight", kHidden, kHidden},
    {"layer.#.key.bias", "encoder.layer.#.attention.self.key.bias", kHidden, nullptr},
    {"layer.#.value.weight", "encoder.layer.#.attention.self.value.weight", kHidden, kHidden},
    {"layer.#.value.bias", "encoder.layer.#.attention.self.value.bias", kHidden, nullptr},
    {"layer.#.attention_output.weight", "encoder.layer.#.attention.output.dense.weight", kHidden, kHidden},
    {"layer.#.attention_output.bias", "encoder.layer.#.attention.output.dense.bias", kHidden, nullptr},
    {"layer.#.attention_norm.gamma", "encoder.layer.#.attention.output.LayerNorm.weight", kHidden, nullptr},
    {"layer.#.attention_norm.beta", "encoder.layer.#.attention.output.LayerNorm.bias", kHidden, nullptr},
    {"layer.#.ffn1.weight", "encoder.layer.#.intermediate.dense.weight", kInner, kHidden},
    {"layer.#.ffn1.bias", "encoder.layer.#.intermediate.dense.bias", kInner, nullptr},
    {"layer.#.ffn2.weight", "encoder.layer.#.output.dense.weight", kHidden, kInner},
    {"layer.#.ffn2.bias", "encoder.layer.#.output.dense.bias", kHidden, nullptr},
    {"layer.#.ffn_norm.gamma", "encoder.layer.#.output.LayerNorm.weight", kHidden, nullptr},
    {"layer.#.ffn_norm.beta", "encoder.layer.#.output.LayerNorm.bias", kHidden, nullptr},
    {"classifier.weight", "classifier.weight", kLabels, kHidden},
    {"classifier.bias", "classifier.bias", kLabels, nullptr},
};

// DistributedDataParallel saves "module.", some trainers "model."; bare BertModel checkpoints have no "bert.".
constexpr std::string_view kBertPrefixes[] = {"module.", "model.", "bert."};
// Index buffers that older versions saved; the pooler and the heads of pre-training, which tokens' labels do not use.
constexpr std::string_view kBertIgnored[] = {"embeddings.position_ids", "embeddings.token_type_ids", "pooler.", "cls."};

constexpr Family kFamilies[] = {
    {.model_type = "bert",
     .architecture = "Bert",
     .format_family = 0,
     .activation_key = "hidden_act",
     .activation_default = "gelu",
     .epsilon_key = "layer_norm_eps",
     .epsilon_default = 1e-12,
     .dimensions = kBertDimensions,
     .prefixes = kBertPrefixes,
     .tensors = kBertTensors,
     .ignored = kBertIgnored},
};

constexpr std::string_view kHead = "ForTokenClassification";

std::string supported_types() {
  std::vector<std::string_view> types;
  for (const Family& family : kFamilies) types.push_back(family.model_type);
  return fmt::format("{}", fmt::join(types, ", "));
}

std::string architecture_of(const nlohmann::json& config, const std::string& source) {
  const auto found = config.find("architectures");
  if (found == config.end() || found->is_null() || (found->is_array() && found->empty())) return "";
  if (!found->is_array() || !found->front().is_string()) {
    throw Error(ErrorCode::kFormat, fmt::format("{}: architectures: expected an array of strings, found {}", source,
                                                found->dump().substr(0, 80)));
  }
  return found->front().get<std::string>();
}

std::string with_layer(std::string_view pattern, uint32_t layer) {
  std::string name(pattern);
  const size_t at = name.find('#');
  if (at != std::string::npos) name.replace(at, 1, std::to_string(layer));
  return name;
}

std::string_view key_of(const Family& family, uint32_t ModelConfig::*field) {
  return std::find_if(family.dimensions.begin(), family.dimensions.end(),
                      [field](const Dimension& dimension) { return dimension.field == field; })
      ->key;
}

ExpectedTensor expected_tensor(const Family& family, const ModelConfig& config, const TensorPattern& pattern,
                               uint32_t layer) {
  ExpectedTensor tensor{with_layer(pattern.ours, layer), with_layer(pattern.theirs, layer), {config.*pattern.rows}, ""};
  tensor.shape_names = fmt::format("[{} = {}", key_of(family, pattern.rows), config.*pattern.rows);
  if (pattern.columns) {
    tensor.shape.push_back(config.*pattern.columns);
    tensor.shape_names += fmt::format(", {} = {}", key_of(family, pattern.columns), config.*pattern.columns);
  }
  tensor.shape_names += "]";
  return tensor;
}

}  // namespace

const Family& find_family(const nlohmann::json& config, const std::string& source) {
  const std::string architecture = architecture_of(config, source);
  std::string model_type;
  if (const auto found = config.find("model_type"); found != config.end() && !found->is_null()) {
    if (!found->is_string()) {
      throw Error(ErrorCode::kFormat,
                  fmt::format("{}: model_type: expected a string, found {}", source, found->dump().substr(0, 80)));
    }
    model_type = found->get<std::string>();
  }
  const auto matches = [&](const Family& family) {
    if (!model_type.empty()) return family.model_type == model_type;
    return architecture.empty() || architecture.starts_with(family.architecture);
  };
  const auto* const family = std::find_if(std::begin(kFamilies), std::end(kFamilies), matches);
  if (family == std::end(kFamilies)) {
    throw Error(ErrorCode::kUnsupported,
                fmt::format("{}: model family '{}' is not supported by this version (supported: {})", source,
                            model_type.empty() ? architecture : model_type, supported_types()));
  }
  if (!architecture.empty() && !architecture.ends_with(kHead)) {
    throw Error(ErrorCode::kUnsupported,
                fmt::format("{}: architectures: expected {}{}, found {}: only token classifiers are supported", source,
                            family->architecture, kHead, architecture));
  }
  return *family;
}

std::vector<ExpectedTensor> expected_tensors(const Family& family, const ModelConfig& config) {
  std::vector<ExpectedTensor> tensors;
  for (const TensorPattern& pattern : family.tensors) {
    const bool in_layer = pattern.theirs.find('#') != std::string_view::npos;
    const uint32_t count = in_layer ? config.layer_count : 1;
    for (uint32_t layer = 0; layer < count; ++layer) {
      tensors.push_back(expected_tensor(family, config, pattern, layer));
    }
  }
  return tensors;
}

std::string plain_name(const Family& family, std::string_view name) {
  const auto strip_one = [&] {
    return std::any_of(family.prefixes.begin(), family.prefixes.end(), [&](std::string_view prefix) {
      const bool found = name.starts_with(prefix);
      if (found) name.remove_prefix(prefix.size());
      return found;
    });
  };
  while (strip_one()) {
  }
  std::string plain(name);
  const auto rename_end = [&](std::string_view old_end, std::string_view new_end) {
    if (plain.ends_with(old_end)) plain.replace(plain.size() - old_end.size(), old_end.size(), new_end);
  };
  rename_end("LayerNorm.gamma", "LayerNorm.weight");
  rename_end("LayerNorm.beta", "LayerNorm.bias");
  return plain;
}

bool is_ignored(const Family& family, std::string_view plain_name) {
  return std::any_of(family.ignored.begin(), family.ignored.end(),
                     [plain_name](std::string_view start) { return plain_name.starts_with(start); });
}

}  // namespace octobert::converter
