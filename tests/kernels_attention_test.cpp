// Attention: every table against the scalar one bit for bit, whatever range of rows is asked for; the scalar one
// against the formula in double precision.
#include <algorithm>
#include <cmath>
#include <vector>

#include "tests/kernels_test_util.h"

namespace octobert::testing {
namespace {

using Attention = void (*)(const AttentionArgs&);

// q, k and v side by side, as the engine has them, with more columns around.
struct Problem {
  Problem(int tokens, int head_dim, uint32_t seed, Values values)
      : s(tokens),
        d(head_dim),
        ld(3 * static_cast<size_t>(head_dim) + 5),
        qkv(static_cast<size_t>(tokens - 1) * ld + 3 * static_cast<size_t>(head_dim)) {
    Random random(seed);
    random.fill({qkv.data(), qkv.size()}, values);
  }
  float q(int i, int n) const { return qkv[static_cast<size_t>(i) * ld + static_cast<size_t>(n)]; }
  float k(int i, int n) const { return q(i, d + n); }
  float v(int i, int n) const { return q(i, 2 * d + n); }

  // The rows of [begin, end), and sentinels elsewhere.
  std::vector<float> run(Attention attention, int begin, int end) const {
    const size_t width = static_cast<size_t>(d), ldd = width + 3;
    GuardBuffer<float> dst((static_cast<size_t>(s) - 1) * ldd + width);
    std::fill(dst.begin(), dst.end(), -77.0f);
    GuardBuffer<uint8_t> scratch((attention_scratch_bytes(static_cast<size_t>(s), width) + 63) / 64 * 64);
    std::fill(scratch.begin(), scratch.end(),
              uint8_t{0xff});  // NaN everywhere: nothing may be read before it is written
    attention({.q = qkv.data(),
               .k = qkv.data() + width,
               .v = qkv.data() + 2 * width,
               .ld = ld,
               .dst = dst.data(),
               .ldd = ldd,
               .scratch = scratch.data(),
               .s = s,
               .head_dim = d,
               .row_begin = begin,
               .row_end = end});
    return {dst.begin(), dst.end()};
  }

  int s, d;
  size_t ld;
  GuardBuffer<float> qkv;
};

struct Case {
  int s, d;
};

std::vector<Case> cases() {
  std::vector<Case> all;
  for (int s = 1; s <= 20; ++s) {
    for (int d : {1, 3, 4, 16, 17, 26, 32, 64}) all.push_back({s, d});
  }
  for (int d = 1; d <= 70; ++d) all.push_back({7, d});
  for (int s : {31, 32, 33, 47, 49, 63, 64, 65, 80, 127, 128, 130, 200}) all.push_back({s, 32});
  all.insert(all.end(), {{384, 64}, {129, 80}, {50, 128}});
  return all;
}

class AttentionTest : public KernelTest {
 protected:
  void expect_same(Attention KernelTable::*form) {
    static_assert(kAllValues[0] == Values::kRandom);
    uint32_t seed = 0;
    for (const Case& c : cases()) {
      ++seed;
      for (Values values : {Values::kRandom, kAllValues[1 + seed % 5]}) {
        const Problem problem(c.s, c.d, seed, values);
        const auto expected = problem.run(kScalarTable.*form, 0, c.s);
        ASSERT_TRUE(same_bits(expected, problem.run(table().*form, 0, c.s)))
            << "S " << c.s << " d " << c.d << " values " << static_cast<int>(values);
      }
    }
  }

  // With `value` for all of one row or column of `part` (0 to 2: q, k, v). finite(i, n): whether the result is to be,
  // so that not only NaN is compared with NaN.
  template <class Finite>
  void expect_same_spoilt(const Case& c, size_t part, bool column, int at, float value, const Finite& finite) {
    Problem problem(c.s, c.d, 11, Values::kRandom);
    const size_t d = static_cast<size_t>(c.d), fixed = static_cast<size_t>(at);
    for (size_t i = 0; i < (column ? static_cast<size_t>(c.s) : d); ++i) {
      problem.qkv[(column ? i : fixed) * problem.ld + part * d + (column ? fixed : i)] = value;
    }
    const auto expected = problem.run(kScalarTable.attention_s8, 0, c.s);
    const auto actual = problem.run(table().attention_s8, 0, c.s);
    const auto where = [&] {
      return ::testing::Message() << "S " << c.s << " d " << c.d << " part " << part << " at " << at << " value "
                                  << value;
    };
    ASSERT_TRUE(same_bits(expected, actual)) << where();
    for (int i = 0; i < c.s; ++i) {
      for (int n = 0; n < c.d; ++n) {
        const float y = actual[static_cast<size_t>(i) * (d + 3) + static_cast<size_t>(n)];
        ASSERT_EQ(std::isfinite(y), finite(i, n)) << where() << " row " << i << " column " << n;
      }
    }
  }

