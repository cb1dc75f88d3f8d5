// What calibration sees of the float model's activations, and how a range for eight bits is chosen from it.
//
// Every channel has its own histogram, whose range doubles when a value falls outside: memory does not depend on how
// much is seen, one pass is enough, and the histogram of a tensor whose channels are scaled afterwards (SmoothQuant)
// can still be made. A channel is one task's alone and sees its values in the order of the rows, so that no number
// depends on the threads.
#ifndef OCTOBERT_CONVERTER_OBSERVERS_H_
#define OCTOBERT_CONVERTER_OBSERVERS_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "octobert/thread_pool.h"

namespace octobert::converter {

enum class ObserverKind {
  kMinMax,         // the smallest and the largest value
  kMovingAverage,  // of each text's smallest and largest, with weight 0.01 for the new one (PyTorch's default)
  kPercentile,     // all but 0.01 % of the values
  kMse,            // least mean squared error, of rounding and of clipping
  kKl,             // least Kullback-Leibler divergence (Migacz 2017, "8-bit Inference with TensorRT")
};
// "minmax", "moving-average", "percentile", "mse", "kl". Throws Error(kInvalidInput).
ObserverKind parse_observer(std::string_view name);
std::string_view observer_name(ObserverKind kind);

// Statistics of one place of the model, [rows][columns], channel by channel.
class SiteStatistics {
 public:
  static constexpr int kBins = 512;  // of a channel, over [-radius, radius)

  explicit SiteStatistics(int columns);
  int columns() const { return columns_; }
  uint64_t rows() const { return rows_; }

  // data: [offsets.back() - offsets.front()][stride]; offsets: where texts begin, as PackedBatch::offsets.
  // Throws Error(kNumeric) if a value is not finite; then the object is of no more use.
  void add(Executor& executor, const float* data, size_t stride, std::span<const int32_t> offsets);

  float min(int channel) const { return channels_[index(channel)].min; }
  float max(int channel) const { return channels_[index(channel)].max; }
  float absmax(int channel) const;
  double mean(int channel) const;
  double mean_square(int channel) const;  // as the histogram shows it: every value in the middle of its bin
  // Moving averages of each text's smallest and largest value.
  float average_min(int channel) const { return channels_[index(channel)].average_min; }
  float average_max(int channel) const { return channels_[index(channel)].average_max; }
  float radius(int channel) const { return channels_[index(channel)].radius; }
  std::span<const uint32_t> histogram(int channel) const {
    return std::span(bins_).subspan(index(channel) * kBins, kBins);
  }

 private:
  struct Channel {
    float min = 0, max = 0, average_min = 0, average_max = 0;
    float radius = 0x1p-20f;  // a power of two
    double sum = 0;
    bool finite = true, seen = false;
  };
  static size_t index(int channel) { return static_cast<size_t>(channel); }
  void add_channel(size_t channel, const float* data, size_t stride, std::span<const int32_t> offsets);
  void grow(size_t channel, float radius);

  int columns_;
  uint64_t rows_ = 0;
  std::vector<Channel> channels_;
  std::vector<uint32_t> bins_;  // [columns][kBins]
};

// A histogram over [lo, hi] in equal steps.
struct Histogram {
  double lo = 0, hi = 0;
  std::vector<double> counts;
  double width() const { return (hi - lo) / static_cast<double>(counts.size()); }
};

// Of the values of channels [begin, end), each divided by its scale (empty: 1), from the smallest to the largest.
// A channel's bin counts for the target bins that it overlaps, evenly.
Histogram merged_histogram(const SiteStatistics& site, int begin, int end, std::span<const float> channel_scale,
                           int bins);

// What eight bits shall cover: lo <= 0 <= hi, both finite, not both 0.
struct Range {
  double lo = 0, hi = 0;
};

// The range of channels [begin, end) together, each divided by its scale (empty: 1). symmetric: lo = -hi.
// -1 to 1 if nothing but zeros was seen.
Range observe(const SiteStatistics& site, int begin, int end, std::span<const float> channel_scale, ObserverKind kind,
              bool symmetric);

// The affine map q = round(x / step) + zero_point onto -127 .. 127. symmetric ranges have zero point 0.
struct QuantizedRange {
  double step = 1;
  int32_t zero_point = 0;
};
// Throws Error(kNumeric) naming `what` if the range is NaN, infinite, empty or reversed, or does not hold 0.
QuantizedRange quantize_range(const Range& range, const std::string& what);

}  // namespace octobert::converter

#endif  // OCTOBERT_CONVERTER_OBSERVERS_H_
