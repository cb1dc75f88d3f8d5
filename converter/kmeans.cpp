#include "converter/kmeans.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <vector>

namespace octobert::converter {
namespace {

constexpr size_t kBins = 8192, kEntries = 16;

double center(size_t bin) { return (static_cast<double>(bin) + 0.5) * (2.0 / kBins) - 1; }

// The best split of bins [0, i) into clusters, one more at a time.
class Clusters {
 public:
  explicit Clusters(std::span<const double> counts) : count_(kBins + 1), sum_(kBins + 1), square_(kBins + 1) {
    for (size_t i = 0; i < kBins; ++i) {
      const auto count = counts[i];
      count_[i + 1] = count_[i] + count;
      sum_[i + 1] = sum_[i] + count * center(i);
      square_[i + 1] = square_[i] + count * center(i) * center(i);
    }
    for (size_t i = 0; i <= kBins; ++i) best_.push_back(error(0, i));
  }

  // With one cluster more: where it begins, for each i.
  std::vector<size_t> split() {
    std::vector<size_t> begin(kBins + 1);
    next_.assign(kBins + 1, 0);
    solve(0, kBins, 0, kBins, begin);
    best_.swap(next_);
    return begin;
  }

  double mean(size_t begin, size_t end) const {
    const double count = count_[end] - count_[begin];
    return count == 0 ? std::numeric_limits<double>::quiet_NaN() : (sum_[end] - sum_[begin]) / count;
  }

 private:
  // Squared error of bins [begin, end) as one cluster.
  double error(size_t begin, size_t end) const {
    const double count = count_[end] - count_[begin], sum = sum_[end] - sum_[begin];
    return count == 0 ? 0 : std::max(0.0, square_[end] - square_[begin] - sum * sum / count);
  }

  // For i in [first, last]: the last cluster begins in [low, high], and no earlier than for smaller i.
  void solve(size_t first, size_t last, size_t low, size_t high, std::vector<size_t>& begin) {
    const size_t middle = first + (last - first) / 2;
    double least = std::numeric_limits<double>::infinity();
    for (size_t j = low; j <= std::min(middle, high); ++j) {
      const double found = best_[j] + error(j, middle);
      if (found >= least) continue;
      least = found;
      begin[middle] = j;
    }
    next_[middle] = least;
    if (middle > first) solve(first, middle - 1, low, begin[middle], begin);
    if (middle < last) solve(middle + 1, last, begin[middle], high, begin);
  }

  std::vector<double> count_, sum_, square_;  // of bins [0, i)
  std::vector<double> best_, next_;           // least error of bins [0, i)
};

}  // namespace

int nearest_entry(const Codebook& codebook, double x) {
  int best = 0;
  for (int i = 1; i < static_cast<int>(kEntries); ++i) {
    const auto distance = [&](int entry) { return std::fabs(x - double{codebook[static_cast<size_t>(entry)]}); };
    if (distance(i) < distance(best)) best = i;
  }
  return best;
}

Codebook kmeans16(std::span<const float> values, std::span<const float> weight) {
  std::vector<double> counts(kBins);
  for (size_t i = 0; i < values.size(); ++i) {
    const int bin = static_cast<int>((values[i] + 1.0f) * (static_cast<float>(kBins) / 2));
    counts[static_cast<size_t>(std::clamp(bin, 0, static_cast<int>(kBins) - 1))] += double{weight[i]};
  }
  Clusters clusters(counts);
  std::vector<std::vector<size_t>> begins(kEntries);
  for (size_t i = 1; i < kEntries; ++i) begins[i] = clusters.split();
  Codebook codebook{};
  size_t end = kBins;
  float above = 1;  // an entry without values is as the one above it
  for (size_t i = kEntries; i-- > 0;) {
    const size_t begin = i == 0 ? 0 : begins[i][end];
    const double mean = clusters.mean(begin, end);
    codebook[i] = above = std::isnan(mean) ? above : static_cast<float>(mean);
    end = begin;
  }
  return codebook;
}

}  // namespace octobert::converter
