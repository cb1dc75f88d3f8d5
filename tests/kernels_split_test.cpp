// Products of rows that split_rows took apart: the scalar bits, whatever the activations; rows that it refuses are left
// as they are.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numeric>
#include <vector>

#include "tests/kernels_product_test_util.h"

namespace octobert::testing {
namespace {

// How a row's activations are spread.
enum class Spread { kFlat, kNormal, kOutliers, kSparse, kLargeHere, kBeyond, kAllLarge };
constexpr Spread kSpreads[] = {Spread::kFlat,      Spread::kNormal, Spread::kOutliers, Spread::kSparse,
                               Spread::kLargeHere, Spread::kBeyond, Spread::kAllLarge};

// An activation less its zero point.
int draw(Random& random, Spread spread, size_t k) {
  const auto sign = [&] { return 2 * random.integer(0, 1) - 1; };
  int value = 0;
  switch (spread) {
    case Spread::kFlat:
      value = random.integer(-32, 32);
      break;
    case Spread::kNormal:  // a sum of even ones is near enough
      for (int i = 0; i < 12; ++i) value += random.integer(-20, 20);
      break;
    case Spread::kOutliers:
      value = random.integer(0, 40) == 0 ? 127 * sign() : random.integer(-20, 20);
      break;
    case Spread::kSparse:
      value = random.integer(0, 5) == 0 ? random.integer(-127, 127) : 0;
      break;
    case Spread::kLargeHere:  // one lane that is as full as can be, now of one sign, now of the other
      value = k / 8 == 1 ? 127 * (k % 4 < 2 ? 1 : -1) : random.integer(-3, 3);
      break;
    case Spread::kBeyond: {  // beside a zero point: what does not fit 8 bits, by much or by one
      constexpr int kFar[] = {127, 128, 129, 200, 254};
      value = random.integer(0, 40) == 0 ? kFar[random.integer(0, 4)] * sign() : random.integer(-3, 3);
      break;
    }
    case Spread::kAllLarge:
      value = 127 * sign();
      break;
  }
  return value;
}

struct Problem : S8Operands {
  Problem(Shape s, uint32_t seed, Spread spread, int zero, Guard guard)
      : S8Operands(s, guard),
        zero_point(zero),
        splits(rows * split_row_bytes(s.k), guard),
        kept(packed_s8_panel_bytes(depth), guard),
        ldd(padded + 3) {
    std::fill(splits.begin(), splits.end(), std::byte{0x55});
    Random random(seed);
    S8Operands::draw(random, seed % 2 == 0);
    // Around the zero point, as far as 8 bits allow.
    for (size_t i = 0; i < q.size(); ++i) {
      const int centred = testing::draw(random, spread, i % depth);
      q[i] = static_cast<int8_t>(std::clamp(centred + zero, -127, 127));
    }
    pack();
    for (float& x : a_scale) x = random.real(0.5f, 2.0f);
    for (size_t n = 0; n < width; ++n) b_scale[n] = random.real(1e-5f, 2e-4f);
    random.fill({bias.data(), width}, Values::kRandom);
  }

  std::vector<float> product(const KernelTable& table, bool split) {
    GuardBuffer<float> dst((rows - 1) * ldd + padded);
    std::fill(dst.begin(), dst.end(), -77.0f);
    GemmS8Args g = args(dst.data(), ldd, Activation::kGelu);
    g.a_zero_point = zero_point;
    if (split) {
      g.splits = splits.data();
      std::fill(kept.begin(), kept.end(), std::byte{0x55});
      g.kept = kept.data();
    }
    table.gemm_s8(g);
    return {dst.begin(), dst.end()};
  }
  SplitRowsArgs split_args() {
    return {
        .a = a.data(), .lda = stride, .splits = splits.data(), .m = shape.m, .k = shape.k, .zero_point = zero_point};
  }
  bool split(const KernelTable& table) { return table.split_rows(split_args()); }
  // Each where it was written.
  void expect_activations() {
    for (size_t m = 0; m < rows; ++m) {
      for (size_t k = 0; k < depth; ++k) {
        ASSERT_EQ(static_cast<int8_t>(a[m * stride + k]), q[m * depth + k]) << "row " << m << " input " << k;
      }
    }
  }

