// SiteStatistics: growing histograms, channel by channel.
#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>

#include "converter/blocks.h"
#include "converter/observers.h"
#include "octobert/error.h"

namespace octobert::converter {
namespace {

// Channels that a task takes together: a cache line of each row, and 32 KB of histograms.
constexpr size_t kChannelsAtOnce = 16;

// The smallest power of two that is >= x > 0, of at least a channel's first radius.
float power_of_two_above(float x) {
  float radius = 0x1p-20f;
  while (radius < x) radius *= 2;
  return radius;
}

}  // namespace

SiteStatistics::SiteStatistics(int columns)
    : columns_(columns), channels_(index(columns)), bins_(index(columns) * kBins) {}

float SiteStatistics::absmax(int channel) const { return std::max(-min(channel), max(channel)); }

double SiteStatistics::mean(int channel) const {
  return rows_ == 0 ? 0 : channels_[index(channel)].sum / static_cast<double>(rows_);
}

double SiteStatistics::mean_square(int channel) const {
  constexpr double kHalf = double{kBins} / 2;
  const double width = double{radius(channel)} / kHalf;
  double sum = 0;
  const std::span<const uint32_t> bins = histogram(channel);
  for (size_t i = 0; i < bins.size(); ++i) {
    const double middle = (static_cast<double>(i) + 0.5 - kHalf) * width;
    sum += middle * middle * bins[i];
  }
  return rows_ == 0 ? 0 : sum / static_cast<double>(rows_);
}

// Twice the radius: the old bins fill the middle, two in one.
void SiteStatistics::grow(size_t channel, float radius) {
  uint32_t* bins = bins_.data() + channel * kBins;
  while (channels_[channel].radius < radius) {
    channels_[channel].radius *= 2;
    std::vector<uint32_t> halved(kBins);
    for (size_t i = 0; i < kBins / 2; ++i) halved[kBins / 4 + i] = bins[2 * i] + bins[2 * i + 1];
    std::copy(halved.begin(), halved.end(), bins);
  }
}

void SiteStatistics::add_channel(size_t channel, const float* data, size_t stride, std::span<const int32_t> offsets) {
  constexpr float kMovingAverageWeight = 0.01f;
  Channel& c = channels_[channel];
  for (size_t text = 0; text + 1 < offsets.size(); ++text) {
    const auto first = static_cast<size_t>(offsets[text] - offsets.front());
    const auto last = static_cast<size_t>(offsets[text + 1] - offsets.front());
    if (first == last) continue;
    float low = data[first * stride + channel], high = low;
    double sum = 0;
    for (size_t row = first; row < last; ++row) {
      const float x = data[row * stride + channel];
      c.finite = c.finite && std::isfinite(x);
      low = x < low ? x : low;
      high = x > high ? x : high;
      sum += x;
    }
    if (!c.finite) return;
    if (!c.seen) c.min = c.average_min = low, c.max = c.average_max = high;
    c.seen = true;
    c.min = std::min(c.min, low);
    c.max = std::max(c.max, high);
    c.average_min += kMovingAverageWeight * (low - c.average_min);
    c.average_max += kMovingAverageWeight * (high - c.average_max);
    c.sum += sum;
    const float magnitude = std::max(std::fabs(low), std::fabs(high));
    if (magnitude > c.radius) grow(channel, power_of_two_above(magnitude));
    uint32_t* bins = bins_.data() + channel * kBins;
    constexpr float kHalf = static_cast<float>(kBins) / 2;
    const float per_unit = kHalf / c.radius;  // exact: both are powers of two
    for (size_t row = first; row < last; ++row) {
      const int bin = static_cast<int>(data[row * stride + channel] * per_unit + kHalf);
      ++bins[std::clamp(bin, 0, kBins - 1)];
    }
  }
}

void SiteStatistics::add(Executor& executor, const float* data, size_t stride, std::span<const int32_t> offsets) {
  for_each_block(executor, 0, channels_.size(), kChannelsAtOnce, [&](size_t first, size_t last) {
    for (size_t channel = first; channel < last; ++channel) add_channel(channel, data, stride, offsets);
  });
  rows_ += static_cast<uint64_t>(offsets.back() - offsets.front());
  const auto bad = std::find_if(channels_.begin(), channels_.end(), [](const Channel& c) { return !c.finite; });
  if (bad == channels_.end()) return;
  throw Error(ErrorCode::kNumeric,
              fmt::format("calibration: a value of channel {} is not finite", bad - channels_.begin()));
}

}  // namespace octobert::converter
