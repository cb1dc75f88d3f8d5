// Matrix products: every table against the scalar one bit for bit, over ragged shapes, hard values and guard pages;
// the scalar one against naive loops on unpacked weights.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>
#include <vector>

#include "tests/kernels_product_test_util.h"

namespace octobert::testing {
namespace {

// One row, one column, odd K, and both sides of every tile edge (rows 4, 6, 8; panels of 16, three at once).
std::vector<Shape> ragged_shapes() {
  std::vector<Shape> shapes;
  for (int m = 1; m <= 17; ++m) {
    for (int n : {1, 15, 16, 17, 33, 48, 49, 64, 80}) {
      for (int k : {1, 2, 3, 4, 5, 7, 8, 9, 31, 64, 67}) shapes.push_back({m, n, k});
    }
  }
  for (int k = 1; k <= 40; ++k) shapes.push_back({3, 17, k});
  for (int n = 1; n <= 130; ++n) shapes.push_back({2, n, 13});
  for (int m = 18; m <= 50; ++m) shapes.push_back({m, 40, 19});
  return shapes;
}

const Shape kBertShapes[] = {{13, 2304, 768}, {9, 768, 768},  {8, 3072, 768}, {5, 768, 3072},
                             {1, 768, 3072},  {3, 1200, 312}, {7, 9, 384},    {2, 1024, 4096}};

struct S8Problem : S8Operands {
  S8Problem(Shape s, uint32_t seed, Values values, Guard guard, int panels_begin = 0, int panels_end = -1)
      : S8Operands(s, guard),
        ldd(padded + 3),
        begin(panels_begin),
        end(panels_end < 0 ? static_cast<int>(panel_count(width)) : panels_end) {
    Random random(seed);
    draw(random, values == Values::kExtremes);
    if (values == Values::kZeros) std::fill(w.begin(), w.end(), int8_t{0});
    pack();
    for (float& x : a_scale) x = values == Values::kRandom ? random.real(1e-3f, 0.1f) : random.value(values);
    for (size_t n = 0; n < width; ++n) {
      b_scale[n] = values == Values::kRandom ? random.real(1e-3f, 0.1f) : random.value(values);
      bias[n] = random.value(values);
    }
  }

  // dst with sentinels in the gaps between its rows, which must survive.
  std::vector<float> run(const KernelTable& table, Activation activation, std::vector<uint32_t>* row_max, Guard guard) {
    write_activations(table.activation_offset);
    GuardBuffer<float> dst(static_cast<size_t>(shape.m - 1) * ldd + padded, guard);
    std::fill(dst.begin(), dst.end(), -77.0f);
    GuardBuffer<uint32_t> bits(static_cast<size_t>(shape.m) * kPanelWidth, guard);
    for (size_t m = 0; m < bits.size(); ++m) bits[m] = m % 3 == 2 ? 0x42000000u : 0;  // 32.0: raised, never lowered
    GemmS8Args g = args(dst.data(), ldd, activation);
    if (row_max) g.row_max_bits = bits.data();
    g.after = after;
    g.fetch_results = fetch_results;
    g.panel_begin = begin;
    g.panel_end = end;
    table.gemm_s8(g);
    if (row_max) row_max->assign(bits.begin(), bits.end());
    return {dst.begin(), dst.end()};
  }

