// Products and attention with fixed ranges: every table against the scalar one byte for byte, over ragged shapes, hard
// values and guard pages; the scalar one against what the formulas say.
#include <algorithm>
#include <cmath>
#include <vector>

#include "tests/kernels_product_test_util.h"
#include "tests/kernels_static_test_util.h"

namespace octobert::testing {
namespace {

using StaticProductsTest = KernelTest;

// ---- products ----

std::vector<Shape> shapes() {
  std::vector<Shape> all;
  for (int m = 1; m <= 17; ++m) {
    for (int n : {1, 15, 16, 17, 48, 49, 64, 80}) all.push_back({m, n, (m * n) % 37 + 1});
  }
  for (int k = 1; k <= 40; ++k) all.push_back({3, 17, k});
  for (int m = 18; m <= 50; m += 4) all.push_back({m, 40, 19});
  all.insert(all.end(), {{9, 768, 768}, {5, 768, 3072}, {8, 3072, 768}});
  return all;
}

struct Problem : S8Operands {
  Problem(Shape s, uint32_t seed, Values values, Guard guard) : S8Operands(s, guard), inv(padded, guard) {
    Random random(seed);
    const bool extreme = values == Values::kExtremes;
    draw(random, extreme);
    pack();
    for (float& x : a_scale) x = random.real(0.5f, 2.0f);
    for (size_t n = 0; n < width; ++n) b_scale[n] = random.real(1e-5f, 2e-4f);
    random.fill({bias.data(), width}, values);
    fill_inv(random, {inv.data(), width});
    zero = extreme ? 127 * (2 * random.integer(0, 1) - 1) : random.integer(-127, 127);
    q_zero = random.integer(-127, 127);
  }

  GemmS8Args operands(const KernelTable& table, Activation activation, bool dynamic, float* dst) {
    write_activations(table.activation_offset);
    GemmS8Args g = args(dst, padded, activation);
    if (dynamic) return g;
    g.a_scale = nullptr;
    g.a_zero_point = zero;
    return g;
  }
  std::vector<float> floats(const KernelTable& table, Activation activation, bool dynamic) {
    GuardBuffer<float> dst(rows * padded);
    table.gemm_s8(operands(table, activation, dynamic, dst.data()));
    return {dst.begin(), dst.end()};
  }
  Bytes bytes(const KernelTable& table, Activation activation, bool dynamic, int begin = 0, int end = -1) {
    GemmS8Args g = operands(table, activation, dynamic, nullptr);
    const size_t ldq = padded + 16;
    GuardBuffer<uint8_t> dst((rows - 1) * ldq + padded);
    std::fill(dst.begin(), dst.end(), static_cast<uint8_t>(99 + table.activation_offset));  // in the gaps: stays
    uint64_t clipped = 7;
    g.q = dst.data();
    g.ldq = ldq;
    g.q_inv = inv.data();
    g.q_zero_point = q_zero;
    g.clipped = &clipped;
    g.panel_begin = begin;
    if (end >= 0) g.panel_end = end;
    table.gemm_s8(g);
    Bytes out = read_bytes(table, dst.data(), ldq, rows, padded, clipped);
    for (size_t m = 0; m + 1 < rows; ++m) {
      for (size_t n = padded; n < ldq; ++n) EXPECT_EQ(dst[m * ldq + n], 99 + table.activation_offset);
    }
    return out;
  }

