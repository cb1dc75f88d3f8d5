#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "converter/report_fill.h"

namespace octobert::converter {
namespace {

constexpr int kBins = 80;

// The multipliers of a static product's input over their median, as divisors: what is left is in the unit of the
// values, and equal multipliers are all 1.
std::vector<float> channel_scales(const Linear& product, double median) {
  std::vector<float> scales;
  for (int i = 0; i < product.k; ++i) scales.push_back(static_cast<float>(median / product.input_inv[i]));
  return scales;
}

double median_of(const float* values, int count) {
  std::vector<float> sorted(values, values + count);
  const auto middle = sorted.begin() + count / 2;
  std::nth_element(sorted.begin(), middle, sorted.end());
  return *middle;
}

// What the codes -127 to 127 stand for (docs/NUMERICS.md), at the median multiplier.
std::vector<ReportRange> chosen_ranges(const Linear& product) {
  std::vector<ReportRange> ranges;
  for (int p = 0; p < product.input_parts; ++p) {
    const Linear part = product.part(p);
    const double inv = median_of(part.input_inv, part.k);
    const char* names[kMaxInputParts] = {"chosen", "key's", "value's"};
    const char* name = p == 0 && product.input_parts > 1 ? "query's" : names[p];
    ranges.push_back({name, (-127.0 - part.input_zero[0]) / inv, (127.0 - part.input_zero[0]) / inv});
  }
  return ranges;
}

// "fixed, zero point 3", or what there is to say of each part.
std::string fixed_input(const Linear& product) {
  bool equal = true;
  std::vector<int> zeros;
  for (int p = 0; p < product.input_parts; ++p) {
    const Linear part = product.part(p);
    zeros.push_back(part.input_zero[0]);
    equal = equal && std::all_of(part.input_inv, part.input_inv + part.k,
                                 [&](float value) { return value == part.input_inv[0]; });
  }
  return fmt::format("fixed, zero point{} {}{}", zeros.size() > 1 ? "s" : "", fmt::join(zeros, ", "),
                     equal ? "" : "; a multiplier a channel");
}

// with_range: the product reads what was seen, times its multipliers.
ReportSite activation_site(std::string name, const SiteStatistics& seen, const Linear& product, bool with_range) {
  ReportSite site{
      .name = std::move(name), .kind = ReportSite::Kind::kActivations, .histogram = {}, .ranges = {}, .note = {}};
  std::vector<float> scales;
  if (product.scheme == format::Scheme::kStatic && with_range) {
    const double inv = median_of(product.input_inv, product.k);
    scales = channel_scales(product, inv);
    site.ranges = chosen_ranges(product);
    site.note = fixed_input(product);
  } else if (product.scheme == format::Scheme::kStatic) {
    site.note = "fixed, of channels that the weights before it have rescaled";
  } else if (product.scheme == format::Scheme::kDynamic) {
    site.note = "a scale a token";
  } else {
    site.note = "read as floats";
  }
  const Histogram histogram = merged_histogram(seen, 0, seen.columns(), scales, kBins);
  site.histogram.low = histogram.lo;
  site.histogram.high = histogram.hi;
  for (const double count : histogram.counts)
    site.histogram.counts.push_back(static_cast<uint64_t>(std::llround(count)));
  return site;
}

}  // namespace

void add_activations(const Calibration& seen, const BertModel& model, ReportData& report) {
  for (size_t i = 0; i < std::min(seen.layers.size(), model.layers.size()); ++i) {
    const LayerCalibration& sites = seen.layers[i];
    const EncoderLayer& layer = model.layers[i];
    const auto add = [&](const char* part, const Site& site, const Linear& product, bool with_range) {
      report.sites.push_back(
          activation_site(fmt::format("layer.{}.{}", i, part), site.statistics, product, with_range));
    };
    add("qkv", sites.qkv_input, layer.qkv, true);
    // The converter may have scaled V's channels, and so the context's, against attention_output's columns.
    add("attention_output", sites.context, layer.attention_output, false);
    add("ffn1", sites.attention_norm, layer.ffn1, true);
    add("ffn2", sites.ffn1, layer.ffn2, true);
  }
  if (seen.classifier_input) {
    report.sites.push_back(activation_site("classifier", seen.classifier_input->statistics, model.classifier, true));
  }
}

}  // namespace octobert::converter
