#include "converter/smooth.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "converter/exact_math.h"

namespace octobert::converter {
namespace {

constexpr float kTiny = 1e-8f;  // a range below it is of a channel that carries nothing
constexpr double kLeastScale = 1e-5, kLargestScale = 1e5;

template <typename F>
std::vector<float> scales(std::span<const float> first, std::span<const float> second, const F& f) {
  std::vector<float> result(first.size(), 1.0f);
  for (size_t i = 0; i < first.size(); ++i) {
    if (first[i] < kTiny || second[i] < kTiny) continue;
    result[i] = static_cast<float>(std::clamp(f(double{first[i]}, double{second[i]}), kLeastScale, kLargestScale));
  }
  return result;
}

}  // namespace

std::vector<float> column_absmax(std::span<const float> w, size_t columns) {
  std::vector<float> largest(columns);
  for (size_t row = 0; row * columns < w.size(); ++row) {
    for (size_t c = 0; c < columns; ++c) largest[c] = std::max(largest[c], std::fabs(w[row * columns + c]));
  }
  return largest;
}

std::vector<float> smoothing_scales(std::span<const float> activation_absmax, std::span<const float> weight_absmax,
                                    double alpha) {
  return scales(activation_absmax, weight_absmax,
                [alpha](double a, double w) { return pow_exact(a, alpha) / pow_exact(w, 1 - alpha); });
}

double best_smoothing(const SmoothingInput& input, std::span<const float> w, double share) {
  constexpr int kSteps = 10;
  const size_t k = input.absmax.size();
  const std::vector<float> largest = column_absmax(w, k);
  std::vector<double> power(k);  // |W_j|^2
  for (size_t i = 0; i < w.size(); ++i) power[i % k] += double{w[i]} * double{w[i]};
  double best = 1, least = std::numeric_limits<double>::infinity();
  for (int step = 0; step <= kSteps; ++step) {
    const double alpha = 0.5 + 0.5 * step / kSteps;
    const std::vector<float> s = smoothing_scales(input.absmax, largest, alpha);
    double widest = 0, activations = 0, inputs = 0;
    for (size_t j = 0; j < k; ++j) {
      const double scale = s[j];
      widest = std::max(widest, input.range[j] / scale);
      activations += scale * scale * power[j];
      inputs += input.mean_square[j] / (scale * scale);
    }
    double rows = 0;
    for (size_t row = 0; row < w.size(); row += k) {
      float most = 0;
      for (size_t j = 0; j < k; ++j) most = std::max(most, std::fabs(w[row + j]) * s[j]);
      rows += double{most} * double{most};
    }
    const double error = widest * widest / (254 * 254) * activations + share * rows / (127 * 127) * inputs;
    if (error >= least) continue;
    least = error;
    best = alpha;
  }
  return best;
}

std::vector<float> equalizing_scales(std::span<const float> first_range, std::span<const float> second_range) {
  return scales(first_range, second_range, [](double r1, double r2) { return std::sqrt(r1 * r2) / r2; });
}

}  // namespace octobert::converter
