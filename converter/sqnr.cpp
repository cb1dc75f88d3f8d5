#include "converter/sqnr.h"

#include <algorithm>
#include <array>
#include <limits>
#include <stdexcept>

#include "converter/exact_math.h"

namespace octobert::converter {
double decibel(double signal, double noise) {
  constexpr double kDecibelPerOctave = 3.010299956639812;  // 10 log10(2)
  constexpr double kSmallest = std::numeric_limits<double>::min();
  if (noise == 0) return std::numeric_limits<double>::infinity();
  return kDecibelPerOctave * (log2_exact(std::max(signal, kSmallest)) - log2_exact(std::max(noise, kSmallest)));
}

void SqnrMeter::expect(const Intermediate& reference) {
  if (compared_ == expected_.size()) {  // all of the last part: its memory is used again
    expected_.clear();
    compared_ = 0;
  }
  Expected& kept = expected_.emplace_back();
  kept.name = reference.name;
  const auto columns = static_cast<size_t>(reference.columns);
  kept.values.reserve(static_cast<size_t>(reference.rows) * columns);
  for (int i = 0; i < reference.rows; ++i) {
    const float* row = reference.data + static_cast<size_t>(i) * reference.stride;
    kept.values.insert(kept.values.end(), row, row + columns);
  }
}

void SqnrMeter::compare(const Intermediate& quantized) {
  if (compared_ == expected_.size() || expected_[compared_].name != quantized.name) {
    throw std::logic_error("SqnrMeter: the two models' intermediate results differ in order");
  }
  const Expected& reference = expected_[compared_++];
  Sums& sums = sums_of(quantized.name);
  const auto columns = static_cast<size_t>(quantized.columns);
  const bool up_to_factors = sums.name.ends_with(".qkv") || sums.name.ends_with(".context");
  if (up_to_factors) sums.columns.resize(columns);
  for (int i = 0; i < quantized.rows; ++i) {
    const float* expected = reference.values.data() + static_cast<size_t>(i) * columns;
    const float* found = quantized.data + static_cast<size_t>(i) * quantized.stride;
    up_to_factors ? add_to_columns(expected, found, sums.columns) : add_row(expected, found, columns, sums);
  }
}

// In 8 partial sums, one after the other: a fixed order, and no chain of additions that all wait for each other.
void SqnrMeter::add_row(const float* expected, const float* found, size_t columns, Sums& sums) {
  std::array<double, 8> signal{}, noise{};
  for (size_t i = 0; i < columns; ++i) {
    const double value = expected[i], difference = value - found[i];
    signal[i % 8] += value * value;
    noise[i % 8] += difference * difference;
  }
  for (const double part : signal) sums.signal += part;
  for (const double part : noise) sums.noise += part;
}

void SqnrMeter::add_to_columns(const float* expected, const float* found, std::vector<Column>& columns) {
  for (size_t i = 0; i < columns.size(); ++i) {
    const double x = expected[i], y = found[i];
    columns[i].xx += x * x;
    columns[i].xy += x * y;
    columns[i].yy += y * y;
    columns[i].noise += (x - y) * (x - y);
  }
}

std::vector<LayerSqnr> SqnrMeter::result() const {
  std::vector<LayerSqnr> result;
  for (const Sums& sums : sums_) {
    double signal = sums.signal, noise = sums.noise;
    for (const Column& c : sums.columns) {
      const double factor = c.yy == 0 ? 1 : c.xy / c.yy;  // least sum of (x - factor y)^2: xx - factor xy
      const bool one = factor >= 1 - 1.0 / 64 && factor <= 1 + 1.0 / 64;
      signal += c.xx;
      noise += one ? c.noise : std::max(0.0, c.xx - factor * c.xy);
    }
    result.push_back({sums.name, decibel(signal, noise)});
  }
  return result;
}

SqnrMeter::Sums& SqnrMeter::sums_of(std::string_view name) {
  const auto found = std::find_if(sums_.begin(), sums_.end(), [name](const Sums& s) { return s.name == name; });
  if (found != sums_.end()) return *found;
  sums_.emplace_back().name = name;
  return sums_.back();
}

}  // namespace octobert::converter
