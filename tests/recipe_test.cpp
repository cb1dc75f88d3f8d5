// What post-processing recovers of a product: held against direct computation and the papers' formulas.
#include "converter/recipe.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

#include "converter/gptq.h"
#include "converter/kmeans.h"
#include "converter/smooth.h"
#include "kernels/cpu.h"
#include "kernels/dispatch.h"
#include "octobert/error.h"
#include "tests/calibration_test_util.h"
#include "tests/errors.h"

namespace octobert::converter {
namespace {

using format::Scheme;
using test::error_of;
using test::holds;

// ---- products: floats in, and what the packed weights give ----

constexpr size_t kInputs = 80, kOutputs = 24, kRows = 600;

LinearFloats random_linear(uint32_t seed) {
  LinearFloats linear;
  linear.n = kOutputs;
  linear.k = kInputs;
  linear.weight = normal_values(kOutputs * kInputs, seed, 0.2f);
  linear.bias = normal_values(kOutputs, seed + 1);
  return linear;
}

Site site_of(const std::vector<float>& x, size_t columns, bool hessian) {
  Site site{statistics_of(x, columns), {}};
  if (hessian) {
    ThreadPool pool(1);
    site.hessian.emplace(kScalarTable, static_cast<int>(columns));
    Hessian::Scratch scratch;
    site.hessian->add(pool, x.data(), std::vector<float>(x.size() / columns, 1.0f), columns, scratch);
  }
  return site;
}

// Rows of x times [n][k]: bias[n] + sum over k of term(x's value, n, k), in double.
std::vector<double> product_of(int outputs, int inputs, const float* bias, const std::vector<float>& x,
                               const std::function<double(float value, size_t n, size_t k)>& term) {
  const auto n = static_cast<size_t>(outputs), k = static_cast<size_t>(inputs);
  std::vector<double> y(x.size() / k * n);
  for (size_t m = 0; m < x.size() / k; ++m) {
    for (size_t i = 0; i < n; ++i) {
      double sum = bias[i];
      for (size_t c = 0; c < k; ++c) sum += term(x[m * k + c], i, c);
      y[m * n + i] = sum;
    }
  }
  return y;
}

std::vector<double> float_product(const LinearFloats& linear, const std::vector<float>& x) {
  return product_of(linear.n, linear.k, linear.bias.data(), x, [&](float value, size_t n, size_t k) {
    return double{value} * linear.weight[n * static_cast<size_t>(linear.k) + k];
  });
}

// The weight as a product computes with it, of the inputs as they are quantized.
double stored_weight(const Linear& linear, size_t n, size_t k) {
  const auto depth = static_cast<size_t>(linear.k);
  if (linear.weight_s8 != nullptr) return linear.weight_s8[packed_s8_offset(n, k, depth)] * double{linear.scale[n]};
  const uint8_t byte =
      linear.weight_4bit[n / 16 * packed_4bit_panel_bytes(depth) + k / 8 * 64 + n % 16 * 4 + k % 8 / 2];
  const int nibble = byte >> (k % 2 * 4) & 15;
  if (linear.codebook != nullptr) return double{linear.codebook[nibble]} * linear.scale[n];
  const size_t group = k / static_cast<size_t>(linear.group_size);
  return (nibble > 7 ? nibble - 16 : nibble) *
         double{linear.group_scale[group * padded_outputs(static_cast<size_t>(linear.n)) + n]};
}

// Inputs as the scheme sees them: quantized with fixed ranges, or (dynamic's and weight-only's weights alone) floats.
std::vector<double> packed_product(const Linear& linear, const std::vector<float>& x) {
  return product_of(linear.n, linear.k, linear.bias, x, [&](float value, size_t n, size_t k) {
    double input = value;
    if (linear.input_inv != nullptr) input *= linear.input_inv[k];
    if (linear.scheme == Scheme::kStatic) {
      input = std::clamp(std::nearbyint(input + linear.input_zero[0]), -127.0, 127.0) - linear.input_zero[0];
    }
    return input * stored_weight(linear, n, k);
  });
}

double squared_distance(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += (a[i] - b[i]) * (a[i] - b[i]);
  return sum;
}

double error_of_product(const LinearFloats& linear, const std::vector<float>& x, Scheme scheme,
                        const CalibrationSettings& settings, bool symmetric = true) {
  ThreadPool pool(2);
  const Site site = site_of(x, kInputs, settings.gptq);
  const ProductRecipe recipe = make_product_recipe(pool, site, settings, symmetric, "input", linear);
  const PackedLinear packed = pack_linear(pool, scheme, 16, linear, &recipe);
  return squared_distance(float_product(linear, x), packed_product(packed.view(), x));
}

CalibrationSettings plain_settings() {
  CalibrationSettings settings;
  settings.observer = ObserverKind::kMinMax;
  return settings;
}

TEST(SmoothQuant, Equation4) {
  const std::vector<float> x = {8, 0.5f, 3, 0}, w = {0.25f, 2, 0.1f, 1};
  for (const double alpha : {0.0, 0.25, 0.5, 0.85, 1.0}) {
    const std::vector<float> s = smoothing_scales(x, w, alpha);
    for (size_t j = 0; j < 3; ++j) {
      EXPECT_NEAR(s[j], std::pow(double{x[j]}, alpha) / std::pow(double{w[j]}, 1 - alpha), 1e-6 * s[j]);
    }
    EXPECT_EQ(s[3], 1.0f);  // a channel that carries nothing
  }
}

TEST(SmoothQuant, BringsBackStaticWithPlantedOutliers) {
  const LinearFloats linear = random_linear(10);
  std::vector<float> x = normal_values(kRows * kInputs, 12);
  const double without_outliers = error_of_product(linear, x, Scheme::kStatic, plain_settings());
  // Channels 5 and 30 times 50, undone in the weights: the same function.
  LinearFloats planted = linear;
  for (const size_t channel : {size_t{5}, size_t{30}}) {
    for (size_t m = 0; m < kRows; ++m) x[m * kInputs + channel] *= 50;
    for (size_t n = 0; n < kOutputs; ++n) planted.weight[n * kInputs + channel] /= 50;
  }
  CalibrationSettings smooth = plain_settings();
  smooth.smooth_quant = 0.5;
  const double fallen = error_of_product(planted, x, Scheme::kStatic, plain_settings());
  const double recovered = error_of_product(planted, x, Scheme::kStatic, smooth);
  EXPECT_GT(fallen, 300 * without_outliers);
  EXPECT_LT(recovered, 1.5 * without_outliers);
}

// The formula's choice against the errors that the real quantizers make, over channels of growing difference.
TEST(SmoothQuant, TheBestShareByProduct) {
  for (const float spread : {1.0f, 3.0f, 10.0f, 100.0f}) {
    LinearFloats linear = random_linear(14);
    std::vector<float> x = normal_values(kRows * kInputs, 15);
    for (size_t c = 0; c < kInputs; ++c) {
      const float input = std::pow(spread, static_cast<float>(c % 7) / 6),
                  weight = std::pow(spread, 0.1f * static_cast<float>(c % 5));
      for (size_t m = 0; m < kRows; ++m) x[m * kInputs + c] *= input;
      for (size_t n = 0; n < kOutputs; ++n) linear.weight[n * kInputs + c] *= weight;
    }
    CalibrationSettings settings = plain_settings();
    double least = std::numeric_limits<double>::infinity(), most = 0;
    for (int step = 0; step <= 10; ++step) {
      settings.smooth_quant = 0.5 + 0.05 * step;
      const double error = error_of_product(linear, x, Scheme::kStatic, settings);
      least = std::min(least, error);
      most = std::max(most, error);
    }
    settings.smooth_quant.reset();
    const double chosen = error_of_product(linear, x, Scheme::kStatic, settings);
    EXPECT_LT(chosen, 1.1 * least) << spread << ", worst " << most;
  }
}

TEST(StaticInput, AsymmetricRangesAreExactlyCompensated) {
  const LinearFloats linear = random_linear(20);
  std::vector<float> x = normal_values(kRows * kInputs, 22);
  for (float& value : x) value = value > 0 ? value : 0.1f * std::max(value, -1.7f);  // as GELU's outputs
  const double symmetric = error_of_product(linear, x, Scheme::kStatic, plain_settings(), true);
  const double asymmetric = error_of_product(linear, x, Scheme::kStatic, plain_settings(), false);
  EXPECT_LT(asymmetric, 0.5 * symmetric);  // nearly half the step
}

// Inputs whose channels are mixtures of a few: errors of one weight can be made good by others.
std::vector<float> correlated_inputs(uint32_t seed) {
  constexpr size_t kSources = 8;
  const std::vector<float> mixing = normal_values(kSources * kInputs, seed),
                           sources = normal_values(kRows * kSources, seed + 1);
  std::vector<float> x = normal_values(kRows * kInputs, seed + 2, 0.1f);
  for (size_t m = 0; m < kRows; ++m) {
    for (size_t s = 0; s < kSources; ++s) {
      for (size_t c = 0; c < kInputs; ++c) x[m * kInputs + c] += sources[m * kSources + s] * mixing[s * kInputs + c];
    }
  }
  return x;
}

TEST(Gptq, SmallerErrorThanTheNearestWeight) {
  const LinearFloats linear = random_linear(30);
  const std::vector<float> x = correlated_inputs(31);
  CalibrationSettings gptq = plain_settings();
  gptq.gptq = true;
  for (const Scheme scheme : {Scheme::kWeightOnly, Scheme::kWeightOnlyInt4, Scheme::kCodebook}) {
    const double nearest = error_of_product(linear, x, scheme, plain_settings());
    EXPECT_LT(error_of_product(linear, x, scheme, gptq), 0.4 * nearest) << static_cast<int>(scheme);
  }
}

std::vector<double> inverse_of(std::vector<double> a, size_t k) {  // Gauss-Jordan
  std::vector<double> inverse(k * k);
  for (size_t i = 0; i < k; ++i) inverse[i * k + i] = 1;
  for (size_t i = 0; i < k; ++i) {
    const double pivot = a[i * k + i];
    for (size_t j = 0; j < k; ++j) a[i * k + j] /= pivot, inverse[i * k + j] /= pivot;
    for (size_t r = 0; r < k; ++r) {
      const double f = r == i ? 0 : a[r * k + i];
      for (size_t j = 0; j < k; ++j) a[r * k + j] -= f * a[i * k + j], inverse[r * k + j] -= f * inverse[i * k + j];
    }
  }
  return inverse;
}

// The step that algorithm 1 rearranges: arXiv:2210.17323, equations 2 and 3, one weight after the other with the
// inverse Hessian of those that are left.
TEST(Gptq, AsTheOptimalBrainStepOneWeightAtATime) {
  const LinearFloats linear = random_linear(40);
  const std::vector<float> x = correlated_inputs(41);
  ThreadPool pool(2);
  const Site site = site_of(x, kInputs, true);
  const InverseFactor factor = inverse_factor(pool, error_form(*site.hessian, {}, false));
  constexpr double kStep = 0.05;
  std::vector<double> found(kOutputs * kInputs), expected(found);
  gptq_round(pool, factor, linear.weight.data(), kOutputs,
             [&](size_t n, size_t k, double w) { return found[n * kInputs + k] = kStep * std::nearbyint(w / kStep); });

  std::vector<double> h(kInputs * kInputs);
  double mean = 0;
  for (size_t m = 0; m < kRows; ++m) {
    for (size_t i = 0; i < kInputs * kInputs; ++i)
      h[i] += double{x[m * kInputs + i / kInputs]} * x[m * kInputs + i % kInputs];
  }
  for (size_t i = 0; i < kInputs; ++i) mean += h[i * kInputs + i] / kInputs;
  for (size_t i = 0; i < kInputs; ++i) h[i * kInputs + i] += 0.01 * mean;
  for (size_t i = 1; i < kInputs; ++i) {
    const auto diagonal = [&](size_t place) { return h[static_cast<size_t>(factor.order[place]) * (kInputs + 1)]; };
    EXPECT_GE(diagonal(i - 1), diagonal(i) * (1 - 1e-5));
  }
  std::vector<double> w(linear.weight.begin(), linear.weight.end()), inverse = inverse_of(h, kInputs);
  for (const int step : factor.order) {
    const auto q = static_cast<size_t>(step);
    const double pivot = inverse[q * kInputs + q];
    for (size_t n = 0; n < kOutputs; ++n) {
      expected[n * kInputs + q] = kStep * std::nearbyint(w[n * kInputs + q] / kStep);
      const double f = (w[n * kInputs + q] - expected[n * kInputs + q]) / pivot;
      for (size_t c = 0; c < kInputs; ++c) w[n * kInputs + c] -= f * inverse[q * kInputs + c];
    }
    const std::vector<double> row(inverse.begin() + static_cast<ptrdiff_t>(q * kInputs),
                                  inverse.begin() + static_cast<ptrdiff_t>((q + 1) * kInputs));
    for (size_t i = 0; i < kInputs; ++i) {
      for (size_t j = 0; j < kInputs; ++j) inverse[i * kInputs + j] -= row[i] * row[j] / pivot;
    }
  }
  size_t different = 0;
  for (size_t i = 0; i < found.size(); ++i) different += std::fabs(found[i] - expected[i]) > 1e-9 ? 1u : 0u;
  EXPECT_LE(different, found.size() / 200);  // a float's rounding of the Hessian may move what is half-way
}

TEST(Gptq, SameForAnyThreadsAndInstructionSet) {
  const LinearFloats linear = random_linear(50);
  const std::vector<float> x = correlated_inputs(51);
  std::vector<double> first;
  for (const KernelTable* table : compiled_tables()) {
    if (!is_available(*table, detect_cpu_features())) continue;
    for (const int threads : {1, 3}) {
      ThreadPool pool(threads);
      Hessian hessian(*table, kInputs);
      Hessian::Scratch scratch;
      std::vector<float> weight(kRows);
      for (size_t m = 0; m < kRows; ++m) weight[m] = 0.1f + 0.1f * static_cast<float>(m % 7);
      hessian.add(pool, x.data(), std::span(weight).first(256), kInputs, scratch);
      hessian.add(pool, x.data() + 256 * kInputs, std::span(weight).subspan(256), kInputs, scratch);
      const InverseFactor factor = inverse_factor(pool, error_form(hessian, {}, true));
      if (first.empty()) first = factor.factor;
      EXPECT_EQ(factor.factor, first) << table->name;
    }
  }
}

TEST(Gptq, SaysWhenThereIsNothingToGoBy) {
  ThreadPool pool(1);
  const ErrorForm empty = error_form(Hessian(kScalarTable, 8), {}, false);
  EXPECT_TRUE(holds(error_of([&] { inverse_factor(pool, empty); }, ErrorCode::kNumeric), "more texts are needed"));
}

TEST(Gptq, SaysWhenMomentsOverflow) {
  ThreadPool pool(1);
  std::vector<float> x = normal_values(64 * 8, 70);
  x[8 * 30 + 3] = 3e19f;  // a square of 9e38
  for (const bool centered : {false, true}) {
    Hessian hessian(kScalarTable, 8);
    Hessian::Scratch scratch;
    hessian.add(pool, x.data(), std::vector<float>(64, 1.0f), 8, scratch);
    const ErrorForm form = error_form(hessian, {}, centered);
    const std::string message = error_of([&] { inverse_factor(pool, form); }, ErrorCode::kNumeric);
    EXPECT_TRUE(holds(message, "beyond the largest float")) << message;
  }
}

TEST(BiasCorrection, TheMeanStays) {
  const LinearFloats linear = random_linear(60);
  std::vector<float> x = normal_values(kRows * kInputs, 62);
  for (size_t i = 0; i < x.size(); ++i) x[i] += static_cast<float>(i % kInputs % 5);  // means that are not 0
  ThreadPool pool(1);
  const auto mean_error = [&](bool corrected) {
    CalibrationSettings settings = plain_settings();
    settings.bias_correction = corrected;
    const Site site = site_of(x, kInputs, false);
    const ProductRecipe recipe = make_product_recipe(pool, site, settings, true, "input", linear);
    const PackedLinear packed = pack_linear(pool, Scheme::kWeightOnlyInt4, 16, linear, &recipe);
    const std::vector<double> expected = float_product(linear, x), found = packed_product(packed.view(), x);
    double worst = 0;
    for (size_t n = 0; n < kOutputs; ++n) {
      double sum = 0;
      for (size_t m = 0; m < kRows; ++m) sum += (found[m * kOutputs + n] - expected[m * kOutputs + n]) / kRows;
      worst = std::max(worst, std::fabs(sum));
    }
    return worst;
  };
  EXPECT_GT(mean_error(false), 0.02);
  EXPECT_LT(mean_error(true), 1e-5);  // Nagel et al. 2019, equation 17: E[y] of the float layer
}

TEST(Equalization, Equation11MakesBothRangesEqual) {
  const std::vector<float> r1 = {4, 0.01f, 3, 0}, r2 = {1, 0.5f, 3, 2};
  const std::vector<float> s = equalizing_scales(r1, r2);
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_NEAR(s[i], std::sqrt(double{r1[i]} * r2[i]) / r2[i], 1e-6 * s[i]);
    EXPECT_NEAR(r1[i] / s[i], r2[i] * s[i], 1e-6 * r2[i] * s[i]);
  }
  EXPECT_EQ(s[3], 1.0f);
}

TEST(Codebook, FindsSixteenValues) {
  std::vector<float> values;
  const std::vector<float> centers = {-1,    -0.8f, -0.63f, -0.5f, -0.31f, -0.2f, -0.11f, -0.03f,
                                      0.02f, 0.1f,  0.19f,  0.33f, 0.45f,  0.6f,  0.77f,  0.99f};
  for (int i = 0; i < 1600; ++i) values.push_back(centers[static_cast<size_t>(i % 16)]);
  const Codebook codebook = kmeans16(values, std::vector<float>(values.size(), 1.0f));
  for (size_t i = 0; i < 16; ++i) EXPECT_NEAR(codebook[i], centers[i], 1.0 / 4096);
  EXPECT_EQ(nearest_entry(codebook, -5), 0);
  EXPECT_EQ(nearest_entry(codebook, 0.34), 11);
}

TEST(Codebook, LessErrorThanEqualSteps) {
  std::vector<float> values = normal_values(50000, 70, 0.2f);
  for (float& x : values) x = std::clamp(x, -1.0f, 1.0f);
  const Codebook codebook = kmeans16(values, std::vector<float>(values.size(), 1.0f));
  double shared = 0, equal = 0;
  for (const float x : values) {
    const double entry = codebook[static_cast<size_t>(nearest_entry(codebook, x))];
    const double level = std::nearbyint(x * 7.5 - 0.5) / 7.5 + 0.5 / 7.5;
    shared += (x - entry) * (x - entry);
    equal += (x - level) * (x - level);
  }
  EXPECT_LT(shared, 0.5 * equal);
}

// Rows that a codebook is for alike, whatever their largest weight is, beside rows through that one.
TEST(Codebook, OneLargeWeightSpoilsNoRow) {
  LinearFloats linear = random_linear(75);
  for (size_t n = 0; n < kOutputs; n += 4) linear.weight[n * kInputs + n] = 2.5f;
  ThreadPool pool(1);
  const PackedLinear packed = pack_linear(pool, Scheme::kCodebook, 16, linear, nullptr);
  std::vector<float> through_largest(linear.weight);
  const auto largest = [&](size_t n) {
    float most = 0;
    for (size_t c = 0; c < kInputs; ++c) most = std::max(most, std::fabs(linear.weight[n * kInputs + c]));
    return most;
  };
  for (size_t i = 0; i < through_largest.size(); ++i) through_largest[i] /= largest(i / kInputs);
  const Codebook codebook = kmeans16(through_largest, std::vector<float>(through_largest.size(), 1.0f));
  double found = 0, plain = 0;
  for (size_t i = 0; i < through_largest.size(); ++i) {
    const double w = linear.weight[i];
    const double entry = codebook[static_cast<size_t>(nearest_entry(codebook, double{through_largest[i]}))];
    found += std::pow(w - stored_weight(packed.view(), i / kInputs, i % kInputs), 2);
    plain += std::pow(w - entry * double{largest(i / kInputs)}, 2);
  }
  EXPECT_LT(found, 0.6 * plain);
}

TEST(Int4, GroupScalesBeatTheLargestMagnitude) {
  const LinearFloats linear = random_linear(80);
  ThreadPool pool(1);
  const PackedLinear packed = pack_linear(pool, Scheme::kWeightOnlyInt4, 16, linear, nullptr);
  double found = 0, plain = 0;
  for (size_t n = 0; n < kOutputs; ++n) {
    for (size_t g = 0; g < kInputs; g += 16) {
      float largest = 0;
      for (size_t c = g; c < g + 16; ++c) largest = std::max(largest, std::fabs(linear.weight[n * kInputs + c]));
      for (size_t c = g; c < g + 16; ++c) {
        const double w = linear.weight[n * kInputs + c], step = largest / 7;
        found += std::pow(w - stored_weight(packed.view(), n, c), 2);
        plain += std::pow(w - step * std::nearbyint(w / step), 2);
      }
    }
  }
  EXPECT_LT(found, 0.85 * plain);
}

}  // namespace
}  // namespace octobert::converter
