// quantize_rows, layer_norm, embed, softmax and the elementary functions: every table against the scalar one bit for
// bit; the scalar one against formulas in double precision with derived bounds.
#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/numerics.h"
#include "tests/kernels_test_util.h"

namespace octobert::testing {
namespace {

using RowsTest = KernelTest;

std::vector<int> widths() {
  std::vector<int> n;
  for (int i = 1; i <= 70; ++i) n.push_back(i);
  n.insert(n.end(), {95, 96, 97, 100, 312, 384, 768, 1023, 1024, 3072, 4096});
  return n;
}

// ---- elementary functions ----

// Every exponent, both signs, the odd values, and an odd stride through all mantissas.
std::vector<float> sweep_of_floats() {
  std::vector<float> x;
  for (uint64_t bits = 0; bits < (1ull << 32); bits += 65521)
    x.push_back(std::bit_cast<float>(static_cast<uint32_t>(bits)));
  for (int i = -24000; i <= 24000; ++i) x.push_back(static_cast<float>(i) * 0x1.07p-11f);  // -12 to 12
  for (float v : {0.0f, 1.0f, 5.75f, 87.0f, 88.0f, 1e-45f, 3.4e38f, INFINITY, NAN}) x.insert(x.end(), {v, -v});
  return x;
}

TEST_P(RowsTest, ActivationsGiveTheScalarBits) {
  const std::vector<float> x = sweep_of_floats();
  for (Activation activation : {Activation::kNone, Activation::kGelu, Activation::kGeluTanh, Activation::kRelu}) {
    std::vector<float> expected(x.size()), actual(x.size());
    kScalarTable.activate(x.data(), expected.data(), x.size(), activation);
    table().activate(x.data(), actual.data(), x.size(), activation);
    EXPECT_TRUE(same_bits(expected, actual)) << "activation " << static_cast<int>(activation);
  }
  for (size_t n = 0; n <= 50; ++n) {
    GuardBuffer<float> from(n, Guard::kAfter), to(n, n % 2 ? Guard::kAfter : Guard::kBefore);
    std::copy_n(x.begin() + 70000, n, from.begin());
    std::vector<float> expected(n);
    kScalarTable.activate(from.data(), expected.data(), n, Activation::kGelu);
    table().activate(from.data(), to.data(), n, Activation::kGelu);
    EXPECT_TRUE(same_bits(expected, to.span()));
  }
}

TEST(ScalarElementary, GeluIsWithinItsStatedError) {
  double worst = 0;
  for (float x : sweep_of_floats()) {
    if (!std::isfinite(x)) continue;
    float y = 0;
    kScalarTable.activate(&x, &y, 1, Activation::kGelu);
    const double exact = 0.5 * double{x} * std::erfc(-double{x} / std::sqrt(2.0));
    // 1.41e-6 of the fit and float's rounding; far out, y is x.
    worst = std::max(worst, std::abs(double{y} - exact) - 0x1p-23 * std::abs(exact));
  }
  EXPECT_LE(worst, 1.5e-6);
}

TEST(ScalarElementary, GeluFarOutIsXOrNothing) {
  const std::vector<float> x = {0.0f, -0.0f, 5.75f, 6.0f, 1e30f, INFINITY, -5.75f, -1e30f, -INFINITY};
  std::vector<float> y(x.size());
  kScalarTable.activate(x.data(), y.data(), x.size(), Activation::kGelu);
  EXPECT_TRUE(same_bits(std::span(x).first(6), std::span(y).first(6)));
  for (size_t i = 6; i < x.size(); ++i) {
    EXPECT_LE(y[i], 0.0f);
    EXPECT_GE(y[i], -1e-9f);
  }
}

TEST(ScalarElementary, GeluTanhIsWithinFourUlp) {
  for (float x : sweep_of_floats()) {
    if (!std::isfinite(x) || std::abs(x) > 1e12f) continue;
    float y = 0;
    kScalarTable.activate(&x, &y, 1, Activation::kGeluTanh);
    const double u = std::sqrt(2.0 / M_PI) * (double{x} + 0.044715 * std::pow(double{x}, 3));
    const double exact = double{x} / (1.0 + std::exp(-2.0 * u));
    // exp's argument z = -2u is off by a few half ulp of itself, so its value by |z| * 2^-22 relative; exp adds 2 ulp
    // and the sum and quotient one more. At the clamp (z > 88) y is x e^-88, about 0.
    const double relative = std::min(88.0, std::abs(2.0 * u)) * 0x1p-21 + 4 * 0x1p-23;
    EXPECT_NEAR(y, exact, std::abs(exact) * relative + std::abs(double{x}) * 1e-37 + 0x1p-149) << "x " << x;
  }
}

TEST(ScalarElementary, ReluKeepsNanAndDropsTheSignOfZero) {
  const std::vector<float> x = {-1.0f, -0.0f, 0.0f, 2.5f, NAN, -INFINITY, INFINITY};
  std::vector<float> y(x.size());
  kScalarTable.activate(x.data(), y.data(), x.size(), Activation::kRelu);
  EXPECT_TRUE(same_bits(std::vector<float>{0.0f, 0.0f, 0.0f, 2.5f, NAN, 0.0f, INFINITY}, y));
}

TEST(ScalarElementary, NanStaysNan) {
  for (Activation activation : {Activation::kNone, Activation::kGelu, Activation::kGeluTanh, Activation::kRelu}) {
    const float x = NAN;
    float y = 0;
    kScalarTable.activate(&x, &y, 1, activation);
    EXPECT_TRUE(std::isnan(y)) << static_cast<int>(activation);
  }
}

// ---- quantize_rows ----

struct Quantized {
  std::vector<int> q;  // without the table's offset
  std::vector<float> scale;
};

Quantized quantize(const KernelTable& table, std::span<const float> rows, int m, int k, bool with_max, Guard guard) {
  const size_t depth = static_cast<size_t>(k), lds = depth + 1, ldd = activation_stride(depth);
  GuardBuffer<float> src((static_cast<size_t>(m) - 1) * lds + depth, guard), scale(static_cast<size_t>(m), guard);
  GuardBuffer<uint8_t> dst(static_cast<size_t>(m) * ldd, guard);
  std::vector<uint32_t> bits;
  for (size_t i = 0; i < static_cast<size_t>(m); ++i) {
    std::copy_n(rows.begin() + static_cast<ptrdiff_t>(i * depth), depth, src.begin() + i * lds);
    uint32_t largest = 0;
    for (size_t j = 0; j < depth; ++j) {
      largest = std::max(largest, std::bit_cast<uint32_t>(rows[i * depth + j]) & 0x7fffffffu);
    }
    bits.resize((i + 1) * kPanelWidth);
    bits[i * kPanelWidth + i % kPanelWidth] =
        largest;  // wherever it is among a row's, and whatever less the others are
    bits[i * kPanelWidth + (i + 5) % kPanelWidth] = largest / 2;
  }
  table.quantize_rows({.src = src.data(),
                       .lds = lds,
                       .row_max_bits = with_max ? bits.data() : nullptr,
                       .dst = dst.data(),
                       .ldd = ldd,
                       .scale = scale.data(),
                       .m = m,
                       .k = k});
  Quantized out{{}, {scale.begin(), scale.end()}};
  for (size_t i = 0; i < static_cast<size_t>(m); ++i) {
    for (size_t j = 0; j < depth; ++j) {
      const uint8_t byte = dst[i * ldd + j];
      out.q.push_back(table.activation_offset ? byte - table.activation_offset : static_cast<int8_t>(byte));
    }
  }
  return out;
}

TEST_P(RowsTest, QuantizeRowsGivesTheScalarBits) {
  uint32_t seed = 1;
  for (int k : widths()) {
    for (Values values : kAllValues) {
      Random random(++seed);
      std::vector<float> rows(4 * static_cast<size_t>(k));
      random.fill(rows, values);
      const Guard guard = seed % 2 ? Guard::kAfter : Guard::kBefore;
      const Quantized expected = quantize(kScalarTable, rows, 4, k, seed % 3 == 0, guard);
      const Quantized actual = quantize(table(), rows, 4, k, seed % 3 == 0, guard);
      ASSERT_EQ(expected.q, actual.q) << "K " << k;
      ASSERT_TRUE(same_bits(expected.scale, actual.scale)) << "K " << k;
    }
  }
}

TEST(ScalarRows, QuantizationIsWithinHalfAStep) {
  Random random(3);
  std::vector<float> rows(20 * 97);
  for (float& x : rows) x = random.activation();
  const Quantized out = quantize(kScalarTable, rows, 20, 97, false, Guard::kAfter);
  for (size_t i = 0; i < rows.size(); ++i) {
    const double scale = out.scale[i / 97];
    EXPECT_LE(std::abs(rows[i] - out.q[i] * scale), scale * (0.5 + 127 * 3 * 0x1p-24)) << i;
    EXPECT_LE(std::abs(out.q[i]), 127);
  }
}

TEST(ScalarRows, QuantizationOfOddRows) {
  const std::vector<float> rows = {0.0f,     -0.0f, 0.0f,   // zeros: scale 1
                                   9e-31f,   0.0f,  0.0f,   // tiny: zeros
                                   INFINITY, 1.0f,  2.0f,   // not finite: scale NaN
                                   NAN,      1.0f,  2.0f,   //
                                   2.54f,    0.01f, 0.03f,  // ties: 0.5 and 1.5 go to even
                                   3.4e38f,  1e38f, -3.4e38f};
  const Quantized out = quantize(kScalarTable, rows, 6, 3, false, Guard::kAfter);
  EXPECT_TRUE(same_bits(std::vector<float>{1.0f, 1.0f, NAN, NAN, 2.54f / 127.0f, 3.4e38f / 127.0f}, out.scale));
  EXPECT_EQ(out.q, (std::vector<int>{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 127, out.q[13], out.q[14], 127, 37, -127}));
  EXPECT_TRUE(out.q[13] == 0 || out.q[13] == 1);  // 0.01 * (127 / 2.54) is 0.5 up to its rounding
}

// ---- layer_norm ----

struct Normalized {
  std::vector<float> y, scale;
  std::vector<uint8_t> q;
};

Normalized layer_norm(const KernelTable& table, int n, uint32_t seed, Values values, Guard guard) {
  Random random(seed);
  const size_t width = static_cast<size_t>(n), m = 3, ld = width + 2, ldq = activation_stride(width);
  const bool with_residual = seed % 2, with_q = seed % 3 != 0, in_place = seed % 5 == 0;
  GuardBuffer<float> x((m - 1) * ld + width, guard), residual((m - 1) * ld + width, guard), gamma(width, guard),
      beta(width, guard), y((m - 1) * ld + width, guard), scale(m, guard);
  GuardBuffer<uint8_t> q(m * ldq, guard);
  random.fill({x.data(), x.size()}, values);
  random.fill({residual.data(), residual.size()}, values);
  random.fill({gamma.data(), width}, Values::kRandom);
  random.fill({beta.data(), width}, Values::kRandom);
  std::fill(y.begin(), y.end(), -77.0f);
  float* out = in_place ? x.data() : y.data();
  table.layer_norm({.x = x.data(),
                    .ldx = ld,
                    .residual = with_residual ? residual.data() : nullptr,
                    .ldr = ld,
                    .gamma = gamma.data(),
                    .beta = beta.data(),
                    .eps = 1e-12f,
                    .y = out,
                    .ldy = ld,
                    .q = with_q ? q.data() : nullptr,
                    .ldq = ldq,
                    .scale = with_q ? scale.data() : nullptr,
                    .m = static_cast<int>(m),
                    .n = n});
  Normalized result{{out, out + y.size()}, {scale.begin(), scale.end()}, {}};
  for (size_t i = 0; i < m; ++i) {
    for (size_t j = 0; with_q && j < width; ++j) {
      result.q.push_back(static_cast<uint8_t>(q[i * ldq + j] - table.activation_offset));
    }
  }
  return result;
}

TEST_P(RowsTest, LayerNormGivesTheScalarBits) {
  uint32_t seed = 1;
  for (int n : widths()) {
    for (Values values : kAllValues) {
      const Guard guard = ++seed % 2 ? Guard::kAfter : Guard::kBefore;
      const Normalized expected = layer_norm(kScalarTable, n, seed, values, guard);
      const Normalized actual = layer_norm(table(), n, seed, values, guard);
      ASSERT_TRUE(same_bits(expected.y, actual.y)) << "N " << n << " values " << static_cast<int>(values);
      ASSERT_TRUE(same_bits(expected.scale, actual.scale)) << "N " << n;
      ASSERT_EQ(expected.q, actual.q) << "N " << n;
    }
  }
}

TEST(ScalarRows, LayerNormIsCloseToDouble) {
  for (int n : {2, 17, 384, 768}) {
    Random random(static_cast<uint32_t>(n));
    const size_t width = static_cast<size_t>(n);
    std::vector<float> x(width), residual(width), gamma(width), beta(width), y(width);
    for (auto* v : {&x, &residual, &gamma, &beta}) random.fill(*v, Values::kRandom);
    kScalarTable.layer_norm({.x = x.data(),
                             .ldx = width,
                             .residual = residual.data(),
                             .ldr = width,
                             .gamma = gamma.data(),
                             .beta = beta.data(),
                             .eps = 1e-12f,
                             .y = y.data(),
                             .ldy = width,
                             .q = nullptr,
                             .ldq = 0,
                             .scale = nullptr,
                             .m = 1,
                             .n = n});
    double mean = 0, variance = 0, largest = 0;
    for (size_t i = 0; i < width; ++i) mean += (double{x[i]} + residual[i]) / n;
    for (size_t i = 0; i < width; ++i) {
      variance += std::pow(double{x[i]} + residual[i] - mean, 2) / n;
      largest = std::max(largest, std::abs(double{x[i]} + residual[i]));
    }
    // A lane adds n / 32 terms and the fold 5 more, each step half an ulp of at most n / 32 + 5 largest ones: the mean
    // is off by (n / 32 + 6) 2^-24 largest, the variance relatively by twice as much, y by a few of these.
    const double e = (n / 32.0 + 8.0) * 0x1p-24;
    for (size_t i = 0; i < width; ++i) {
      const double d = (double{x[i]} + residual[i] - mean) / std::sqrt(variance + 1e-12);
      const double bound =
          std::abs(gamma[i]) * e * (largest / std::sqrt(variance) + 4 * std::abs(d)) + 0x1p-23 * std::abs(beta[i]);
      EXPECT_NEAR(y[i], d * gamma[i] + beta[i], 2 * bound) << "N " << n << " at " << i;
    }
  }
}

// ---- embed ----

TEST_P(RowsTest, EmbedGivesTheScalarBits) {
  uint32_t seed = 0;
  for (int n : widths()) {
    Random random(++seed);
    const size_t width = static_cast<size_t>(n), m = 5, ldd = width + 3;
    GuardBuffer<int8_t> word_s8(7 * width);
    GuardBuffer<float> word_scale(7), word_f32(7 * width), type(2 * width), position(6 * width);
    for (int8_t& x : word_s8) x = static_cast<int8_t>(random.integer(-127, 127));
    for (auto* v : {&word_scale, &word_f32, &type, &position}) random.fill({v->data(), v->size()}, Values::kRandom);
    const std::vector<int32_t> ids = {0, 6, 3, 6, 1}, types = {0, 1, 1, 0, 1}, positions = {0, 5, 2, 3, 4};
    for (int form = 0; form < 4; ++form) {
      GuardBuffer<float> expected((m - 1) * ldd + width), actual((m - 1) * ldd + width);
      EmbedArgs args = {.ids = ids.data(),
                        .type_ids = form & 1 ? types.data() : nullptr,
                        .positions = positions.data(),
                        .word_s8 = form & 2 ? word_s8.data() : nullptr,
                        .word_scale = word_scale.data(),
                        .word_f32 = word_f32.data(),
                        .type = type.data(),
                        .position = position.data(),
                        .dst = expected.data(),
                        .ldd = ldd,
                        .m = static_cast<int>(m),
                        .n = n};
      kScalarTable.embed(args);
      args.dst = actual.data();
      table().embed(args);
      ASSERT_TRUE(same_bits(expected.span(), actual.span())) << "N " << n << " form " << form;
    }
  }
}

// ---- softmax ----

TEST_P(RowsTest, SoftmaxGivesTheScalarBits) {
  uint32_t seed = 0;
  for (int n : widths()) {
    for (Values values : kAllValues) {
      Random random(++seed);
      const size_t width = static_cast<size_t>(n), ld = width + 1;
      GuardBuffer<float> x(2 * ld + width), expected(2 * ld + width), actual(2 * ld + width);
      random.fill({x.data(), x.size()}, values);
      kScalarTable.softmax({.x = x.data(), .ldx = ld, .y = expected.data(), .ldy = ld, .m = 3, .n = n});
      table().softmax({.x = x.data(), .ldx = ld, .y = actual.data(), .ldy = ld, .m = 3, .n = n});
      ASSERT_TRUE(same_bits(expected.span(), actual.span())) << "N " << n << " values " << static_cast<int>(values);
      for (size_t gap : {width, ld + width}) expected[gap] = x[gap];  // untouched between rows when in place
      table().softmax({.x = x.data(), .ldx = ld, .y = x.data(), .ldy = ld, .m = 3, .n = n});
      ASSERT_TRUE(same_bits(expected.span(), x.span())) << "in place, N " << n;
    }
  }
}

TEST(ScalarRows, SoftmaxIsCloseToDouble) {
  for (int n : {1, 9, 31, 512}) {
    Random random(static_cast<uint32_t>(n));
    std::vector<float> x(static_cast<size_t>(n)), y(x.size());
    for (float& v : x) v = random.real(-20.0f, 20.0f);
    kScalarTable.softmax({.x = x.data(), .ldx = x.size(), .y = y.data(), .ldy = y.size(), .m = 1, .n = n});
    const double m = *std::max_element(x.begin(), x.end());
    double sum = 0;
    for (float v : x) sum += std::exp(v - m);
    for (size_t i = 0; i < x.size(); ++i) {
      // x - m rounds to half an ulp of at most 40 (2^-19), exp adds 2 ulp, the sum n / 32 + 5 half ulps.
      const double exact = std::exp(x[i] - m) / sum;
      EXPECT_NEAR(y[i], exact, exact * (2 * 0x1p-19 + (8 + n / 32.0) * 0x1p-23)) << i;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Tables, RowsTest, ::testing::ValuesIn(tables_under_test()), table_name);

}  // namespace
}  // namespace octobert::testing
