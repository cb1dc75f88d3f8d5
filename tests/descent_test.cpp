// Coordinate descent over stored weights: against brute force on tiny problems, and plain double arithmetic.
#include "converter/descent.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/cpu.h"
#include "kernels/dispatch.h"
#include "tests/calibration_test_util.h"

namespace octobert::converter {
namespace {

// The form of inputs that hang together: the Gram matrix of few sources mixed, and some noise.
ErrorForm form_of(size_t k, uint32_t seed, const KernelTable& kernels = kScalarTable) {
  const size_t rows = 3 * k;
  std::vector<float> x = normal_values(rows * k, seed);
  for (size_t m = 0; m < rows; ++m) {
    for (size_t c = 1; c < k; ++c) x[m * k + c] = 0.7f * x[m * k + c - 1] + 0.5f * x[m * k + c];
  }
  ThreadPool pool(1);
  Hessian hessian(kernels, static_cast<int>(k));
  Hessian::Scratch scratch;
  hessian.add(pool, x.data(), std::vector<float>(rows, 1.0f), k, scratch);
  return error_form(hessian, {}, false);
}

double error_of_row(const ErrorForm& form, const float* w, const double* stored) {
  double sum = 0;
  for (size_t i = 0; i < form.k; ++i) {
    for (size_t j = 0; j < form.k; ++j) {
      sum += (w[i] - stored[i]) * double{form.h[i * form.k + j]} * (w[j] - stored[j]);
    }
  }
  return sum;
}

// Levels -2 .. 1, a step of 1.
double level(double x) { return std::clamp(std::nearbyint(x), -2.0, 1.0); }

void improve(RowBlock& part) {
  for (int round = 0; round < 3; ++round) {
    for (size_t i = 0; i < part.size(); ++i) part.store(i, level(part.best_value(i)));
  }
}

std::vector<double> gptq(const ErrorForm& form, const std::vector<float>& w) {
  ThreadPool pool(1);
  std::vector<double> stored(w.size());
  gptq_round(pool, inverse_factor(pool, form), w.data(), w.size() / form.k,
             [&](size_t n, size_t k, double x) { return stored[n * form.k + k] = level(x); });
  return stored;
}

double least_error(const ErrorForm& form, const float* w) {
  size_t count = 1;
  for (size_t i = 0; i < form.k; ++i) count *= 4;
  double least = INFINITY;
  std::vector<double> stored(form.k);
  for (size_t code = 0; code < count; ++code) {
    for (size_t i = 0; i < form.k; ++i) stored[i] = static_cast<double>(code >> (2 * i) & 3) - 2;
    least = std::min(least, error_of_row(form, w, stored.data()));
  }
  return least;
}

TEST(Descent, NearerToTheBestThereIsThanGptq) {
  constexpr size_t kInputs = 6, kRows = 40;
  const ErrorForm form = form_of(kInputs, 1);
  const std::vector<float> w = normal_values(kRows * kInputs, 2, 0.8f);
  const std::vector<double> before = gptq(form, w);
  std::vector<double> after = before;
  ThreadPool pool(2);
  descend(pool, form, w, 4, improve, after);  // blocks of 4 and 2 inputs
  double best_sum = 0, before_sum = 0, after_sum = 0;
  for (size_t n = 0; n < kRows; ++n) {
    const float* row = w.data() + n * kInputs;
    const double least = least_error(form, row), was = error_of_row(form, row, before.data() + n * kInputs),
                 is = error_of_row(form, row, after.data() + n * kInputs);
    EXPECT_LE(is, was * (1 + 1e-5));
    EXPECT_GE(is, least * (1 - 1e-9));
    best_sum += least;
    before_sum += was;
    after_sum += is;
  }
  EXPECT_GT(before_sum, 1.01 * best_sum);
  EXPECT_LT(after_sum - best_sum, 0.7 * (before_sum - best_sum));
}

// What blocks know of each other is up to date: no weight alone can be changed for the better, whatever its block.
TEST(Descent, EndsWhereNoWeightAloneCanBeBetter) {
  constexpr size_t kInputs = 40, kRows = 35;
  const ErrorForm form = form_of(kInputs, 3);
  const std::vector<float> w = normal_values(kRows * kInputs, 4, 0.8f);
  std::vector<double> stored = gptq(form, w);
  ThreadPool pool(2);
  for (int again = 0; again < 5; ++again) descend(pool, form, w, 16, improve, stored);
  for (size_t n = 0; n < kRows; ++n) {
    const float* row = w.data() + n * kInputs;
    const double is = error_of_row(form, row, stored.data() + n * kInputs);
    for (size_t i = 0; i < kInputs; ++i) {
      std::vector<double> other(stored.begin() + static_cast<ptrdiff_t>(n * kInputs),
                                stored.begin() + static_cast<ptrdiff_t>((n + 1) * kInputs));
      for (double value = -2; value <= 1; ++value) {
        other[i] = value;
        EXPECT_GE(error_of_row(form, row, other.data()), is * (1 - 1e-5)) << n << " " << i;
      }
    }
  }
}

TEST(Descent, TheBestFactorIsTheMinimum) {
  constexpr size_t kInputs = 12, kFirst = 4, kBlock = 4;
  const ErrorForm form = form_of(kInputs, 5);
  const std::vector<float> w = normal_values(kInputs, 6);
  std::vector<double> stored(kInputs);
  for (size_t i = 0; i < kInputs; ++i) stored[i] = 0.8 * double{w[i]} + 0.05 * static_cast<double>(i % 3);
  const std::vector<double> before = stored;
  double found = 1;
  ThreadPool pool(1);
  bool first_time = true;
  descend(
      pool, form, w, kBlock,
      [&](RowBlock& part) {
        if (part.first() != kFirst || !first_time) return;
        first_time = false;
        found = part.best_factor();
        for (size_t i = 0; i < part.size(); ++i) part.store(i, part.stored(i) * found);
        EXPECT_NEAR(part.best_factor(), 1, 1e-6);
      },
      stored);
  const auto error = [&](double factor) {
    std::vector<double> scaled = before;
    for (size_t i = kFirst; i < kFirst + kBlock; ++i) scaled[i] *= factor;
    return error_of_row(form, w.data(), scaled.data());
  };
  EXPECT_GT(std::fabs(found - 1), 0.01);
  EXPECT_LT(error(found), error(1));
  EXPECT_LT(error(found), error(found + 1e-3));
  EXPECT_LT(error(found), error(found - 1e-3));
}

TEST(Descent, SameForAnyThreadsAndInstructionSet) {
  constexpr size_t kInputs = 50, kRows = 70;
  const std::vector<float> w = normal_values(kRows * kInputs, 8);
  std::vector<double> first;
  for (const KernelTable* table : compiled_tables()) {
    if (!is_available(*table, detect_cpu_features())) continue;
    const ErrorForm form = form_of(kInputs, 7, *table);
    const std::vector<double> start = gptq(form, w);
    for (const int threads : {1, 3}) {
      ThreadPool pool(threads);
      std::vector<double> stored = start;
      descend(pool, form, w, 16, improve, stored);
      if (first.empty()) first = stored;
      EXPECT_EQ(stored, first) << table->name;
      EXPECT_NE(stored, start);
    }
  }
}

// ---- what the error is measured by ----

TEST(ErrorForm, WeightedAndWithoutTheMean) {
  constexpr size_t kInputs = 5, kRows = 100;
  std::vector<float> x = normal_values(kRows * kInputs, 9), weight = normal_values(kRows, 10);
  for (size_t i = 0; i < x.size(); ++i) x[i] += static_cast<float>(i % kInputs);  // means that are not 0
  for (float& f : weight) f = f * f + 0.1f;
  ThreadPool pool(1);
  Hessian hessian(kScalarTable, kInputs);
  Hessian::Scratch scratch;
  hessian.add(pool, x.data(), std::span(weight).first(60), kInputs, scratch);
  hessian.add(pool, x.data() + 60 * kInputs, std::span(weight).subspan(60), kInputs, scratch);
  const std::vector<float> scale = {1, 2, 0.5f, 1, 4};
  const ErrorForm form = error_form(hessian, scale, true);

  double total = 0, diagonal = 0;
  std::vector<double> mean(kInputs), expected(kInputs * kInputs);
  for (const float f : weight) total += f;
  for (size_t i = 0; i < x.size(); ++i) mean[i % kInputs] += double{weight[i / kInputs]} * x[i] / total;
  for (size_t m = 0; m < kRows; ++m) {
    for (size_t i = 0; i < kInputs * kInputs; ++i) {
      const size_t a = i / kInputs, b = i % kInputs;
      expected[i] +=
          double{weight[m]} * (x[m * kInputs + a] - mean[a]) * (x[m * kInputs + b] - mean[b]) / scale[a] / scale[b];
    }
  }
  for (size_t i = 0; i < kInputs; ++i) diagonal += expected[i * (kInputs + 1)] / kInputs;
  for (size_t i = 0; i < kInputs; ++i) expected[i * (kInputs + 1)] += 0.01 * diagonal;
  for (size_t i = 0; i < expected.size(); ++i) EXPECT_NEAR(form.h[i], expected[i], 1e-5 * diagonal) << i;
  for (size_t i = 0; i < kInputs; ++i) EXPECT_NEAR(hessian.mean(static_cast<int>(i)), mean[i], 1e-12);
}

// What rounding makes of a large constant's moment about its mean, which is 0, may be more than all other moments.
TEST(ErrorForm, AConstantInputAmongNormalOnes) {
  constexpr size_t kInputs = 256, kRows = 512, kBatches = 16, kConstant = 100;
  ThreadPool pool(1);
  Hessian hessian(kScalarTable, kInputs);
  Hessian::Scratch scratch;
  for (uint32_t batch = 0; batch < kBatches; ++batch) {
    std::vector<float> x = normal_values(kRows * kInputs, 20 + batch);
    for (size_t row = 0; row < kRows; ++row) x[row * kInputs + kConstant] = 1000.1f;
    hessian.add(pool, x.data(), std::vector<float>(kRows, 1.0f), kInputs, scratch);
  }
  std::vector<float> scale(kInputs, 1.0f);
  for (const float divisor : {1.0f, 50.0f}) {
    scale[kConstant] = divisor;
    const ErrorForm form = error_form(hessian, scale, true);
    const double second = kRows * kBatches * 1000.1 * 1000.1 / divisor / divisor;
    EXPECT_NEAR(form.h[kConstant * (kInputs + 1)] / second, 1e-4, 0.5e-4);
    EXPECT_NO_THROW(inverse_factor(pool, form));
  }
}

// To the bit, also where means leave little but rounding.
TEST(ErrorForm, IsSymmetric) {
  constexpr size_t kInputs = 64, kRows = 300;
  std::vector<float> x = normal_values(kRows * kInputs, 40);
  for (float& value : x) value += 1000.1f;
  ThreadPool pool(1);
  Hessian hessian(kScalarTable, kInputs);
  Hessian::Scratch scratch;
  hessian.add(pool, x.data(), std::vector<float>(kRows, 1.1f), kInputs, scratch);
  const ErrorForm form = error_form(hessian, {}, true);
  size_t different = 0;
  for (size_t i = 0; i < kInputs; ++i) {
    for (size_t j = 0; j < i; ++j) different += form.h[i * kInputs + j] != form.h[j * kInputs + i] ? 1u : 0u;
  }
  EXPECT_EQ(different, 0u);
}

}  // namespace
}  // namespace octobert::converter
