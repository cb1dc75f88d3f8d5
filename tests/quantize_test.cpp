// Int8 weights, measured noise, provenance: the converter's small parts.
#include "converter/quantize.h"

#include <gtest/gtest.h>

#include <bit>
#include <cfenv>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>

#include "converter/provenance.h"
#include "converter/sqnr.h"
#include "kernels/dispatch.h"
#include "kernels/layout.h"
#include "octobert/error.h"
#include "octobert/thread_pool.h"
#include "tests/temporary_folder.h"

namespace octobert::converter {
namespace {

using format::Scheme;

struct Quantized {
  std::vector<int8_t> q;
  std::vector<float> scale;
  friend bool operator==(const Quantized&, const Quantized&) = default;
};

Quantized quantize(const std::vector<float>& w, size_t rows, size_t columns, int threads = 1) {
  ThreadPool pool(threads);
  Quantized result{std::vector<int8_t>(rows * columns), std::vector<float>(rows)};
  quantize_rows(pool, w.data(), rows, columns, result.q.data(), result.scale.data());
  return result;
}

std::vector<float> random_weights(size_t count, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.0f, 0.05f);
  std::vector<float> w(count);
  for (float& value : w) value = normal(random);
  return w;
}

TEST(Quantize, RuleInWords) {
  // absmax 127: inverse 1, so that values round as they stand, halves to even.
  const std::vector<float> w = {127.0f, 0.5f, 1.5f, 2.5f, -0.5f, -1.5f, -126.5f, 126.5f, 0.49999997f, -0.0f};
  const Quantized row = quantize(w, 1, w.size());
  EXPECT_EQ(row.q, (std::vector<int8_t>{127, 0, 2, 2, 0, -2, -126, 126, 0, 0}));
  EXPECT_EQ(row.scale[0], 1.0f);
  EXPECT_EQ(quantize({-3.0f, 3.0f}, 1, 2).q, (std::vector<int8_t>{-127, 127}));
}

TEST(Quantize, RowsWithoutAScale) {
  constexpr float kTiny = std::numeric_limits<float>::denorm_min();
  const Quantized rows = quantize({0.0f, -0.0f, kTiny, -kTiny, 0.9e-30f, 0.0f, 1.1e-30f, 0.0f}, 4, 2);
  EXPECT_EQ(rows.q, (std::vector<int8_t>{0, 0, 0, 0, 0, 0, 127, 0}));
  EXPECT_EQ(rows.scale, (std::vector<float>{1.0f, 1.0f, 1.0f, 1.1e-30f / 127.0f}));
}

TEST(Quantize, ExtremeRows) {
  constexpr float kMax = std::numeric_limits<float>::max();
  const Quantized rows = quantize({kMax, -kMax, kMax / 2, 1.0f}, 2, 2);
  EXPECT_EQ(rows.q, (std::vector<int8_t>{127, -127, 127, 0}));
  EXPECT_TRUE(std::isfinite(rows.scale[0]));
}

TEST(Quantize, ErrorIsAtMostHalfAStep) {
  constexpr size_t kRows = 37, kColumns = 301;
  const std::vector<float> w = random_weights(kRows * kColumns, 7);
  const Quantized rows = quantize(w, kRows, kColumns);
  for (size_t i = 0; i < w.size(); ++i) {
    const double step = rows.scale[i / kColumns];
    EXPECT_NE(rows.q[i], -128);
    EXPECT_LE(std::abs(w[i] - rows.q[i] * step), step * (0.5 + 1e-5)) << i;
  }
}

// The same rule as the engine's for activations, so that there is one to read and one to trust.
TEST(Quantize, EqualsTheKernels) {
  constexpr size_t kRows = 19, kColumns = 133;
  const std::vector<float> w = random_weights(kRows * kColumns, 3);
  const Quantized ours = quantize(w, kRows, kColumns);
  const KernelTable& scalar = *compiled_tables().front();
  std::vector<uint8_t> bytes(kRows * activation_stride(kColumns));
  std::vector<float> scale(kRows);
  QuantizeRowsArgs args{};
  args.src = w.data();
  args.lds = kColumns;
  args.dst = bytes.data();
  args.ldd = activation_stride(kColumns);
  args.scale = scale.data();
  args.m = kRows;
  args.k = kColumns;
  scalar.quantize_rows(args);
  EXPECT_EQ(ours.scale, scale);
  for (size_t i = 0; i < w.size(); ++i) {
    const int theirs = static_cast<int8_t>(bytes[i / kColumns * args.ldd + i % kColumns]) - scalar.activation_offset;
    ASSERT_EQ(ours.q[i], theirs) << i;
  }
}

TEST(Quantize, SameForAnyThreadsAndFloatingPointMode) {
  constexpr size_t kRows = 100, kColumns = 64;
  std::vector<float> w = random_weights(kRows * kColumns, 5);
  for (size_t i = 0; i < kColumns; ++i) w[i] *= 1e-37f;  // a row that flush-to-zero would change
  const Quantized expected = quantize(w, kRows, kColumns, 1);
  EXPECT_EQ(quantize(w, kRows, kColumns, 2), expected);
  EXPECT_EQ(quantize(w, kRows, kColumns, 5), expected);
  ASSERT_EQ(std::fesetround(FE_UPWARD), 0);
  ThreadPool pool(3);  // its threads inherit the mode
  Quantized found{std::vector<int8_t>(w.size()), std::vector<float>(kRows)};
  quantize_rows(pool, w.data(), kRows, kColumns, found.q.data(), found.scale.data());
  std::fesetround(FE_TONEAREST);
  EXPECT_EQ(found, expected);
}

TEST(PackedLinear, Layouts) {
  ThreadPool pool(2);
  for (const auto& [n, k] : {std::pair{1, 1}, {16, 4}, {17, 5}, {40, 31}, {3, 64}}) {
    const auto rows = static_cast<size_t>(n), columns = static_cast<size_t>(k), padded = padded_outputs(rows);
    const std::vector<float> w = random_weights(rows * columns, 11), bias = random_weights(rows, 12);
    const Quantized expected = quantize(w, rows, columns);
    const PackedLinear floats(pool, Scheme::kFloat, w, bias, n, k);
    const PackedLinear ints(pool, Scheme::kDynamic, w, bias, n, k);
    for (size_t i = 0; i < padded; ++i) {
      int32_t sum = 0;
      for (size_t j = 0; j < columns; ++j) {
        const bool is_row = i < rows;
        ASSERT_EQ(floats.view().weight_f32[packed_f32_offset(i, j, columns)], is_row ? w[i * columns + j] : 0.0f);
        const int8_t q = ints.view().weight_s8[packed_s8_offset(i, j, columns)];
        ASSERT_EQ(q, is_row ? expected.q[i * columns + j] : 0);
        sum += q;
      }
      for (size_t j = columns; j % kGroupDepth != 0; ++j) {
        ASSERT_EQ(ints.view().weight_s8[packed_s8_offset(i, j, columns)], 0);
      }
      EXPECT_EQ(ints.view().sum[i], sum);
      EXPECT_EQ(ints.view().scale[i], i < rows ? expected.scale[i] : 0.0f);
      EXPECT_EQ(ints.view().bias[i], i < rows ? bias[i] : 0.0f);
      EXPECT_EQ(floats.view().bias[i], i < rows ? bias[i] : 0.0f);
    }
  }
}

TEST(Sqnr, DecibelIsTheLogarithm) {
  std::mt19937_64 random(1);
  std::uniform_real_distribution<double> exponent(-150, 150);
  for (int i = 0; i < 100000; ++i) {
    const double signal = std::pow(10.0, exponent(random)), noise = std::pow(10.0, exponent(random));
    const double expected = 10 * (std::log10(signal) - std::log10(noise));
    ASSERT_NEAR(decibel(signal, noise), expected, 1e-11 + 1e-14 * std::abs(expected));
  }
  EXPECT_EQ(decibel(1, 0), std::numeric_limits<double>::infinity());
  EXPECT_EQ(decibel(0, 0), std::numeric_limits<double>::infinity());
  EXPECT_EQ(decibel(1, 1), 0);
  EXPECT_LT(decibel(0, 1), -3000);
  EXPECT_NEAR(decibel(100, 1), 20, 1e-13);
}

TEST(Sqnr, Meter) {
  const std::vector<float> expected = {3, 4, 99, 0, 12, 99}, found = {3, 3, -99, 0, 12, -99};
  const auto result = [](const char* name, const std::vector<float>& data) {
    return Intermediate{name, data.data(), 2, 2, 3};  // the third column is not part of it
  };
  SqnrMeter meter;
  for (int round = 0; round < 2; ++round) {
    meter.expect(result("a", expected));
    meter.expect(result("b", expected));
    meter.compare(result("a", found));
    meter.compare(result("b", expected));
  }
  const std::vector<LayerSqnr> sqnr = meter.result();
  ASSERT_EQ(sqnr.size(), 2U);
  EXPECT_EQ(sqnr[0].name, "a");
  EXPECT_NEAR(sqnr[0].decibel, 10 * std::log10((9 + 16 + 0 + 144) / 1.0), 1e-12);
  EXPECT_EQ(sqnr[1].decibel, std::numeric_limits<double>::infinity());
  EXPECT_THROW(meter.compare(result("a", found)), std::logic_error);
}

TEST(Sqnr, FactorsOfEqualizedChannelsAreNoNoise) {
  const std::vector<float> expected = {1, 3, 2, -1, 3, 2}, scaled = {4, 0.3F, 8, -0.1F, 12, 0.2F};
  const std::vector<float> rounded = {1.01F, 3, 2.01F, -1, 3.01F, 2};
  const auto decibel_of = [&](const char* name, const std::vector<float>& found) {
    SqnrMeter meter;
    meter.expect({name, expected.data(), 3, 2, 2});
    meter.compare({name, found.data(), 3, 2, 2});
    return meter.result().front().decibel;
  };
  EXPECT_GT(decibel_of("layer.0.qkv", scaled), 100);
  EXPECT_LT(decibel_of("layer.0.ffn1", scaled), 0);
  // Not taken for a factor: noise.
  EXPECT_NEAR(decibel_of("layer.0.context", rounded), 10 * std::log10(28 / 3e-4), 1e-3);
  EXPECT_EQ(decibel_of("layer.0.context", expected), std::numeric_limits<double>::infinity());
}

TEST(Provenance, Sha256) {
  const test::TemporaryFolder folder;
  test::write_file(folder / "b", "abc");  // FIPS 180-2's examples
  test::write_file(folder / "a", "");
  test::write_file(folder / "million", std::string(1'000'000, 'a'));
  const std::string abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
  const std::string empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
  EXPECT_EQ(sha256_of_file(folder / "b"), abc);
  EXPECT_EQ(sha256_of_file(folder / "million"), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
  const SourceHashes hashes = hash_sources(folder.path(), {"b", "a"});
  ASSERT_EQ(hashes.files.size(), 2U);
  EXPECT_EQ(hashes.files[0], (std::pair<std::string, std::string>{"a", empty}));
  // printf 'HASH  a\nHASH  b\n' | sha256sum
  test::write_file(folder / "listing", empty + "  a\n" + abc + "  b\n");
  EXPECT_EQ(hashes.combined, sha256_of_file(folder / "listing"));
  EXPECT_THROW(hash_sources(folder.path(), {"absent"}), Error);
}

}  // namespace
}  // namespace octobert::converter
