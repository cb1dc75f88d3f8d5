// The double-precision algebra of the weights' rounding, against its definitions.
#include "converter/triangular.h"

#include <gtest/gtest.h>

#include <cmath>

#include "octobert/thread_pool.h"
#include "tests/calibration_test_util.h"

namespace octobert::converter {
namespace {

std::vector<double> values(size_t count, uint32_t seed) {
  const std::vector<float> floats = normal_values(count, seed);
  return {floats.begin(), floats.end()};
}

// Around the tiles' and the blocks' sizes.
constexpr size_t kSizes[] = {1, 2, 7, 63, 64, 65, 129, 200};

// x^T x of a few more rows than columns: positive definite.
std::vector<double> positive_definite(size_t k) {
  const std::vector<double> x = values((k + 8) * k, static_cast<uint32_t>(k));
  std::vector<double> a(k * k);
  for (size_t m = 0; m < k + 8; ++m) {
    for (size_t i = 0; i < k * k; ++i) a[i] += x[m * k + i / k] * x[m * k + i % k];
  }
  return a;
}

TEST(Triangular, SubtractProductIsOneProductAfterTheOther) {
  for (const size_t inner : kSizes) {
    for (const auto& [rows, columns] : {std::pair<size_t, size_t>{1, 1}, {2, 8}, {3, 9}, {64, 70}, {33, 129}}) {
      const size_t stride = columns + 3;
      const std::vector<double> factor = values(rows * inner, 1), source = values(inner * stride, 2);
      std::vector<double> target = values(rows * stride, 3), expected = target;
      for (size_t r = 0; r < rows; ++r) {
        for (size_t c = 0; c < columns; ++c) {
          for (size_t i = 0; i < inner; ++i) {
            expected[r * stride + c] -= factor[i * rows + r] * source[i * stride + c];
          }
        }
      }
      subtract_product({.target = target.data(),
                        .target_stride = stride,
                        .factor = factor.data(),
                        .factor_row = 1,
                        .factor_column = rows,
                        .source = source.data(),
                        .source_stride = stride,
                        .rows = rows,
                        .inner = inner,
                        .columns = columns});
      EXPECT_EQ(target, expected) << rows << " x " << inner << " x " << columns;
    }
  }
}

TEST(Triangular, CholeskyAndInverseAreWhatTheyAreCalled) {
  ThreadPool alone(1), pool(3);
  for (const size_t k : kSizes) {
    const std::vector<double> a = positive_definite(k);
    std::vector<double> u = a, same = a;
    ASSERT_TRUE(cholesky_upper(pool, u, k));
    ASSERT_TRUE(cholesky_upper(alone, same, k));
    for (size_t i = 0; i < k; ++i) {
      for (size_t j = i; j < k; ++j) {
        double sum = 0;
        for (size_t m = 0; m <= i; ++m) sum += u[m * k + i] * u[m * k + j];
        EXPECT_NEAR(sum, a[i * k + j], 1e-12 * std::sqrt(a[i * k + i] * a[j * k + j])) << i << ", " << j << " of " << k;
        EXPECT_EQ(u[i * k + j], same[i * k + j]);
      }
    }
    const std::vector<double> v = inverse_upper(pool, u, k);
    EXPECT_EQ(v, inverse_upper(alone, u, k));
    for (size_t i = 0; i < k; ++i) {
      for (size_t j = 0; j < k; ++j) {
        double sum = 0, size = 0;
        for (size_t m = i; m < k; ++m)
          sum += u[i * k + m] * v[m * k + j], size += std::fabs(u[i * k + m] * v[m * k + j]);
        EXPECT_NEAR(sum, i == j ? 1 : 0, 1e-12 * (1 + size)) << i << ", " << j << " of " << k;
        if (j < i) {
          EXPECT_EQ(v[i * k + j], 0.0);
        }
      }
    }
  }
}

TEST(Triangular, CholeskySaysWhatIsNotPositiveDefinite) {
  ThreadPool pool(2);
  for (const size_t k : kSizes) {
    std::vector<double> a = positive_definite(k);
    a[k * k - 1] = -1;
    EXPECT_FALSE(cholesky_upper(pool, a, k));
    std::vector<double> nan = positive_definite(k);
    nan[k * k - 1] = std::nan("");
    EXPECT_FALSE(cholesky_upper(pool, nan, k));
  }
}

}  // namespace
}  // namespace octobert::converter
