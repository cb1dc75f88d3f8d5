#include "converter/plan.h"

#include <fmt/format.h>

#include "octobert/error.h"

namespace octobert::converter {
namespace {

using format::Scheme;

Scheme parse_scheme(const std::string& name) {
  if (name == "float") return Scheme::kFloat;
  if (name == "weight-only") return Scheme::kWeightOnly;
  if (name == "dynamic") return Scheme::kDynamic;
  throw Error(ErrorCode::kInvalidInput,
              fmt::format("scheme '{}' is unknown: expected dynamic, weight-only or float", name));
}

}  // namespace

Plan make_plan(const std::string& scheme, uint32_t layer_count) {
  const Scheme product = parse_scheme(scheme);
  // Attention's products have no weights: they are either in integers throughout, or in floats.
  const Scheme attention = product == Scheme::kDynamic ? Scheme::kDynamic : Scheme::kFloat;
  return {.asked_for = product,
          // Kept in floats they would give 3 more of 52,838 words their float label (weight-only, bundled model, E1;
          // with dynamic 2 fewer), and make the file 2.4 times as large.
          .int8_words = product != Scheme::kFloat,
          .layers = std::vector<LayerPlan>(layer_count, {product, attention, product, product, product}),
          // A few outputs (0.01 % of BERT-base's work and bytes) whose error would go straight into the logits.
          .classifier = Scheme::kFloat};
}

std::vector<format::ProductEntry> Plan::product_entries() const {
  std::vector<format::ProductEntry> entries;
  const auto add = [&entries](Scheme scheme) { entries.push_back({static_cast<uint32_t>(scheme), {}}); };
  for (const LayerPlan& layer : layers) {
    for (const Scheme scheme :
         {layer.qkv, layer.attention, layer.attention, layer.attention_output, layer.ffn1, layer.ffn2}) {
      add(scheme);
    }
  }
  add(classifier);
  return entries;
}

}  // namespace octobert::converter
