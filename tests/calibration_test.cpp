// What calibration sees and how ranges are chosen: held against direct computation and the papers' formulas.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "converter/exact_math.h"
#include "converter/observers.h"
#include "octobert/error.h"
#include "tests/calibration_test_util.h"
#include "tests/errors.h"

namespace octobert::converter {
namespace {

using test::error_of;
using test::holds;

TEST(ExactMath, AsTheLibrary) {
  for (double x = 1e-9; x < 1e9; x *= 1.37) {
    EXPECT_NEAR(log2_exact(x), std::log2(x), 1e-13 * std::max(1.0, std::fabs(std::log2(x)))) << x;
    for (const double y : {0.0, 0.3, 0.5, 1.0}) {
      EXPECT_NEAR(pow_exact(x, y) / std::pow(x, y), 1, 1e-13) << x << "^" << y;
    }
  }
}

// ---- statistics ----

TEST(SiteStatistics, CountsEverythingOnceWhateverTheRange) {
  constexpr size_t kRows = 3000, kColumns = 37;
  std::vector<float> data = normal_values(kRows * kColumns, 1);
  for (size_t i = 0; i < kRows; ++i) data[i * kColumns] *= static_cast<float>(i);  // a range that grows
  const SiteStatistics site = statistics_of(data, kColumns);
  EXPECT_EQ(site.rows(), kRows);
  for (size_t c = 0; c < kColumns; ++c) {
    const int channel = static_cast<int>(c);
    float low = data[c], high = data[c];
    double sum = 0;
    for (size_t i = 0; i < kRows; ++i) {
      low = std::min(low, data[i * kColumns + c]);
      high = std::max(high, data[i * kColumns + c]);
      sum += data[i * kColumns + c];
    }
    EXPECT_EQ(site.min(channel), low);
    EXPECT_EQ(site.max(channel), high);
    EXPECT_EQ(site.absmax(channel), std::max(-low, high));
    EXPECT_NEAR(site.mean(channel), sum / kRows, 1e-9 * std::fabs(sum));
    const auto bins = site.histogram(channel);
    EXPECT_EQ(std::accumulate(bins.begin(), bins.end(), uint64_t{0}), kRows);
    // What grew is what would have been counted at once: the halving loses nothing.
    const double width = 2.0 * site.radius(channel) / SiteStatistics::kBins;
    uint64_t below = 0, expected = 0;
    for (int bin = 0; bin < SiteStatistics::kBins / 2; ++bin) below += bins[static_cast<size_t>(bin)];
    for (size_t i = 0; i < kRows; ++i) expected += data[i * kColumns + c] < -width ? 1u : 0u;
    EXPECT_GE(below, expected);
  }
}

TEST(SiteStatistics, SameForAnyThreadsAndBatches) {
  constexpr size_t kColumns = 50;
  const std::vector<float> data = normal_values(400 * kColumns, 2);
  const SiteStatistics one = statistics_of(data, kColumns, {0, 100, 250, 400}, 1);
  const SiteStatistics three = statistics_of(data, kColumns, {0, 100, 250, 400}, 3);
  SiteStatistics parts(kColumns);
  ThreadPool pool(2);
  parts.add(pool, data.data(), kColumns, std::vector<int32_t>{0, 100});
  parts.add(pool, data.data() + 100 * kColumns, kColumns, std::vector<int32_t>{7, 157, 307});  // a slice's offsets
  for (const SiteStatistics* other : {&three, static_cast<const SiteStatistics*>(&parts)}) {
    for (int c = 0; c < static_cast<int>(kColumns); ++c) {
      EXPECT_EQ(one.min(c), other->min(c));
      EXPECT_EQ(one.average_max(c), other->average_max(c));
      EXPECT_EQ(one.mean(c), other->mean(c));
      EXPECT_TRUE(std::ranges::equal(one.histogram(c), other->histogram(c)));
    }
  }
}

TEST(SiteStatistics, MovingAverageOfTexts) {
  const std::vector<float> data = {1, 5, -2, 4, 8, 0};  // one channel; texts of 2, 1 and 3 rows
  const SiteStatistics site = statistics_of(data, 1, {0, 2, 3, 6});
  float low = 1, high = 5;  // the first text's
  low += 0.01f * (1 - low);
  for (const auto& [text_low, text_high] : {std::pair(-2.0f, -2.0f), std::pair(0.0f, 8.0f)}) {
    low += 0.01f * (text_low - low);
    high += 0.01f * (text_high - high);
  }
  EXPECT_EQ(site.average_min(0), low);
  EXPECT_EQ(site.average_max(0), high);
}

TEST(SiteStatistics, RefusesWhatIsNotFinite) {
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    std::vector<float> data(64, 1.0f);
    data[33] = bad;
    EXPECT_TRUE(holds(error_of([&] { statistics_of(data, 4); }, ErrorCode::kNumeric), "channel 1 is not finite"));
  }
}

// ---- ranges ----

double true_squared_error(const std::vector<float>& data, const Range& range) {
  const QuantizedRange q = quantize_range(range, "test");
  double error = 0;
  for (const float x : data) {
    const double level = std::clamp(std::nearbyint(x / q.step + q.zero_point), -127.0, 127.0);
    const double difference = x - (level - q.zero_point) * q.step;
    error += difference * difference;
  }
  return error;
}

Range range_of(const std::vector<float>& data, ObserverKind kind, bool symmetric, size_t columns = 1) {
  return observe(statistics_of(data, columns), 0, static_cast<int>(columns), {}, kind, symmetric);
}

TEST(Observers, MinMax) {
  const std::vector<float> data = {-0.5f, 2, 1, -1, 3, 0};
  EXPECT_EQ(range_of(data, ObserverKind::kMinMax, false, 2).lo, -1);
  EXPECT_EQ(range_of(data, ObserverKind::kMinMax, false, 2).hi, 3);
  EXPECT_EQ(range_of(data, ObserverKind::kMinMax, true, 2).lo, -3);
  // Of channels that are divided first: 3 / 6 against 2 / 1.
  const SiteStatistics site = statistics_of(data, 2);
  EXPECT_EQ(observe(site, 0, 2, std::vector<float>{6, 1}, ObserverKind::kMinMax, false).hi, 2);
  // Positive throughout: 0 is inside still.
  EXPECT_EQ(range_of({1, 2}, ObserverKind::kMinMax, false).lo, 0);
}

TEST(Observers, PercentileCutsOneInTenThousand) {
  std::vector<float> data(100000);
  for (size_t i = 0; i < data.size(); ++i) data[i] = static_cast<float>(i) / 100000.0f - 0.5f;
  data[5] = 40;  // far outside
  const Range symmetric = range_of(data, ObserverKind::kPercentile, true);
  EXPECT_NEAR(symmetric.hi, 0.5, 0.03);
  const Range both = range_of(data, ObserverKind::kPercentile, false);
  EXPECT_NEAR(both.hi, 0.5, 0.03);
  EXPECT_NEAR(both.lo, -0.5, 0.03);
}

TEST(Observers, MseIsNearTheBestOfAllClips) {
  std::vector<float> data = normal_values(200000, 3);
  for (size_t i = 0; i < data.size(); i += 20000) data[i] *= 8;  // a few outliers
  for (const bool symmetric : {true, false}) {
    if (!symmetric) {
      for (float& x : data) x = std::max(x, -0.17f);
    }
    const Range whole = range_of(data, ObserverKind::kMinMax, symmetric);
    double best = std::numeric_limits<double>::infinity();
    for (double part = 0.02; part <= 1; part += 0.01) {
      best = std::min(best, true_squared_error(data, {symmetric ? -part * whole.hi : whole.lo, part * whole.hi}));
    }
    const double found = true_squared_error(data, range_of(data, ObserverKind::kMse, symmetric));
    EXPECT_LT(found, 1.05 * best);
    if (symmetric) {
      EXPECT_LT(found, 0.9 * true_squared_error(data, whole));
    }
  }
}

TEST(Observers, KlCutsAFarOutlierAndKeepsAPlainShape) {
  std::vector<float> data = normal_values(200000, 4);
  const double plain = range_of(data, ObserverKind::kKl, true).hi;
  EXPECT_GT(plain, 2.5);
  data[17] = 60;
  EXPECT_LT(range_of(data, ObserverKind::kKl, true).hi, 20);
}

TEST(Observers, FaultsAreNamed) {
  const double nan = std::numeric_limits<double>::quiet_NaN(), infinite = std::numeric_limits<double>::infinity();
  for (const Range bad : {Range{nan, 1}, Range{-1, nan}, Range{-infinite, 1}, Range{0, 0}, Range{1, -1}, Range{1, 2}}) {
    EXPECT_TRUE(
        holds(error_of([&] { quantize_range(bad, "layer.3.ffn1"); }, ErrorCode::kNumeric), "range of layer.3.ffn1"));
  }
  EXPECT_TRUE(holds(error_of([] { parse_observer("median"); }, ErrorCode::kInvalidInput), "observer 'median'"));
}

TEST(Observers, NothingButZerosHaveARange) {
  const std::vector<float> zeros(10);
  for (const bool symmetric : {false, true}) {
    const Range range = range_of(zeros, ObserverKind::kMse, symmetric);
    EXPECT_EQ(range.lo, -1);
    EXPECT_EQ(range.hi, 1);
  }
}

TEST(Observers, ZeroPoint) {
  EXPECT_EQ(quantize_range({-2, 2}, "").zero_point, 0);
  const QuantizedRange gelu = quantize_range({-0.17, 2.37}, "");  // 2.54 / 254 = 0.01 a step
  EXPECT_NEAR(gelu.step, 0.01, 1e-12);
  EXPECT_EQ(gelu.zero_point, -110);
  EXPECT_EQ(quantize_range({0, 5}, "").zero_point, -127);
  EXPECT_EQ(quantize_range({-5, 0}, "").zero_point, 127);
}

}  // namespace
}  // namespace octobert::converter
