#include "converter/imported_recipe.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "kernels/layout.h"

namespace octobert::converter {
namespace {

using format::Scheme;

struct Product {
  std::vector<std::string> modules;  // "layer.0.query", ...
  size_t columns;
};

std::vector<Product> products(const Checkpoint& checkpoint, uint32_t layer) {
  const size_t hidden = checkpoint.config().hidden_size, inner = checkpoint.config().intermediate_size;
  const auto name = [layer](const char* part) { return fmt::format("layer.{}.{}", layer, part); };
  return {{{name("query"), name("key"), name("value")}, hidden},
          {{name("attention_output")}, hidden},
          {{name("ffn1")}, hidden},
          {{name("ffn2")}, inner}};
}

// The grid of one matrix' input.
StaticInput static_input(const ImportedRange& range, const std::vector<float>& pre, size_t columns) {
  StaticInput input;
  // An unsigned range that begins at 0 has its zero point at -128, one below the lowest level: the grid moves up by
  // one.
  input.zero = std::clamp(range.zero_point, -127, 127);
  input.scale.resize(columns);
  input.inv.resize(padded_outputs(columns));
  for (size_t k = 0; k < columns; ++k) {
    const float multiplier = pre.empty() ? 1.0f : pre[k];
    input.scale[k] = range.scale / multiplier;
    input.inv[k] = pre.empty() ? 1.0f / range.scale : multiplier / range.scale;
  }
  return input;
}

// One grid if the inputs of all of the product's matrices have the same, else one for each, if a matrix is whole panels
// of outputs; none if one of them has no range.
std::vector<StaticInput> static_inputs(const Checkpoint& checkpoint, const Product& product) {
  std::vector<StaticInput> inputs;
  for (const std::string& module : product.modules) {
    const auto range = checkpoint.input_range(module);
    if (!range) return {};
    const std::vector<float> pre = checkpoint.quantization().pre_quant_scale(module, product.columns);
    inputs.push_back(static_input(*range, pre, product.columns));
  }
  const bool equal = std::all_of(inputs.begin(), inputs.end(), [&](const auto& one) { return one == inputs.front(); });
  if (equal) inputs.resize(1);
  // Query's, key's and value's matrices have as many outputs as inputs.
  if (!equal && product.columns % kPanelWidth != 0) inputs.clear();
  return inputs;
}

// Scales of what query, key and value give: [heads], [heads], [hidden]; empty if attention can't be static.
std::vector<std::vector<float>> attention_scales(const Checkpoint& checkpoint, uint32_t layer) {
  std::vector<std::vector<float>> scales;
  for (const char* part : {"query", "key", "value"}) {
    const size_t count = part[0] == 'v' ? checkpoint.config().hidden_size : checkpoint.config().head_count;
    scales.push_back(checkpoint.quantization().output_scales(fmt::format("layer.{}.{}", layer, part), count));
    if (scales.back().empty()) return {};
  }
  return scales;
}

void fix_attention(const std::vector<std::vector<float>>& scales, LayerRecipe& recipe) {
  const std::vector<float>&query = scales[0], &key = scales[1], &value = scales[2];
  const size_t hidden = value.size(), head_dim = hidden / query.size();
  recipe.qkv_output_inv.assign(padded_outputs(3 * hidden), 0.0f);
  for (size_t c = 0; c < hidden; ++c) {
    recipe.qkv_output_inv[c] = 1.0f / query[c / head_dim];
    recipe.qkv_output_inv[hidden + c] = 1.0f / key[c / head_dim];
    recipe.qkv_output_inv[2 * hidden + c] = 1.0f / value[c];
  }
  for (size_t h = 0; h < query.size(); ++h) recipe.scores_factor.push_back(query[h] * key[h]);
  recipe.value_scale = value;
}

}  // namespace

Plan imported_plan(const Checkpoint& checkpoint, std::vector<std::string>& warnings) {
  const uint32_t layers = checkpoint.config().layer_count;
  Plan plan = make_plan("static", layers);
  std::vector<std::string> dynamic;
  for (uint32_t layer = 0; layer < layers; ++layer) {
    LayerPlan& products_of = plan.layers[layer];
    const std::pair<Scheme*, const char*> places[] = {{&products_of.qkv, "qkv"},
                                                      {&products_of.attention_output, "attention_output"},
                                                      {&products_of.ffn1, "ffn1"},
                                                      {&products_of.ffn2, "ffn2"}};
    const std::vector<Product> all = products(checkpoint, layer);
    for (size_t i = 0; i < all.size(); ++i) {
      if (!static_inputs(checkpoint, all[i]).empty()) continue;
      *places[i].first = Scheme::kDynamic;
      dynamic.push_back(fmt::format("layer.{}.{}", layer, places[i].second));
    }
    if (attention_scales(checkpoint, layer).empty()) {
      products_of.attention = Scheme::kDynamic;
      dynamic.push_back(fmt::format("layer.{}.scores", layer));
      dynamic.push_back(fmt::format("layer.{}.context", layer));
    }
  }
  if (!dynamic.empty()) {
    plan.asked_for = Scheme::kHybrid;
    warnings.push_back(fmt::format(
        "the checkpoint has no range for what these products read, or several for query, key and value of a "
        "hidden size that is no multiple of {}: they are dynamic: {}",
        kPanelWidth, fmt::join(dynamic, ", ")));
  }
  return plan;
}

bool has_imported_ranges(const Checkpoint& checkpoint) {
  if (checkpoint.quantization().empty()) return false;
  std::vector<std::string> warnings;
  return imported_plan(checkpoint, warnings).has(Scheme::kStatic);
}

LayerRecipe imported_recipe(const Checkpoint& checkpoint, uint32_t index) {
  LayerRecipe recipe;
  ProductRecipe* const recipes[] = {&recipe.qkv, &recipe.attention_output, &recipe.ffn1, &recipe.ffn2};
  const std::vector<Product> all = products(checkpoint, index);
  for (size_t i = 0; i < all.size(); ++i) recipes[i]->static_inputs = static_inputs(checkpoint, all[i]);
  if (const auto scales = attention_scales(checkpoint, index); !scales.empty()) fix_attention(scales, recipe);
  return recipe;
}

}  // namespace octobert::converter