  size_t ldd;
  int begin, end;
  PanelsAhead after = {};
  bool fetch_results = false;
};

bool same_row_max(const std::vector<uint32_t>& a, const std::vector<uint32_t>& b) {
  const auto canonical = [](uint32_t bits) { return bits > 0x7f800000u ? 0x7fc00000u : bits; };
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [&](uint32_t x, uint32_t y) { return canonical(x) == canonical(y); });
}

void expect_same_s8(const KernelTable& table, S8Problem& problem, Activation activation, Guard guard) {
  std::vector<uint32_t> expected_max, actual_max;
  const bool with_max = (problem.shape.m + problem.shape.k) % 2 == 0;
  const auto expected = problem.run(kScalarTable, activation, with_max ? &expected_max : nullptr, guard);
  const auto actual = problem.run(table, activation, with_max ? &actual_max : nullptr, guard);
  EXPECT_TRUE(same_bits(expected, actual))
      << "M " << problem.shape.m << " N " << problem.shape.n << " K " << problem.shape.k;
  EXPECT_TRUE(same_row_max(expected_max, actual_max))
      << "M " << problem.shape.m << " N " << problem.shape.n << " K " << problem.shape.k;
}

using GemmTest = KernelTest;

TEST_P(GemmTest, S8RaggedShapesGiveTheScalarBits) {
  uint32_t seed = 1;
  for (const Shape& shape : ragged_shapes()) {
    const Guard guard = seed % 2 ? Guard::kAfter : Guard::kBefore;
    S8Problem problem(shape, seed, kAllValues[seed % 6], guard);
    expect_same_s8(table(), problem, static_cast<Activation>(seed % 4), guard);
    if (HasFailure()) return;
    ++seed;
  }
}

TEST_P(GemmTest, S8BertShapesGiveTheScalarBits) {
  for (const Shape& shape : kBertShapes) {
    for (Values values : {Values::kRandom, Values::kExtremes}) {
      S8Problem problem(shape, 7, values, Guard::kAfter);
      expect_same_s8(table(), problem, Activation::kGelu, Guard::kAfter);
    }
  }
}

// +-127 against 127 and -128 over the deepest reduction: neither 16-bit pairs nor the int32 sum may saturate.
TEST_P(GemmTest, S8DeepestReductionOfExtremesIsExact) {
  for (int sign : {-1, 1}) {
    S8Problem problem({2, 3, kMaxReductionDepth}, 1, Values::kZeros, Guard::kAfter);
    problem.set_all(127 * sign, -128);
    const auto y = problem.run(table(), Activation::kNone, nullptr, Guard::kAfter);
    EXPECT_EQ(y[0], -128.0f * 127.0f * static_cast<float>(sign) * static_cast<float>(kMaxReductionDepth));
  }
}

// The engine splits a product by panels: any range gives the same outputs and touches no other.
TEST_P(GemmTest, S8PanelRangesGiveTheScalarBits) {
  for (int begin = 0; begin < 7; ++begin) {
    for (int end = begin; end <= 7; ++end) {
      S8Problem problem({11, 110, 21}, 5, Values::kRandom, Guard::kAfter, begin, end);
      expect_same_s8(table(), problem, Activation::kRelu, Guard::kAfter);
    }
  }
}

// What is fetched ahead may end anywhere, and changes nothing.
TEST_P(GemmTest, S8FetchingAheadPastTheEndOfMemoryGivesTheScalarBits) {
  GuardBuffer<char> last(64, Guard::kAfter);
  for (const size_t panel_bytes : {size_t{0}, size_t{64}, size_t{12288}, size_t{1} << 20}) {
    for (const int m : {1, 5, 8, 17, 40}) {
      S8Problem problem({m, 110, 67}, 5, Values::kRandom, Guard::kAfter);
      problem.after = {last.data() + 63, panel_bytes};
      expect_same_s8(table(), problem, Activation::kGelu, Guard::kAfter);
    }
  }
}

TEST_P(GemmTest, S8FetchedResultsAreTheScalarBits) {
  for (const Guard guard : {Guard::kBefore, Guard::kAfter}) {
    for (const Shape& shape : {Shape{1, 9, 67}, Shape{8, 48, 64}, Shape{21, 110, 21}}) {
      S8Problem problem(shape, 3, Values::kRandom, guard);
      problem.fetch_results = true;
      expect_same_s8(table(), problem, Activation::kGelu, guard);
    }
  }
}

std::vector<float> run_f32(const KernelTable& table, const Shape& s, uint32_t seed, Values values, Guard guard,
                           Activation activation) {
  Random random(seed);
  const size_t k = static_cast<size_t>(s.k), n = static_cast<size_t>(s.n), m = static_cast<size_t>(s.m);
  const size_t padded = padded_outputs(n), lda = k + 2, ldd = padded + 5;
  std::vector<float> w(n * k);
  random.fill(w, values);
  GuardBuffer<float> packed(packed_f32_floats(n, k), guard), a((m - 1) * lda + k, guard), b_scale(padded, guard),
      bias(padded, guard), dst((m - 1) * ldd + padded, guard);
  pack_f32(w.data(), n, k, packed.data());
  random.fill({a.data(), a.size()}, values);
  random.fill({b_scale.data(), n}, values);
  random.fill({bias.data(), n}, values);
  std::fill(dst.begin(), dst.end(), -77.0f);
  table.gemm_f32({.a = a.data(),
                  .lda = lda,
                  .b = packed.data(),
                  .b_scale = seed % 3 ? b_scale.data() : nullptr,
                  .bias = bias.data(),
                  .dst = dst.data(),
                  .ldd = ldd,
                  .m = s.m,
                  .k = s.k,
                  .panel_begin = 0,
                  .panel_end = static_cast<int>(panel_count(n)),
                  .activation = activation});
  return {dst.begin(), dst.end()};
}

TEST_P(GemmTest, F32RaggedShapesGiveTheScalarBits) {
  uint32_t seed = 1;
  std::vector<Shape> shapes = ragged_shapes();
  for (const Shape& s : {Shape{5, 768, 768}, Shape{9, 100, 312}}) shapes.push_back(s);
  for (const Shape& s : shapes) {
    if (++seed % 3 != 0 && s.m < 18) continue;  // scalar fma comes from the C library: a third of the grid
    const Guard guard = seed % 2 ? Guard::kAfter : Guard::kBefore;
    const auto activation = static_cast<Activation>(seed / 3 % 4);
    const auto expected = run_f32(kScalarTable, s, seed, kAllValues[seed % 6], guard, activation);
    const auto actual = run_f32(table(), s, seed, kAllValues[seed % 6], guard, activation);
    ASSERT_TRUE(same_bits(expected, actual)) << "M " << s.m << " N " << s.n << " K " << s.k;
  }
}

TEST_P(GemmTest, UnpackedPanelsAreTheWeights) {
  for (int k = 1; k <= 70; ++k) {
    const size_t depth = static_cast<size_t>(k);
    Random random(static_cast<uint32_t>(k));
    std::vector<int8_t> w(16 * depth);
    for (int8_t& x : w) x = static_cast<int8_t>(random.integer(-128, 127));
    GuardBuffer<int8_t> packed(packed_s8_bytes(16, depth));
    GuardBuffer<float> floats(packed_f32_floats(16, depth));
    pack_s8(w.data(), 16, depth, packed.data());
    table().unpack_panel(packed.data(), k, floats.data());
    for (size_t n = 0; n < 16; ++n) {
      for (size_t i = 0; i < depth; ++i) {
        ASSERT_EQ(floats[packed_f32_offset(n, i, depth)], static_cast<float>(w[n * depth + i]));
      }
    }
  }
}

// int8 weights times floats, packed and unpacked.
struct W8Problem {
  W8Problem(Shape s, uint32_t seed, Values values, Guard guarded)
      : shape(s),
        guard(guarded),
        n(static_cast<size_t>(s.n)),
        lda(static_cast<size_t>(s.k) + 2),
        ldd(padded_outputs(n) + 5),
        packed(packed_s8_bytes(n, static_cast<size_t>(s.k)), guarded),
        floats(packed_f32_floats(n, static_cast<size_t>(s.k)), guarded),
        a(static_cast<size_t>(s.m - 1) * lda + static_cast<size_t>(s.k), guarded),
        b_scale(padded_outputs(n), guarded),
        bias(padded_outputs(n), guarded) {
    Random random(seed);
    const size_t k = static_cast<size_t>(s.k);
    std::vector<int8_t> w(n * k);
    for (int8_t& x : w) x = static_cast<int8_t>(random.integer(-128, 127));
    pack_s8(w.data(), n, k, packed.data());
    for (size_t p = 0; p < panel_count(n); ++p) {
      kScalarTable.unpack_panel(packed.data() + p * packed_s8_panel_bytes(k), s.k,
                                floats.data() + p * packed_f32_panel_floats(k));
    }
    random.fill({a.data(), a.size()}, values);
    random.fill({b_scale.data(), n}, values);
    random.fill({bias.data(), n}, values);
  }
  std::vector<float> run(void (*gemm)(const GemmF32Args&), int panel_begin, int panel_end, bool scaled) {
    GuardBuffer<float> dst(static_cast<size_t>(shape.m - 1) * ldd + padded_outputs(n), guard);
    std::fill(dst.begin(), dst.end(), -77.0f);
    gemm({.a = a.data(),
          .lda = lda,
          .b = floats.data(),
          .b_scale = scaled ? b_scale.data() : nullptr,
          .bias = bias.data(),
          .dst = dst.data(),
          .ldd = ldd,
          .m = shape.m,
          .k = shape.k,
          .panel_begin = panel_begin,
          .panel_end = panel_end,
          .activation = static_cast<Activation>(shape.m % 4),
          .b_s8 = packed.data()});
    return {dst.begin(), dst.end()};
  }

