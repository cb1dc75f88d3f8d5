#include "converter/plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "octobert/error.h"

namespace octobert::converter {
namespace {

using format::Scheme;

const char* name_of(Scheme scheme) { return format::scheme_name(static_cast<uint32_t>(scheme)); }

// What attention's products, which have no weights, are when the others are `scheme`: integers throughout, or floats.
Scheme attention_of(Scheme scheme) {
  return scheme == Scheme::kDynamic || scheme == Scheme::kStatic ? scheme : Scheme::kFloat;
}

std::string product_name(size_t layer, const char* part) { return fmt::format("layer.{}.{}", layer, part); }

// Takes products out of a policy, so that what is left is what the model does not have.
class PolicyReader {
 public:
  PolicyReader(const Policy& policy, const std::string& source)
      : policy_(policy), source_(source), left_(policy.products) {}

  Scheme take(const std::string& product) {
    const auto found = left_.find(product);
    if (found == left_.end()) {
      if (policy_.default_scheme) return *policy_.default_scheme;
      throw Error(ErrorCode::kInvalidInput,
                  fmt::format("{}: product '{}' has no scheme, and there is no default", source_, product));
    }
    const Scheme scheme = found->second;
    left_.erase(found);
    return scheme;
  }

  Scheme take_attention(size_t layer) {
    const std::string scores_name = product_name(layer, "scores"), context_name = product_name(layer, "context");
    const bool named = left_.contains(scores_name) || left_.contains(context_name);
    const Scheme scores = take(scores_name), context = take(context_name);
    if (!named) return attention_of(scores);
    if (scores != context) {
      throw Error(ErrorCode::kInvalidInput,
                  fmt::format("{}: products '{}' ({}) and '{}' ({}) differ: the engine knows both static, both "
                              "dynamic or both float",
                              source_, scores_name, name_of(scores), context_name, name_of(context)));
    }
    if (scores != attention_of(scores)) {
      throw Error(ErrorCode::kInvalidInput, fmt::format("{}: product '{}' is {}, but has no weights: expected "
                                                        "static, dynamic or float",
                                                        source_, scores_name, name_of(scores)));
    }
    return scores;
  }

  void require_empty(uint32_t layer_count) const {
    if (left_.empty()) return;
    throw Error(ErrorCode::kInvalidInput, fmt::format("{}: products: the model, of {} layers, has no '{}'", source_,
                                                      layer_count, left_.begin()->first));
  }

 private:
  const Policy& policy_;
  const std::string& source_;
  std::map<std::string, Scheme> left_;
};

}  // namespace

Plan make_plan(const std::string& scheme, uint32_t layer_count, int group_size) {
  const Scheme product = parse_scheme(scheme, "scheme");
  if (!is_group_size(group_size)) {
    throw Error(ErrorCode::kInvalidInput, fmt::format("group size is {}, expected {}", group_size, group_size_rule()));
  }
  return {.asked_for = product,
          // Kept in floats they would give 3 more of 52,838 words their float label (weight-only, bundled model, E1;
          // with dynamic 2 fewer), and make the file 2.4 times as large.
          .int8_words = product != Scheme::kFloat,
          .layers = std::vector<LayerPlan>(layer_count,
                                           {product, attention_of(product), product, product, product, group_size}),
          // A few outputs (0.01 % of BERT-base's work and bytes) whose error would go straight into the logits.
          .classifier = Scheme::kFloat,
          .group_size = group_size};
}

Plan make_plan(const Policy& policy, uint32_t layer_count, const std::string& source) {
  PolicyReader reader(policy, source);
  Plan plan{.asked_for = Scheme::kHybrid,
            .int8_words = true,
            .layers = {},
            .classifier = Scheme::kFloat,
            .group_size = policy.group_size};
  for (size_t l = 0; l < layer_count; ++l) {
    const Scheme attention = reader.take_attention(l);
    plan.layers.push_back({.qkv = reader.take(product_name(l, "qkv")),
                           .attention = attention,
                           .attention_output = reader.take(product_name(l, "attention_output")),
                           .ffn1 = reader.take(product_name(l, "ffn1")),
                           .ffn2 = reader.take(product_name(l, "ffn2")),
                           .group_size = policy.group_size});
  }
  // A default is of the products that are many; the classifier has to be named.
  if (policy.products.contains("classifier") || !policy.default_scheme) plan.classifier = reader.take("classifier");
  reader.require_empty(layer_count);
  return plan;
}

Policy make_policy(const Plan& plan) {
  Policy policy;
  policy.group_size = plan.group_size;
  for (size_t l = 0; l < plan.layers.size(); ++l) {
    const LayerPlan& layer = plan.layers[l];
    policy.products[product_name(l, "qkv")] = layer.qkv;
    policy.products[product_name(l, "scores")] = layer.attention;
    policy.products[product_name(l, "context")] = layer.attention;
    policy.products[product_name(l, "attention_output")] = layer.attention_output;
    policy.products[product_name(l, "ffn1")] = layer.ffn1;
    policy.products[product_name(l, "ffn2")] = layer.ffn2;
  }
  policy.products["classifier"] = plan.classifier;
  return policy;
}

bool Plan::has(Scheme scheme) const {
  return classifier == scheme || std::any_of(layers.begin(), layers.end(), [scheme](const LayerPlan& layer) {
           return layer.qkv == scheme || layer.attention == scheme || layer.attention_output == scheme ||
                  layer.ffn1 == scheme || layer.ffn2 == scheme;
         });
}

std::vector<format::ProductEntry> Plan::product_entries() const {
  std::vector<format::ProductEntry> entries;
  const auto add = [this, &entries](Scheme scheme) {
    const auto group = static_cast<uint32_t>(scheme == Scheme::kWeightOnlyInt4 ? group_size : 0);
    entries.push_back({static_cast<uint32_t>(scheme), group, {}});
  };
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
