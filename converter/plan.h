// Which product of the model is computed how: a scheme's name, product by product. What other schemes, or a policy
// chosen product by product, would change is here.
#ifndef OCTOBERT_CONVERTER_PLAN_H_
#define OCTOBERT_CONVERTER_PLAN_H_

#include <cstdint>
#include <string>
#include <vector>

#include "engine/format.h"

namespace octobert::converter {

struct LayerPlan {
  format::Scheme qkv, attention, attention_output, ffn1, ffn2;  // attention: its two products, scores and context
};

struct Plan {
  format::Scheme asked_for;
  bool int8_words;  // word embeddings as int8 with a scale a row
  std::vector<LayerPlan> layers;
  format::Scheme classifier;

  // The scheme of the product that reads layer `index`'s output.
  format::Scheme after_layer(size_t index) const {
    return index + 1 < layers.size() ? layers[index + 1].qkv : classifier;
  }
  // As the file has it: 6 a layer, then the classifier.
  std::vector<format::ProductEntry> product_entries() const;
};

// "dynamic", "weight-only", "float". Throws Error(kInvalidInput).
Plan make_plan(const std::string& scheme, uint32_t layer_count);

}  // namespace octobert::converter

#endif  // OCTOBERT_CONVERTER_PLAN_H_
