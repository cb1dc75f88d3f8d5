// Which product of the model is computed how: a scheme's name, or a policy product by product.
#ifndef OCTOBERT_CONVERTER_PLAN_H_
#define OCTOBERT_CONVERTER_PLAN_H_

#include <cstdint>
#include <string>
#include <vector>

#include "converter/policy.h"
#include "engine/format.h"

namespace octobert::converter {

struct LayerPlan {
  format::Scheme qkv, attention, attention_output, ffn1, ffn2;  // attention: its two products, scores and context
  int group_size = kDefaultGroupSize;                           // of those that are weight-only-int4
};

struct Plan {
  format::Scheme asked_for;
  bool int8_words;  // word embeddings as int8 with a scale a row
  std::vector<LayerPlan> layers;
  format::Scheme classifier;
  int group_size = kDefaultGroupSize;

  // The scheme of the product that reads layer `index`'s output.
  format::Scheme after_layer(size_t index) const {
    return index + 1 < layers.size() ? layers[index + 1].qkv : classifier;
  }
  bool has(format::Scheme scheme) const;  // a product of it
  // As the file has it: 6 a layer, then the classifier.
  std::vector<format::ProductEntry> product_entries() const;
};

// A scheme's name (policy.h, parse_scheme) for every product. Attention's two, which have no weights, are then static,
// dynamic or float; the classifier stays float. Throws Error(kInvalidInput).
Plan make_plan(const std::string& scheme, uint32_t layer_count, int group_size = kDefaultGroupSize);

// Throws Error(kInvalidInput) for a product that the model does not have, or that has no scheme; for scores and
// context that differ, or that are to be weight-only. source: the policy's file, for such errors.
Plan make_plan(const Policy& policy, uint32_t layer_count, const std::string& source = "policy");

// The plan as a policy: every product by name.
Policy make_policy(const Plan& plan);

}  // namespace octobert::converter

#endif  // OCTOBERT_CONVERTER_PLAN_H_
