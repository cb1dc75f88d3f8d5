#include "converter/checkpoint_config.h"

#include <fmt/format.h>

#include <cmath>
#include <string_view>
#include <utility>

#include "converter/import_quantized.h"
#include "kernels/kernels.h"
#include "octobert/error.h"

namespace octobert::converter {
namespace {

using nlohmann::json;

// The names of transformers' activations.py that compute one of our functions (same formula, SPECS of the reference).
constexpr std::pair<std::string_view, Activation> kActivations[] = {
    {"gelu", Activation::kGelu},
    {"gelu_python", Activation::kGelu},
    {"gelu_new", Activation::kGeluTanh},
    {"gelu_pytorch_tanh", Activation::kGeluTanh},
    {"gelu_python_tanh", Activation::kGeluTanh},
    {"gelu_fast", Activation::kGeluTanh},
    {"gelu_accurate", Activation::kGeluTanh},
    {"relu", Activation::kRelu},
};

std::string excerpt(const json& value) { return value.dump().substr(0, 80); }

// Null if the key is missing or null, which the reference treats alike.
const json* find(const json& config, std::string_view key) {
  const auto found = config.find(key);
  return found == config.end() || found->is_null() ? nullptr : &*found;
}

[[noreturn]] void refuse(const std::string& source, std::string_view key, const std::string& found,
                         std::string_view expected) {
  throw Error(ErrorCode::kUnsupported,
              fmt::format("{}: {}: {} is not supported by this version (expected {})", source, key, found, expected));
}

uint32_t read_dimension(const json& config, const Dimension& dimension, const std::string& source) {
  const json* value = find(config, dimension.key);
  if (!value) return dimension.default_value;
  if (!value->is_number_unsigned() || *value == 0 || *value > dimension.max) {
    throw Error(ErrorCode::kFormat, fmt::format("{}: {}: expected an integer from 1 to {}, found {}", source,
                                                dimension.key, dimension.max, excerpt(*value)));
  }
  return value->get<uint32_t>();
}

float read_epsilon(const json& config, const Family& family, const std::string& source) {
  const json* value = find(config, family.epsilon_key);
  if (!value) return static_cast<float>(family.epsilon_default);
  const auto epsilon = value->is_number() ? static_cast<float>(value->get<double>()) : -1.0f;
  if (!(epsilon >= 0) || !std::isfinite(epsilon)) {
    throw Error(ErrorCode::kFormat, fmt::format("{}: {}: expected a finite number from 0 on, found {}", source,
                                                family.epsilon_key, excerpt(*value)));
  }
  return epsilon;
}

Activation read_activation(const json& config, const Family& family, const std::string& source) {
  const json* value = find(config, family.activation_key);
  if (value && !value->is_string()) refuse(source, family.activation_key, excerpt(*value), "the name of an activation");
  const std::string name = value ? value->get<std::string>() : std::string(family.activation_default);
  for (const auto& [known, activation] : kActivations) {
    if (known == name) return activation;
  }
  refuse(source, family.activation_key, fmt::format("'{}'", name),
         "gelu, gelu_python, gelu_new, gelu_pytorch_tanh, gelu_python_tanh, gelu_fast, gelu_accurate or relu");
}

void refuse_other_functions(const json& config, const std::string& source) {
  if (const json* value = find(config, "position_embedding_type"); value && *value != "absolute") {
    refuse(source, "position_embedding_type", excerpt(*value), "\"absolute\"");
  }
  for (const char* key : {"is_decoder", "add_cross_attention", "is_encoder_decoder"}) {
    if (const json* value = find(config, key); value && *value != false) refuse(source, key, excerpt(*value), "false");
  }
  if (const json* value = find(config, "pruned_heads"); value && !value->empty()) {
    refuse(source, "pruned_heads", excerpt(*value), "none");
  }
  if (const json* value = find(config, "quantization_config")) check_quantization_config(*value, source);
}

}  // namespace

format::ModelConfig model_config(const json& config, const Family& family, const std::string& source,
                                 std::vector<std::string>& warnings) {
  refuse_other_functions(config, source);
  format::ModelConfig model = {};
  model.family = family.format_family;
  for (const Dimension& dimension : family.dimensions) {
    if (dimension.default_value != 0) model.*dimension.field = read_dimension(config, dimension, source);
  }
  if (model.head_count == 0 || model.hidden_size % model.head_count != 0) {
    throw Error(ErrorCode::kFormat,
                fmt::format("{}: num_attention_heads: expected a divisor of hidden_size = {}, found {}", source,
                            model.hidden_size, model.head_count));
  }
  model.activation = static_cast<uint32_t>(read_activation(config, family, source));
  model.layer_norm_eps = read_epsilon(config, family, source);
  if (find(config, "auto_map")) {
    warnings.push_back(
        fmt::format("{}: auto_map names code of the checkpoint's own, which is not run: the model is "
                    "taken for a plain {}",
                    source, family.model_type));
  }
  return model;
}

}  // namespace octobert::converter
