#include "apps/clipped.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

namespace octobert::apps {
namespace {

ClippedShare total(std::span<const ClippedShare> sites) {
  ClippedShare all{"all", 0, 0};
  for (const ClippedShare& site : sites) {
    all.values += site.values;
    all.clipped += site.clipped;
  }
  return all;
}

}  // namespace

double share(const ClippedShare& site) {
  return site.values == 0 ? 0 : static_cast<double>(site.clipped) / static_cast<double>(site.values);
}

std::vector<ClippedShare> clipped_since(std::span<const ClippedShare> before, std::vector<ClippedShare> now) {
  for (size_t i = 0; i < before.size(); ++i) {
    now[i].values -= before[i].values;
    now[i].clipped -= before[i].clipped;
  }
  return now;
}

std::string clipped_text(std::span<const ClippedShare> sites) {
  constexpr size_t kShown = 8;
  if (sites.empty()) return {};
  std::vector<ClippedShare> sorted(sites.begin(), sites.end());
  std::stable_sort(sorted.begin(), sorted.end(),
                   [](const ClippedShare& a, const ClippedShare& b) { return share(a) > share(b); });
  sorted.resize(std::min(sorted.size(), kShown));
  sorted.insert(sorted.begin(), total(sites));
  std::string text = "activations outside their calibrated range, most first:\n";
  for (const ClippedShare& site : sorted) {
    text += fmt::format("  {:<32} {:>8.4f} % of {}\n", site.product, 100 * share(site), site.values);
  }
  return text;
}

nlohmann::ordered_json clipped_json(std::span<const ClippedShare> sites) {
  const ClippedShare all = total(sites);
  nlohmann::ordered_json json = {{"values", all.values},
                                 {"clipped", all.clipped},
                                 {"share", share(all)},
                                 {"by_product", nlohmann::json::object()}};
  for (const ClippedShare& site : sites) json["by_product"][site.product] = share(site);
  return json;
}

}  // namespace octobert::apps
