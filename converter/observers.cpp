#include "converter/observers.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <utility>

#include "converter/exact_math.h"
#include "octobert/error.h"

namespace octobert::converter {
namespace {

constexpr std::array<std::pair<std::string_view, ObserverKind>, 5> kObservers = {{
    {"minmax", ObserverKind::kMinMax},
    {"moving-average", ObserverKind::kMovingAverage},
    {"percentile", ObserverKind::kPercentile},
    {"mse", ObserverKind::kMse},
    {"kl", ObserverKind::kKl},
}};

constexpr int kTensorBins = 4096;  // a sixteenth of a step of eight bits over the whole range
constexpr double kLevels = 254;    // steps from -127 to 127
constexpr double kPercentile = 0.9999;

double scale_of(std::span<const float> channel_scale, int channel) {
  return channel_scale.empty() ? 1.0 : static_cast<double>(channel_scale[static_cast<size_t>(channel)]);
}

Range symmetric_range(const Range& range) {
  const double largest = std::max(-range.lo, range.hi);
  return {-largest, largest};
}

// Extremes of f(channel) = {lo, hi} over the channels, scaled, with 0 inside.
template <typename F>
Range extremes(int begin, int end, std::span<const float> channel_scale, const F& f) {
  Range range;
  for (int channel = begin; channel < end; ++channel) {
    const auto [lo, hi] = f(channel);
    const double scale = scale_of(channel_scale, channel);
    range.lo = std::min(range.lo, static_cast<double>(lo) / scale);
    range.hi = std::max(range.hi, static_cast<double>(hi) / scale);
  }
  return range;
}

Range min_max(const SiteStatistics& site, int begin, int end, std::span<const float> channel_scale) {
  return extremes(begin, end, channel_scale, [&](int c) { return std::pair(site.min(c), site.max(c)); });
}

double total(const Histogram& histogram) {
  double sum = 0;
  for (const double count : histogram.counts) sum += count;
  return sum;
}

// The magnitudes' histogram: the two halves of a histogram that is symmetric about 0, folded.
std::vector<double> magnitudes(const Histogram& histogram) {
  const size_t half = histogram.counts.size() / 2;
  std::vector<double> counts(half);
  for (size_t i = 0; i < half; ++i) counts[i] = histogram.counts[half + i] + histogram.counts[half - 1 - i];
  return counts;
}

// How far up the first `share` of the values reaches, in bins (whole).
size_t bins_that_hold(std::span<const double> counts, double share) {
  double sum = 0, seen = 0;
  for (const double count : counts) sum += count;
  size_t bins = 0;
  while (bins < counts.size() && seen < share * sum) seen += counts[bins++];
  return std::max<size_t>(bins, 1);
}

Range percentile(const Histogram& histogram, bool symmetric) {
  if (symmetric) {
    const auto bins = static_cast<double>(bins_that_hold(magnitudes(histogram), kPercentile));
    return {-bins * histogram.width(), bins * histogram.width()};
  }
  std::vector<double> reversed(histogram.counts.rbegin(), histogram.counts.rend());
  const double share = 1 - (1 - kPercentile) / 2;  // of both ends together
  return {histogram.hi - static_cast<double>(bins_that_hold(reversed, share)) * histogram.width(),
          histogram.lo + static_cast<double>(bins_that_hold(histogram.counts, share)) * histogram.width()};
}

// Mean squared error of a range: step^2 / 12 within, the distance from the end beyond.
double squared_error(const Histogram& histogram, const Range& range) {
  const double step = (range.hi - range.lo) / kLevels, inside = step * step / 12;
  double error = 0;
  for (size_t i = 0; i < histogram.counts.size(); ++i) {
    if (histogram.counts[i] == 0) continue;
    const double x = histogram.lo + (static_cast<double>(i) + 0.5) * histogram.width();
    const double beyond = x > range.hi ? x - range.hi : (x < range.lo ? range.lo - x : 0);
    error += histogram.counts[i] * (beyond > 0 ? beyond * beyond : inside);
  }
  return error;
}

// The best of 96 ranges from a quarter of the whole to the whole; asymmetric ones end by end, twice.
Range least_squared_error(const Histogram& histogram, const Range& whole, bool symmetric) {
  constexpr int kFirst = 32, kLast = 128;
  Range best = whole;
  double least = squared_error(histogram, whole);
  const auto attempt = [&](const Range& candidate) {
    const double error = squared_error(histogram, candidate);
    if (error >= least) return;
    least = error;
    best = candidate;
  };
  for (int round = 0; round < (symmetric ? 1 : 2); ++round) {
    for (int i = kFirst; i <= kLast; ++i) {
      const double part = static_cast<double>(i) / kLast;
      attempt(symmetric ? Range{part * whole.lo, part * whole.hi} : Range{best.lo, part * whole.hi});
    }
    for (int i = kFirst; i <= kLast && !symmetric; ++i) {
      attempt({static_cast<double>(i) / kLast * whole.lo, best.hi});
    }
  }
  return best;
}

// sum p log(p / q) of the first `kept` bins, the rest added to the last of them (p), against the same bins on
// `levels` levels, each level's mass spread over its bins that are not empty (q).
double divergence(std::span<const double> counts, size_t kept, size_t levels) {
  std::vector<double> p(counts.begin(), counts.begin() + static_cast<ptrdiff_t>(kept)), q(kept);
  double p_total = 0, q_total = 0;
  for (size_t level = 0; level < levels; ++level) {
    const size_t first = level * kept / levels, last = (level + 1) * kept / levels;
    double sum = 0;
    size_t filled = 0;
    for (size_t i = first; i < last; ++i) {
      sum += counts[i];
      if (counts[i] > 0) ++filled;
    }
    for (size_t i = first; i < last; ++i) q[i] = counts[i] > 0 ? sum / static_cast<double>(filled) : 0;
    q_total += sum;
  }
  for (size_t i = kept; i < counts.size(); ++i) p[kept - 1] += counts[i];
  for (const double value : p) p_total += value;
  double sum = 0;
  constexpr double kEmpty = 1e-9;  // where clipping moves mass to a bin that had none
  for (size_t i = 0; i < kept; ++i) {
    if (p[i] == 0) continue;
    const double share_p = p[i] / p_total, share_q = std::max(q_total == 0 ? 0 : q[i] / q_total, kEmpty);
    sum += share_p * (log2_exact(share_p) - log2_exact(share_q));
  }
  return sum;
}

// Migacz 2017: all of 128 to 2048 bins of the magnitudes in steps of 16, onto 128 levels. Asymmetric: the distance
// from the lower end, onto 256 levels.
Range least_divergence(const Histogram& histogram, bool symmetric) {
  const std::vector<double> counts = symmetric ? magnitudes(histogram) : histogram.counts;
  const size_t levels = symmetric ? 128 : 256, step = counts.size() / 128;
  size_t best = counts.size();
  double least = std::numeric_limits<double>::infinity();
  for (size_t kept = levels; kept <= counts.size(); kept += step) {
    const double found = divergence(counts, kept, levels);
    if (found > least) continue;
    least = found;
    best = kept;
  }
  const double reach = static_cast<double>(best) * histogram.width();
  return symmetric ? Range{-reach, reach} : Range{histogram.lo, histogram.lo + reach};
}

}  // namespace

ObserverKind parse_observer(std::string_view name) {
  for (const auto& [known, kind] : kObservers) {
    if (name == known) return kind;
  }
  throw Error(ErrorCode::kInvalidInput,
              fmt::format("observer '{}' is unknown: expected minmax, moving-average, percentile, mse or kl", name));
}

std::string_view observer_name(ObserverKind kind) {
  return std::find_if(kObservers.begin(), kObservers.end(), [kind](const auto& o) { return o.second == kind; })->first;
}

Histogram merged_histogram(const SiteStatistics& site, int begin, int end, std::span<const float> channel_scale,
                           int bins) {
  const Range whole = min_max(site, begin, end, channel_scale);
  Histogram merged{whole.lo, whole.hi, std::vector<double>(static_cast<size_t>(bins))};
  if (merged.width() <= 0) return merged;
  for (int channel = begin; channel < end; ++channel) {
    const double scale = scale_of(channel_scale, channel), radius = site.radius(channel);
    const std::span<const uint32_t> counts = site.histogram(channel);
    for (size_t i = 0; i < counts.size(); ++i) {
      if (counts[i] == 0) continue;
      const double width = 2 * radius / static_cast<double>(counts.size());
      const double from = std::max(-radius + static_cast<double>(i) * width, double{site.min(channel)}) / scale;
      const double to = std::min(-radius + static_cast<double>(i + 1) * width, double{site.max(channel)}) / scale;
      const auto place = [&](double x) { return std::clamp((x - merged.lo) / merged.width(), 0.0, bins - 1e-9); };
      const double first = place(from), last = std::max(place(to), first);
      const auto first_bin = static_cast<size_t>(first), last_bin = static_cast<size_t>(last);
      if (first_bin == last_bin) {
        merged.counts[first_bin] += counts[i];
        continue;
      }
      const double per_bin = counts[i] / (last - first);
      merged.counts[first_bin] += per_bin * (static_cast<double>(first_bin + 1) - first);
      for (size_t bin = first_bin + 1; bin < last_bin; ++bin) merged.counts[bin] += per_bin;
      merged.counts[last_bin] += per_bin * (last - static_cast<double>(last_bin));
    }
  }
  return merged;
}

Range observe(const SiteStatistics& site, int begin, int end, std::span<const float> channel_scale, ObserverKind kind,
              bool symmetric) {
  Range whole = min_max(site, begin, end, channel_scale);
  // What is 0 for every text (a head or an inner layer that was pruned) is stored as 0 with any range.
  if (whole.lo == 0 && whole.hi == 0) return {-1, 1};
  if (symmetric) whole = symmetric_range(whole);
  if (kind == ObserverKind::kMinMax) return whole;
  if (kind == ObserverKind::kMovingAverage) {
    const Range range =
        extremes(begin, end, channel_scale, [&](int c) { return std::pair(site.average_min(c), site.average_max(c)); });
    if (!(range.lo < 0 || range.hi > 0)) return whole;
    return symmetric ? symmetric_range(range) : range;
  }
  Histogram histogram = merged_histogram(site, begin, end, channel_scale, kTensorBins);
  if (symmetric) {
    // The same bins over [-largest, largest], so that the halves fold onto each other.
    Histogram wide{whole.lo, whole.hi, std::vector<double>(kTensorBins)};
    for (size_t i = 0; i < histogram.counts.size(); ++i) {
      const double x = histogram.lo + (static_cast<double>(i) + 0.5) * histogram.width();
      const auto bin = static_cast<size_t>((x - wide.lo) / wide.width());
      wide.counts[std::min(bin, wide.counts.size() - 1)] += histogram.counts[i];
    }
    histogram = std::move(wide);
  }
  if (total(histogram) == 0) return whole;
  Range range;
  if (kind == ObserverKind::kPercentile) range = percentile(histogram, symmetric);
  if (kind == ObserverKind::kMse) range = least_squared_error(histogram, whole, symmetric);
  if (kind == ObserverKind::kKl) range = least_divergence(histogram, symmetric);
  return {std::min(range.lo, 0.0), std::max(range.hi, 0.0)};
}

QuantizedRange quantize_range(const Range& range, const std::string& what) {
  if (!std::isfinite(range.lo) || !std::isfinite(range.hi) || !(range.lo <= 0 && range.hi >= 0) ||
      !(range.hi - range.lo > 1e-30)) {
    throw Error(ErrorCode::kNumeric,
                fmt::format("the range of {} is {} to {}, expected finite numbers around 0", what, range.lo, range.hi));
  }
  if (-range.lo == range.hi) return {range.hi / 127, 0};
  const double step = (range.hi - range.lo) / kLevels;
  return {step, std::clamp(static_cast<int32_t>(std::nearbyint(-127 - range.lo / step)), -127, 127)};
}

}  // namespace octobert::converter