  GuardBuffer<float> inv;
  int32_t zero = 0, q_zero = 0;
};

TEST_P(StaticProductsTest, ProductsGiveTheScalarBits) {
  uint32_t seed = 1;
  for (const Shape& shape : shapes()) {
    const Guard guard = ++seed % 2 ? Guard::kAfter : Guard::kBefore;
    Problem problem(shape, seed, kAllValues[seed % 6], guard);
    const auto activation = static_cast<Activation>(seed % 4);
    const bool dynamic = seed % 3 == 0;
    ASSERT_TRUE(
        same_bits(problem.floats(kScalarTable, activation, dynamic), problem.floats(table(), activation, dynamic)))
        << "M " << shape.m << " N " << shape.n << " K " << shape.k;
    ASSERT_EQ(problem.bytes(kScalarTable, activation, dynamic), problem.bytes(table(), activation, dynamic))
        << "M " << shape.m << " N " << shape.n << " K " << shape.k;
  }
}

TEST_P(StaticProductsTest, PanelRangesGiveTheScalarBytes) {
  for (int begin = 0; begin < 7; ++begin) {
    for (int end = begin; end <= 7; ++end) {
      Problem problem({11, 110, 21}, 5, Values::kRandom, Guard::kAfter);
      ASSERT_EQ(problem.bytes(kScalarTable, Activation::kGelu, false, begin, end),
                problem.bytes(table(), Activation::kGelu, false, begin, end));
    }
  }
}

// A zero point and activations of opposite sign over the deepest reduction: (q - z) reaches 254.
TEST_P(StaticProductsTest, DeepestReductionWithAZeroPointIsExact) {
  for (int sign : {-1, 1}) {
    Problem problem({2, 3, kMaxReductionDepth}, 1, Values::kZeros, Guard::kAfter);
    problem.set_all(127 * sign, -128);
    problem.zero = -127 * sign;
    EXPECT_EQ(problem.floats(table(), Activation::kNone, false)[0],
              -128.0f * 254.0f * static_cast<float>(sign) * static_cast<float>(kMaxReductionDepth));
  }
}

TEST(ScalarStatic, ProductsEqualNaiveLoops) {
  for (const Shape& shape : {Shape{3, 37, 50}, Shape{1, 1, 1}, Shape{2, 129, 301}}) {
    Problem p(shape, 11, Values::kRandom, Guard::kAfter);
    const auto y = p.floats(kScalarTable, Activation::kNone, false);
    const Bytes bytes = p.bytes(kScalarTable, Activation::kNone, false);
    for (size_t m = 0; m < p.rows; ++m) {
      for (size_t n = 0; n < static_cast<size_t>(shape.n); ++n) {
        int64_t acc = 0;
        for (size_t k = 0; k < p.depth; ++k) {
          acc += (int64_t{p.q[m * p.depth + k]} - p.zero) * p.w[n * p.depth + k];
        }
        const float expected = std::fma(static_cast<float>(acc), p.b_scale[n], p.bias[n]);
        ASSERT_EQ(y[m * p.padded + n], expected);
        const float v = std::fma(expected, p.inv[n], static_cast<float>(p.q_zero));
        ASSERT_EQ(bytes.q[m * p.padded + n], static_cast<int>(std::nearbyint(std::clamp(v, -127.0f, 127.0f))));
      }
    }
  }
}

// ---- attention ----

// q, k and v side by side, as the engine has them.
struct Heads {
  Heads(int tokens, int head_dim, uint32_t seed)
      : s(tokens),
        d(head_dim),
        ld(3 * static_cast<size_t>(head_dim) + 19),
        qkv(static_cast<size_t>(tokens) * ld),
        bytes(qkv.size()),
        v_scale(static_cast<size_t>(head_dim)),
        inv(static_cast<size_t>(head_dim)) {
    Random random(seed);
    for (int8_t& x : qkv) x = static_cast<int8_t>(seed % 5 ? random.integer(-127, 127) : 127 * random.integer(-1, 1));
    for (float& x : v_scale) x = random.real(0.001f, 0.02f);
    fill_inv(random, {inv.data(), inv.size()});
    factor = random.real(1e-5f, 3e-3f);
    zero = random.integer(-40, 40);
  }

  struct Out {
    std::vector<float> floats;
    Bytes bytes;
  };
  Out run(const KernelTable& table, int begin, int end, bool to_bytes) {
    for (size_t i = 0; i < qkv.size(); ++i) bytes[i] = static_cast<uint8_t>(qkv[i] + table.activation_offset);
    const size_t width = static_cast<size_t>(d), ldd = width + 3, rows = static_cast<size_t>(s);
    GuardBuffer<float> dst((rows - 1) * ldd + width);
    GuardBuffer<uint8_t> dst_q((rows - 1) * ldd + width);
    std::fill(dst.begin(), dst.end(), -77.0f);
    std::fill(dst_q.begin(), dst_q.end(), static_cast<uint8_t>(99 + table.activation_offset));
    GuardBuffer<uint8_t> scratch((attention_scratch_bytes(rows, width) + 63) / 64 * 64);
    std::fill(scratch.begin(), scratch.end(), uint8_t{0xff});  // nothing may be read before it is written
    uint64_t clipped = 0;
    table.attention_static({.q = bytes.data(),
                            .k = bytes.data() + width,
                            .v = bytes.data() + 2 * width,
                            .ld = ld,
                            .score_factor = factor,
                            .v_scale = v_scale.data(),
                            .dst = to_bytes ? nullptr : dst.data(),
                            .ldd = ldd,
                            .scratch = scratch.data(),
                            .s = s,
                            .head_dim = d,
                            .row_begin = begin,
                            .row_end = end,
                            .dst_q = to_bytes ? dst_q.data() : nullptr,
                            .ldq = ldd,
                            .inv = to_bytes ? inv.data() : nullptr,
                            .zero_point = to_bytes ? zero : 0,
                            .clipped = &clipped});
    Out out{{dst.begin(), dst.end()}, {{}, clipped}};
    for (uint8_t byte : dst_q.span()) {
      out.bytes.q.push_back(table.activation_offset ? byte - table.activation_offset : static_cast<int8_t>(byte));
    }
    return out;
  }