  int zero_point;
  GuardBuffer<std::byte> splits, kept;
  size_t ldd;
};

std::vector<const KernelTable*> tables_that_split() {
  std::vector<const KernelTable*> tables;
  for (const KernelTable* table : tables_under_test()) {
    if (table->split_rows != nullptr) tables.push_back(table);
  }
  return tables;
}

// Returns whether the rows were split. If not, every activation must be where it was.
bool expect_scalar_bits(const KernelTable& table, Problem& problem) {
  problem.write_activations(kScalarTable.activation_offset);
  const auto expected = problem.product(kScalarTable, false);
  problem.write_activations(table.activation_offset);
  const bool split = problem.split(table);
  if (!split) problem.expect_activations();
  EXPECT_TRUE(same_bits(expected, problem.product(table, split)))
      << "M " << problem.shape.m << " N " << problem.shape.n << " K " << problem.shape.k << " zero "
      << problem.zero_point << (split ? " split" : "");
  return split;
}

using SplitTest = KernelTest;
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(SplitTest);

TEST_P(SplitTest, GivesTheScalarBits) {
  std::vector<Shape> shapes;
  for (int m = 1; m <= 13; ++m) shapes.push_back({m, 40, 72});
  for (int k = 1; k <= 140; ++k) shapes.push_back({5, 17, k});
  shapes.insert(shapes.end(), {{7, 96, 768}, {6, 64, 3072}, {4, 33, 1000}});
  uint32_t seed = 1;
  int split = 0, refused = 0;
  for (const Shape& shape : shapes) {
    for (const Spread spread : kSpreads) {
      for (const int zero : {0, -113, 24, 127, -127}) {
        ++seed;
        Problem problem(shape, seed, spread, zero, seed % 2 ? Guard::kAfter : Guard::kBefore);
        ++(expect_scalar_bits(table(), problem) ? split : refused);
        if (HasFailure()) return;
      }
    }
  }
  EXPECT_GT(split, 1000);  // both ways must have been tried
  EXPECT_GT(refused, 100);
}

// Activations as BERT's are: they must be split, or the fast way would be dead.
TEST_P(SplitTest, TakesRowsOfOrdinaryShape) {
  for (const Spread spread : {Spread::kFlat, Spread::kOutliers, Spread::kSparse, Spread::kBeyond}) {
    for (const int zero : {0, -113, 127}) {
      Problem problem({8, 48, 768}, 3, spread, zero, Guard::kAfter);
      EXPECT_TRUE(expect_scalar_bits(table(), problem));
    }
  }
}

TEST_P(SplitTest, JoinedRowsAreWhatTheyWere) {
  for (const int zero : {0, -113, 127}) {
    Problem problem({8, 48, 770}, 3, Spread::kBeyond, zero, Guard::kAfter);
    problem.write_activations(table().activation_offset);
    ASSERT_TRUE(problem.split(table()));
    table().join_rows(problem.split_args());
    problem.expect_activations();
  }
}

// Rows of zeros but for what makes these words of excess (4 inputs), of each group of 32 inputs a set of 8.
struct ProblemOfWords : Problem {
  ProblemOfWords(int row_count, const std::vector<unsigned>& sets)
      : Problem({row_count, 20, static_cast<int>(32 * sets.size())}, 3, Spread::kFlat, 0, Guard::kAfter) {
    for (size_t i = 0; i < q.size(); ++i) {
      const size_t word = i % depth / 4;
      const bool too_much = i % 4 < 2 && (sets[word / 8] >> word % 8 & 1) != 0;
      const int value = word % 2 == 0 ? 70 + static_cast<int>(word % 8) : -66;
      q[i] = static_cast<int8_t>(too_much ? value : 0);
    }
  }
};

TEST_P(SplitTest, TakesEverySetOfWords) {
  std::vector<unsigned> sets(512);  // half of them nothing, or it were too much
  for (unsigned set = 0; set < 256; ++set) sets[2 * set] = set;
  ProblemOfWords problem(1, sets);
  EXPECT_TRUE(expect_scalar_bits(table(), problem));
}

// An odd number, of which the last are as many as are written at once: what follows is not theirs.
TEST_P(SplitTest, TakesAnOddNumberOfWords) {
  ProblemOfWords problem(2, {1, 0, 0, 0, 255});
  EXPECT_TRUE(expect_scalar_bits(table(), problem));
}

// Of 1024 inputs a row may have 128 words of excess, but all rows together 64 each.
TEST_P(SplitTest, RefusesRowsThatHaveTooManyTogether) {
  std::vector<unsigned> sets(32, 0);
  std::fill_n(sets.begin(), 10, 255);
  ProblemOfWords all(2, sets);
  EXPECT_FALSE(expect_scalar_bits(table(), all));
  ProblemOfWords one(2, sets);
  std::fill(one.q.begin() + static_cast<ptrdiff_t>(one.depth), one.q.end(), int8_t{0});
  EXPECT_TRUE(expect_scalar_bits(table(), one));
}

// The last row has no room: those before it must be put together again.
TEST_P(SplitTest, PutsRowsTogetherAgain) {
  for (const int zero : {0, -90}) {
    Problem problem({9, 20, 768}, 5, Spread::kBeyond, zero, Guard::kAfter);
    for (size_t k = 0; k < problem.depth; ++k) {
      problem.q[8 * problem.depth + k] = static_cast<int8_t>(k % 3 == 0 ? -127 : 127);
    }
    EXPECT_FALSE(expect_scalar_bits(table(), problem));
  }
}

// Lanes as full as they may be, and the largest sums.
TEST_P(SplitTest, DeepestReductionIsExact) {
  Problem problem({1, 3, kMaxReductionDepth}, 1, Spread::kFlat, 0, Guard::kAfter);
  for (const int activation : {32, -32}) {
    problem.set_all(activation, -128);
    EXPECT_TRUE(expect_scalar_bits(table(), problem));
  }
}

INSTANTIATE_TEST_SUITE_P(Tables, SplitTest, ::testing::ValuesIn(tables_that_split()), table_name);

}  // namespace
}  // namespace octobert::testing
