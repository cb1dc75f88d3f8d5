// Static quantization, smoothed rows, 4-bit panels: every table against the scalar one byte for byte, over ragged
// shapes, hard values and guard pages; the scalar one against what the formulas say.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "kernels/pack.h"
#include "tests/kernels_static_test_util.h"

namespace octobert::testing {
namespace {

using StaticTest = KernelTest;

std::vector<int> widths() {
  std::vector<int> n;
  for (int i = 1; i <= 70; ++i) n.push_back(i);
  n.insert(n.end(), {95, 96, 97, 312, 768, 1023, 1024, 3072});
  return n;
}

// ---- quantize_static ----

Bytes quantize_static(const KernelTable& table, int k, uint32_t seed, Values values, Guard guard) {
  Random random(seed);
  const size_t depth = static_cast<size_t>(k), m = 4, lds = depth + 1, ldd = activation_stride(depth);
  GuardBuffer<float> src((m - 1) * lds + depth, guard), inv(depth, guard);
  GuardBuffer<uint8_t> dst(m * ldd, guard);
  random.fill({src.data(), src.size()}, values);
  fill_inv(random, {inv.data(), depth});
  uint64_t clipped = 5;  // added to
  table.quantize_static({.src = src.data(),
                         .lds = lds,
                         .inv = inv.data(),
                         .zero_point = random.integer(-127, 127),
                         .dst = dst.data(),
                         .ldd = ldd,
                         .m = static_cast<int>(m),
                         .k = k,
                         .clipped = seed % 4 ? &clipped : nullptr});
  return read_bytes(table, dst.data(), ldd, m, depth, clipped);
}

TEST_P(StaticTest, QuantizeStaticGivesTheScalarBytes) {
  uint32_t seed = 1;
  for (int k : widths()) {
    for (Values values : kAllValues) {
      const Guard guard = ++seed % 2 ? Guard::kAfter : Guard::kBefore;
      ASSERT_EQ(quantize_static(kScalarTable, k, seed, values, guard), quantize_static(table(), k, seed, values, guard))
          << "K " << k << " values " << static_cast<int>(values);
    }
  }
}

TEST(ScalarStatic, RoundsClampsAndCounts) {
  // inv 2, zero point 3: fma(x, 2, 3).
  const std::vector<float> src = {0.0f,   0.25f,   0.75f,   62.0f, 62.25f, 62.26f,
                                  -65.0f, -65.25f, -65.26f, 1e30f, NAN,    -INFINITY};
  const std::vector<int> expected = {3, 4, 4, 127, 127, 127, -127, -127, -127, 127, -127, -127};
  const std::vector<float> inv(src.size(), 2.0f);
  std::vector<uint8_t> dst(64);
  uint64_t clipped = 0;
  kScalarTable.quantize_static({.src = src.data(),
                                .lds = 64,
                                .inv = inv.data(),
                                .zero_point = 3,
                                .dst = dst.data(),
                                .ldd = 64,
                                .m = 1,
                                .k = static_cast<int>(src.size()),
                                .clipped = &clipped});
  EXPECT_EQ(read_bytes(kScalarTable, dst.data(), 64, 1, src.size(), 0).q, expected);
  // 127.5 and -127.5 would round to 128 and -128; 127.52, -127.52, 2e30, NaN and -inf are outside too.
  EXPECT_EQ(clipped, kCountClipped ? 7u : 0u);
}

// ---- rows with a multiplier a channel ----

struct Smoothed {
  Bytes bytes;
  std::vector<float> scale;
};

Smoothed quantize_smoothed(const KernelTable& table, int k, uint32_t seed, Values values, Guard guard) {
  Random random(seed);
  const size_t depth = static_cast<size_t>(k), m = 4, lds = depth + 1, ldd = activation_stride(depth);
  GuardBuffer<float> src((m - 1) * lds + depth, guard), inv(depth, guard), scale(m, guard);
  GuardBuffer<uint8_t> dst(m * ldd, guard);
  random.fill({src.data(), src.size()}, values);
  for (float& x : inv) x = random.real(0.01f, 3.0f);
  table.quantize_rows({.src = src.data(),
                       .lds = lds,
                       .row_max_bits = nullptr,
                       .dst = dst.data(),
                       .ldd = ldd,
                       .scale = scale.data(),
                       .m = static_cast<int>(m),
                       .k = k,
                       .inv = inv.data()});
  return {read_bytes(table, dst.data(), ldd, m, depth, 0), {scale.begin(), scale.end()}};
}

TEST_P(StaticTest, SmoothedRowsGiveTheScalarBytes) {
  uint32_t seed = 1;
  for (int k : widths()) {
    for (Values values : kAllValues) {
      const Guard guard = ++seed % 2 ? Guard::kAfter : Guard::kBefore;
      const Smoothed expected = quantize_smoothed(kScalarTable, k, seed, values, guard);
      const Smoothed actual = quantize_smoothed(table(), k, seed, values, guard);
      ASSERT_EQ(expected.bytes, actual.bytes) << "K " << k;
      ASSERT_TRUE(same_bits(expected.scale, actual.scale)) << "K " << k;
    }
  }
}

TEST(ScalarStatic, SmoothedRowsAreRowsOfTheProducts) {
  Random random(3);
  std::vector<float> x(50), inv(50), product(50);
  for (size_t i = 0; i < x.size(); ++i) {
    x[i] = random.activation();
    inv[i] = random.real(0.1f, 4.0f);
    product[i] = x[i] * inv[i];
  }
  std::vector<uint8_t> a(64), b(64);
  float scale_a = 0, scale_b = 0;
  QuantizeRowsArgs args{.src = x.data(),
                        .lds = 50,
                        .row_max_bits = nullptr,
                        .dst = a.data(),
                        .ldd = 64,
                        .scale = &scale_a,
                        .m = 1,
                        .k = 50,
                        .inv = inv.data()};
  kScalarTable.quantize_rows(args);
  args.src = product.data();
  args.inv = nullptr;
  args.dst = b.data();
  args.scale = &scale_b;
  kScalarTable.quantize_rows(args);
  EXPECT_EQ(a, b);
  EXPECT_EQ(scale_a, scale_b);
}

// ---- layer_norm ----

struct Normalized {
  std::vector<float> y, scale;
  Bytes bytes;
};

// fixed: the static form; else a scale a row of values with a multiplier a channel.
Normalized layer_norm(const KernelTable& table, int n, uint32_t seed, Values values, Guard guard, bool fixed) {
  Random random(seed);
  const size_t width = static_cast<size_t>(n), m = 3, ld = width + 2, ldq = activation_stride(width);
  GuardBuffer<float> x((m - 1) * ld + width, guard), residual((m - 1) * ld + width, guard), gamma(width, guard),
      beta(width, guard), inv(width, guard), scale(m, guard);
  GuardBuffer<uint8_t> q(m * ldq, guard);
  random.fill({x.data(), x.size()}, values);
  random.fill({residual.data(), residual.size()}, values);
  random.fill({gamma.data(), width}, Values::kRandom);
  random.fill({beta.data(), width}, Values::kRandom);
  fill_inv(random, {inv.data(), width});
  uint64_t clipped = 0;
  table.layer_norm({.x = x.data(),
                    .ldx = ld,
                    .residual = seed % 2 ? residual.data() : nullptr,
                    .ldr = ld,
                    .gamma = gamma.data(),
                    .beta = beta.data(),
                    .eps = 1e-12f,
                    .y = x.data(),
                    .ldy = ld,
                    .q = q.data(),
                    .ldq = ldq,
                    .scale = fixed ? nullptr : scale.data(),
                    .m = static_cast<int>(m),
                    .n = n,
                    .inv = inv.data(),
                    .zero_point = fixed ? random.integer(-127, 127) : 0,
                    .clipped = &clipped});
  return {{x.begin(), x.end()}, {scale.begin(), scale.end()}, read_bytes(table, q.data(), ldq, m, width, clipped)};
}

TEST_P(StaticTest, LayerNormGivesTheScalarBytes) {
  uint32_t seed = 1;
  for (int n : widths()) {
    for (Values values : kAllValues) {
      for (bool fixed : {true, false}) {
        const Guard guard = ++seed % 2 ? Guard::kAfter : Guard::kBefore;
        const Normalized expected = layer_norm(kScalarTable, n, seed, values, guard, fixed);
        const Normalized actual = layer_norm(table(), n, seed, values, guard, fixed);
        ASSERT_TRUE(same_bits(expected.y, actual.y)) << "N " << n;
        ASSERT_TRUE(same_bits(expected.scale, actual.scale)) << "N " << n;
        ASSERT_EQ(expected.bytes, actual.bytes) << "N " << n << " values " << static_cast<int>(values);
      }
    }
  }
}

TEST(ScalarStatic, LayerNormQuantizesItsResult) {
  const Normalized out = layer_norm(kScalarTable, 37, 4, Values::kRandom, Guard::kAfter, true);
  Random random(4);  // the same draws again
  std::vector<float> drawn(2 * (2 * 39 + 37) + 2 * 37), inv(37);
  for (size_t i = 0; i < drawn.size(); ++i) drawn[i] = random.activation();
  fill_inv(random, inv);
  const int zero = random.integer(-127, 127);
  for (size_t m = 0; m < 3; ++m) {
    for (size_t n = 0; n < 37; ++n) {
      const float v = std::fma(out.y[m * 39 + n], inv[n], static_cast<float>(zero));
      ASSERT_EQ(out.bytes.q[m * 37 + n], static_cast<int>(std::nearbyint(std::clamp(v, -127.0f, 127.0f))));
    }
  }
}

// ---- 4-bit panels ----

TEST_P(StaticTest, FourBitPanelsAreTheWeights) {
  for (int k = 1; k <= 70; ++k) {
    const size_t depth = static_cast<size_t>(k);
    Random random(static_cast<uint32_t>(k));
    std::vector<int8_t> w(16 * depth);
    for (int8_t& x : w) x = static_cast<int8_t>(random.integer(-8, 7));
    GuardBuffer<uint8_t> packed(packed_4bit_bytes(16, depth));
    GuardBuffer<float> floats(packed_f32_floats(16, depth)), codebook(16);
    pack_4bit(w.data(), 16, depth, packed.data());
    for (float& x : codebook) x = random.activation();
    const int group_size = 8 * random.integer(1, 4);
    const size_t groups = (depth + static_cast<size_t>(group_size) - 1) / static_cast<size_t>(group_size);
    GuardBuffer<float> scale((groups - 1) * 48 + 16);  // of three panels' outputs, this one's first
    for (float& x : scale) x = random.real(0.01f, 1.0f);
    table().unpack_panel_s4({.panel = packed.data(),
                             .k = k,
                             .group_scale = scale.data(),
                             .group_stride = 48,
                             .group_size = group_size,
                             .dst = floats.data()});
    for (size_t n = 0; n < 16; ++n) {
      for (size_t i = 0; i < depth; ++i) {
        ASSERT_EQ(floats[packed_f32_offset(n, i, depth)],
                  static_cast<float>(w[n * depth + i]) * scale[i / static_cast<size_t>(group_size) * 48 + n]);
      }
    }
    table().unpack_panel_codebook(packed.data(), k, codebook.data(), floats.data());
    for (size_t n = 0; n < 16; ++n) {
      for (size_t i = 0; i < depth; ++i) {
        ASSERT_EQ(floats[packed_f32_offset(n, i, depth)], codebook[static_cast<size_t>(w[n * depth + i] & 15)]);
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Tables, StaticTest, ::testing::ValuesIn(tables_under_test()), table_name);

}  // namespace
}  // namespace octobert::testing