  int s, d;
  size_t ld;
  std::vector<int8_t> qkv;
  GuardBuffer<uint8_t> bytes;
  GuardBuffer<float> v_scale, inv;
  float factor = 0;
  int32_t zero = 0;
};

TEST_P(StaticProductsTest, AttentionGivesTheScalarBits) {
  std::vector<std::pair<int, int>> cases;
  for (int s = 1; s <= 20; ++s) {
    for (int d : {1, 3, 4, 16, 17, 26, 32, 64}) cases.emplace_back(s, d);
  }
  for (int d = 1; d <= 70; ++d) cases.emplace_back(7, d);
  for (int s : {31, 32, 33, 49, 63, 64, 65, 127, 128, 130, 200}) cases.emplace_back(s, 32);
  cases.insert(cases.end(), {{384, 64}, {129, 80}, {50, 128}});
  uint32_t seed = 0;
  for (const auto& [s, d] : cases) {
    Heads heads(s, d, ++seed);
    for (bool to_bytes : {false, true}) {
      const auto expected = heads.run(kScalarTable, 0, s, to_bytes);
      const auto actual = heads.run(table(), 0, s, to_bytes);
      ASSERT_TRUE(same_bits(expected.floats, actual.floats)) << "S " << s << " d " << d;
      ASSERT_EQ(expected.bytes, actual.bytes) << "S " << s << " d " << d;
    }
  }
}

TEST_P(StaticProductsTest, AttentionRowsDoNotDependOnTheRange) {
  Heads heads(37, 24, 6);
  const auto whole = heads.run(kScalarTable, 0, 37, true).bytes.q;
  for (const auto& [begin, end] : {std::pair{0, 1}, {0, 5}, {5, 19}, {36, 37}, {8, 37}}) {
    std::vector<int> expected(whole.size(), 99);
    for (int i = begin; i < end; ++i) std::copy_n(whole.begin() + i * 27, 24, expected.begin() + i * 27);
    ASSERT_EQ(expected, heads.run(table(), begin, end, true).bytes.q) << begin << " to " << end;
  }
}

// Against double precision: probabilities are on levels of 1/254 of the largest, and nothing else is rounded.
TEST(ScalarStatic, AttentionIsWithinHalfALevelOfDouble) {
  for (const auto& [s, d] : {std::pair{1, 64}, {40, 32}, {300, 64}}) {
    Heads p(s, d, 4);
    const auto at = [&](int row, int column) {
      return double{static_cast<double>(p.qkv[static_cast<size_t>(row) * p.ld + static_cast<size_t>(column)])};
    };
    const auto y = p.run(kScalarTable, 0, s, false).floats;
    for (int i = 0; i < s; ++i) {
      std::vector<double> x;
      double largest = -INFINITY, sum = 0;
      for (int j = 0; j < s; ++j) {
        double dot = 0;
        for (int n = 0; n < d; ++n) dot += at(i, n) * at(j, d + n);
        x.push_back(dot * double{p.factor} / std::sqrt(d));
        largest = std::max(largest, x.back());
      }
      for (double& score : x) sum += score = std::exp(score - largest);
      // S levels off by 0.54 each, in numerator and denominator.
      const double levels = 2 * 0.54 * s / (254 * sum) + 1e-4;
      for (int n = 0; n < d; ++n) {
        double acc = 0;
        for (int j = 0; j < s; ++j) acc += x[static_cast<size_t>(j)] / sum * at(j, 2 * d + n);
        const double scale = p.v_scale[static_cast<size_t>(n)];
        ASSERT_NEAR(y[static_cast<size_t>(i * (d + 3) + n)], acc * scale, 127 * scale * levels);
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Tables, StaticProductsTest, ::testing::ValuesIn(tables_under_test()), table_name);

}  // namespace
}  // namespace octobert::testing