  void expect_rows_do_not_matter(Attention KernelTable::*form) {
    const int s = 37;
    const Problem problem(s, 24, 5, Values::kRandom);
    const auto whole = problem.run(kScalarTable.*form, 0, s);
    for (const auto& [begin, end] : {std::pair{0, 1}, {0, 5}, {5, 19}, {36, 37}, {8, 37}}) {
      std::vector<float> expected(whole.size(), -77.0f);
      for (int i = begin; i < end; ++i) std::copy_n(whole.begin() + i * 27, 24, expected.begin() + i * 27);
      ASSERT_TRUE(same_bits(expected, problem.run(table().*form, begin, end))) << begin << " to " << end;
    }
  }
};

TEST_P(AttentionTest, S8GivesTheScalarBits) { expect_same(&KernelTable::attention_s8); }
TEST_P(AttentionTest, F32GivesTheScalarBits) { expect_same(&KernelTable::attention_f32); }
TEST_P(AttentionTest, S8RowsDoNotDependOnTheRange) { expect_rows_do_not_matter(&KernelTable::attention_s8); }
TEST_P(AttentionTest, F32RowsDoNotDependOnTheRange) { expect_rows_do_not_matter(&KernelTable::attention_f32); }

// Scales and sums are taken of 16 rows at once: one row or column that has none must not touch its neighbours.
TEST_P(AttentionTest, OneSpoiltRowAmongGoodOnes) {
  const auto all = [](int, int) { return true; };
  for (int s : {1, 15, 16, 17, 33, 49}) {
    for (int d : {1, 16, 17, 20, 24, 36, 40, 64, 72}) {
      for (int at : {0, 3, 5, 15, s - 1}) {
        if (at >= s) continue;
        for (float value : {NAN, INFINITY}) {
          expect_same_spoilt({s, d}, 0, false, at, value, [at](int i, int) { return i != at; });
          if (at < d) expect_same_spoilt({s, d}, 2, true, at, value, [at](int, int n) { return n != at; });
        }
        for (float value : {1e-31f, 0.0f}) {
          expect_same_spoilt({s, d}, 0, false, at, value, all);
          expect_same_spoilt({s, d}, 1, false, at, value, all);
          if (at < d) expect_same_spoilt({s, d}, 2, true, at, value, all);
        }
        if (HasFatalFailure()) return;
      }
    }
  }
}

// One broken value anywhere must reach the output, not vanish in a weight of 0.
TEST_P(AttentionTest, NonFiniteInputsReachTheOutput) {
  for (auto form : {&KernelTable::attention_s8, &KernelTable::attention_f32}) {
    for (size_t part = 0; part < 3; ++part) {
      for (float bad : {NAN, INFINITY}) {
        Problem problem(19, 16, 3, Values::kRandom);
        problem.qkv[4 * problem.ld + part * 16 + 7] = bad;
        const auto y = problem.run(table().*form, 0, 19);
        if (part == 1 && form == &KernelTable::attention_f32 && bad == INFINITY) continue;  // a weight of 1 or 0: legal
        EXPECT_TRUE(std::any_of(y.begin(), y.end(), [](float x) { return !std::isfinite(x); }))
            << "part " << part << " value " << bad;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Tables, AttentionTest, ::testing::ValuesIn(tables_under_test()), table_name);

// ---- the scalar table against double precision ----

std::vector<double> exact_attention(const Problem& p) {
  std::vector<double> y;
  for (int i = 0; i < p.s; ++i) {
    std::vector<double> w;
    double largest = -INFINITY, sum = 0;
    for (int j = 0; j < p.s; ++j) {
      double x = 0;
      for (int n = 0; n < p.d; ++n) x += double{p.q(i, n)} * p.k(j, n);
      w.push_back(x / std::sqrt(p.d));
      largest = std::max(largest, w.back());
    }
    for (double& x : w) sum += x = std::exp(x - largest);
    for (int n = 0; n < p.d; ++n) {
      double acc = 0;
      for (int j = 0; j < p.s; ++j) acc += w[static_cast<size_t>(j)] / sum * p.v(j, n);
      y.push_back(acc);
    }
  }
  return y;
}

// Scores are off by at most e_x, probabilities so by a factor e^(2 e_x), and the sum over |v| <= v_max by as much.
TEST(ScalarAttention, F32IsCloseToDouble) {
  for (const Case& c : {Case{1, 64}, Case{40, 32}, Case{300, 64}}) {
    const Problem p(c.s, c.d, 2, Values::kRandom);
    const auto y = p.run(kScalarTable.attention_f32, 0, c.s);
    const auto exact = exact_attention(p);
    double q_max = 0, k_max = 0, v_max = 0;
    for (int i = 0; i < c.s; ++i) {
      double q2 = 0, k2 = 0;
      for (int n = 0; n < c.d; ++n) {
        q2 += std::pow(p.q(i, n), 2);
        k2 += std::pow(p.k(i, n), 2);
        v_max = std::max(v_max, std::abs(double{p.v(i, n)}));
      }
      q_max = std::max(q_max, std::sqrt(q2));
      k_max = std::max(k_max, std::sqrt(k2));
    }
    const double e_x = (c.d + 4) * 0x1p-24 * q_max * k_max / std::sqrt(c.d);
    const double bound = v_max * (2 * e_x + (8 + c.s) * 0x1p-23);
    for (int i = 0; i < c.s; ++i) {
      for (int n = 0; n < c.d; ++n) {
        ASSERT_NEAR(y[static_cast<size_t>(i * (c.d + 3) + n)], exact[static_cast<size_t>(i * c.d + n)], bound);
      }
    }
  }
}

// The values as the integer form sees them: q, k per token and v per column rounded to int8 by the rule of one line.
// What is left is the rounding of the probabilities to levels of 1/254 of the largest (and exp2_q8's 0.037).
TEST(ScalarAttention, S8IsWithinHalfALevelOfDoubleOnRoundedValues) {
  for (const Case& c : {Case{1, 64}, Case{40, 32}, Case{300, 64}}) {
    Problem p(c.s, c.d, 4, Values::kRandom);
    const auto y = p.run(kScalarTable.attention_s8, 0, c.s);
    const auto round = [&](size_t first, size_t count, size_t stride) {
      double largest = 0;
      for (size_t i = 0; i < count; ++i) largest = std::max(largest, std::abs(double{p.qkv[first + i * stride]}));
      for (size_t i = 0; i < count; ++i) {
        float& x = p.qkv[first + i * stride];
        x = static_cast<float>(std::nearbyint(x * (127.0f / static_cast<float>(largest))) * largest / 127.0);
      }
    };
    const size_t d = static_cast<size_t>(c.d), s = static_cast<size_t>(c.s);
    for (size_t i = 0; i < s; ++i) {
      round(i * p.ld, d, 1);
      round(i * p.ld + d, d, 1);
    }
    for (size_t n = 0; n < d; ++n) round(2 * d + n, s, p.ld);
    const auto exact = exact_attention(p);
    double v_max = 0;
    for (int i = 0; i < c.s; ++i) {
      for (int n = 0; n < c.d; ++n) v_max = std::max(v_max, std::abs(double{p.v(i, n)}));
    }
    for (int i = 0; i < c.s; ++i) {
      // Each of S weights is off by 0.54 levels; with their sum den, the mean of |v| <= v_max by S 0.54 / den, twice
      // (numerator and denominator). den is at least 254, and for these scores the mean weight is larger.
      double den = 0, largest = -INFINITY;
      std::vector<double> x;
      for (int j = 0; j < c.s; ++j) {
        double dot = 0;
        for (int n = 0; n < c.d; ++n) dot += double{p.q(i, n)} * p.k(j, n);
        x.push_back(dot / std::sqrt(c.d));
        largest = std::max(largest, x.back());
      }
      for (double score : x) den += 254 * std::exp(score - largest);
      const double bound = v_max * (2 * 0.54 * c.s / den + 1e-5);
      for (int n = 0; n < c.d; ++n) {
        ASSERT_NEAR(y[static_cast<size_t>(i * (c.d + 3) + n)], exact[static_cast<size_t>(i * c.d + n)], bound);
      }
    }
  }
}

// 512 equal scores: every level is 254, and the output V's mean exactly (levels of the normalised probability would
// all have rounded to 0).
TEST(ScalarAttention, S8OfEqualScoresIsTheMean) {
  Problem p(512, 8, 1, Values::kZeros);
  for (int j = 0; j < 512; ++j) {
    for (int n = 0; n < 8; ++n)
      p.qkv[static_cast<size_t>(j) * p.ld + static_cast<size_t>(16 + n)] = j % 2 ? 1.0f : 0.5f;
  }
  const auto y = p.run(kScalarTable.attention_s8, 3, 4);
  // 0.5 is 63.5 steps of 1/127, which round to 64: the mean is (127 + 64) / 2 / 127.
  for (size_t n = 0; n < 8; ++n) EXPECT_NEAR(y[3 * 11 + n], 95.5 / 127, 1e-6);
}

}  // namespace
}  // namespace octobert::testing