  Shape shape;
  Guard guard;
  size_t n, lda, ldd;
  GuardBuffer<int8_t> packed;
  GuardBuffer<float> floats, a, b_scale, bias;
};

// gemm_w8 against the two steps that it stands for: every height and width of tiles, in values whose order of addition
// shows, and in all others.
TEST_P(GemmTest, W8GivesTheBitsOfUnpackedWeights) {
  if (table().gemm_w8 == nullptr) GTEST_SKIP() << "the table has none";
  uint32_t seed = 1;
  for (int m = 1; m <= 19; ++m) {
    for (const int k : {4, 36, 100}) {
      for (const Values values : kAllValues) {
        ++seed;
        W8Problem problem({m, 100, k}, seed, values, seed % 2 ? Guard::kAfter : Guard::kBefore);
        for (const auto& [begin, end] : {std::pair(0, 7), {0, 4}, {1, 3}, {2, 3}, {5, 7}}) {
          ASSERT_TRUE(same_bits(problem.run(table().gemm_f32, begin, end, seed % 3 != 0),
                                problem.run(table().gemm_w8, begin, end, seed % 3 != 0)))
              << "M " << m << " K " << k << " panels " << begin << " to " << end << " values "
              << static_cast<int>(values);
        }
      }
    }
  }
  W8Problem deep({16, 48, 3072}, 1, Values::kRandom, Guard::kAfter);
  EXPECT_TRUE(same_bits(deep.run(table().gemm_f32, 0, 3, true), deep.run(table().gemm_w8, 0, 3, true)));
}

INSTANTIATE_TEST_SUITE_P(Tables, GemmTest, ::testing::ValuesIn(tables_under_test()), table_name);

// ---- the scalar table against loops that know nothing of packing ----

TEST(ScalarGemm, S8EqualsNaiveLoops) {
  for (const Shape& shape : {Shape{3, 37, 50}, Shape{1, 1, 1}, Shape{4, 16, 4}, Shape{2, 129, 301}}) {
    S8Problem problem(shape, 11, Values::kRandom, Guard::kAfter);
    const auto y = problem.run(kScalarTable, Activation::kNone, nullptr, Guard::kAfter);
    for (size_t m = 0; m < static_cast<size_t>(shape.m); ++m) {
      for (size_t n = 0; n < static_cast<size_t>(shape.n); ++n) {
        int64_t acc = 0;
        for (size_t k = 0; k < static_cast<size_t>(shape.k); ++k) {
          acc += int64_t{problem.q[m * static_cast<size_t>(shape.k) + k]} *
                 problem.w[n * static_cast<size_t>(shape.k) + k];
        }
        EXPECT_EQ(y[m * problem.ldd + n],
                  std::fma(static_cast<float>(acc), problem.a_scale[m] * problem.b_scale[n], problem.bias[n]));
      }
    }
  }
}

TEST(ScalarGemm, PackingPutsEveryWeightWhereTheLayoutSays) {
  const size_t n = 21, k = 10;
  std::vector<int8_t> w(n * k);
  std::vector<float> f(n * k);
  for (size_t i = 0; i < w.size(); ++i) {
    w[i] = static_cast<int8_t>(i % 251 - 125);
    f[i] = static_cast<float>(i) + 1.0f;
  }
  std::vector<int8_t> packed(packed_s8_bytes(n, k), int8_t{99});
  std::vector<float> packed_f(packed_f32_floats(n, k), 99.0f);
  std::vector<int32_t> sums(padded_outputs(n), 99);
  pack_s8(w.data(), n, k, packed.data());
  pack_f32(f.data(), n, k, packed_f.data());
  row_sums(w.data(), n, k, sums.data());
  std::vector<int8_t> rest = packed;
  std::vector<float> rest_f = packed_f;
  for (size_t i = 0; i < n; ++i) {
    int32_t sum = 0;
    for (size_t j = 0; j < k; ++j) {
      EXPECT_EQ(packed[packed_s8_offset(i, j, k)], w[i * k + j]);
      EXPECT_EQ(packed_f[packed_f32_offset(i, j, k)], f[i * k + j]);
      rest[packed_s8_offset(i, j, k)] = 0;
      rest_f[packed_f32_offset(i, j, k)] = 0.0f;
      sum += w[i * k + j];
    }
    EXPECT_EQ(sums[i], sum);
  }
  EXPECT_TRUE(std::all_of(rest.begin(), rest.end(), [](int8_t x) { return x == 0; }));
  EXPECT_TRUE(std::all_of(rest_f.begin(), rest_f.end(), [](float x) { return x == 0.0f; }));
  EXPECT_TRUE(std::all_of(sums.begin() + n, sums.end(), [](int32_t x) { return x == 0; }));
}

}  // namespace
}  // namespace octobert::testing
