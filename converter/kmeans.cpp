#include "converter/kmeans.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

namespace octobert::converter {
namespace {

constexpr int kBins = 8192;
constexpr int kMaxRounds = 300;  // far more than one-dimensional data wants; it stops where nothing moves

double center(size_t bin) { return (static_cast<double>(bin) + 0.5) * (2.0 / kBins) - 1; }

}  // namespace

int nearest_entry(const Codebook& codebook, double x) {
  int best = 0;
  for (int i = 1; i < 16; ++i) {
    const auto distance = [&](int entry) { return std::fabs(x - double{codebook[static_cast<size_t>(entry)]}); };
    if (distance(i) < distance(best)) best = i;
  }
  return best;
}

Codebook kmeans16(std::span<const float> values) {
  std::vector<uint64_t> counts(kBins);
  for (const float value : values) {
    const int bin = static_cast<int>((value + 1.0f) * (kBins / 2));
    ++counts[static_cast<size_t>(std::clamp(bin, 0, kBins - 1))];
  }
  const auto filled = [](uint64_t count) { return count > 0; };
  const auto low = static_cast<size_t>(std::find_if(counts.begin(), counts.end(), filled) - counts.begin());
  Codebook codebook{};
  if (low == counts.size()) return codebook;
  const auto high =
      counts.size() - 1 - static_cast<size_t>(std::find_if(counts.rbegin(), counts.rend(), filled) - counts.rbegin());
  for (size_t i = 0; i < codebook.size(); ++i) {
    codebook[i] = static_cast<float>(center(low) + (center(high) - center(low)) * static_cast<double>(i) / 15);
  }
  for (int round = 0; round < kMaxRounds; ++round) {
    std::array<double, 16> sum{};
    std::array<uint64_t, 16> members{};
    size_t entry = 0;  // ascending, as the bins are
    for (size_t bin = low; bin <= high; ++bin) {
      while (entry + 1 < 16 &&
             std::fabs(center(bin) - double{codebook[entry + 1]}) < std::fabs(center(bin) - double{codebook[entry]})) {
        ++entry;
      }
      sum[entry] += static_cast<double>(counts[bin]) * center(bin);
      members[entry] += counts[bin];
    }
    Codebook moved = codebook;
    for (size_t i = 0; i < 16; ++i) {
      if (members[i] > 0) moved[i] = static_cast<float>(sum[i] / static_cast<double>(members[i]));
    }
    if (moved == codebook) break;
    codebook = moved;
  }
  return codebook;
}

}  // namespace octobert::converter
