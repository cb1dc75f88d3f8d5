#include "converter/sqnr.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <limits>
#include <stdexcept>

namespace octobert::converter {
namespace {

// log2 of a normal positive double: exponent, and 2 atanh((m - 1) / (m + 1)) / ln 2 of the fraction m in
// [sqrt(1/2), sqrt(2)), where the argument is at most 0.172 and 0.172^(2 * 12 + 1) is below 1e-19.
double log2_of(double x) {
  constexpr double kSqrt2 = 1.4142135623730951, kLn2 = 0.6931471805599453;
  constexpr int kTerms = 12;
  const auto bits = std::bit_cast<uint64_t>(x);
  int exponent = static_cast<int>(bits >> 52) - 1023;
  double m = std::bit_cast<double>((bits & ((uint64_t{1} << 52) - 1)) | (uint64_t{1023} << 52));
  if (m >= kSqrt2) {
    m *= 0.5;
    ++exponent;
  }
  const double t = (m - 1) / (m + 1), t2 = t * t;
  double series = 0;
  for (int k = kTerms; k >= 0; --k) series = series * t2 + 1.0 / (2 * k + 1);
  return exponent + 2 * t * series / kLn2;
}

}  // namespace

double decibel(double signal, double noise) {
  constexpr double kDecibelPerOctave = 3.010299956639812;  // 10 log10(2)
  constexpr double kSmallest = std::numeric_limits<double>::min();
  if (noise == 0) return std::numeric_limits<double>::infinity();
  return kDecibelPerOctave * (log2_of(std::max(signal, kSmallest)) - log2_of(std::max(noise, kSmallest)));
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
  for (int i = 0; i < quantized.rows; ++i) {
    const auto row = static_cast<size_t>(i);
    add_row(reference.values.data() + row * columns, quantized.data + row * quantized.stride, columns, sums);
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

std::vector<LayerSqnr> SqnrMeter::result() const {
  std::vector<LayerSqnr> result;
  for (const Sums& sums : sums_) result.push_back({sums.name, decibel(sums.signal, sums.noise)});
  return result;
}

SqnrMeter::Sums& SqnrMeter::sums_of(std::string_view name) {
  const auto found = std::find_if(sums_.begin(), sums_.end(), [name](const Sums& s) { return s.name == name; });
  if (found != sums_.end()) return *found;
  sums_.emplace_back().name = name;
  return sums_.back();
}

}  // namespace octobert::converter
