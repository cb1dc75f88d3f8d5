// What a static model has clipped, for people and programs.
#ifndef OCTOBERT_APPS_CLIPPED_H_
#define OCTOBERT_APPS_CLIPPED_H_

#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <vector>

#include "octobert/engine.h"

namespace octobert::apps {

// A fraction of 1; 0 of nothing.
double share(const ClippedShare& site);

// What was counted after `before` was; both in the order of Engine::clipped(), `before` perhaps empty.
std::vector<ClippedShare> clipped_since(std::span<const ClippedShare> before, std::vector<ClippedShare> now);

// The sum of all, and the products that clip most: "  layer.3.ffn2   0.0123 %" a line. Empty for a model without static
// products.
std::string clipped_text(std::span<const ClippedShare> sites);

// {"values", "clipped", "share", "by_product": {"layer.3.ffn2": share}}
nlohmann::ordered_json clipped_json(std::span<const ClippedShare> sites);

}  // namespace octobert::apps

#endif  // OCTOBERT_APPS_CLIPPED_H_
