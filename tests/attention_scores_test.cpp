// What is observed of attention's scores, against double precision; and that it is the same on every instruction set.
#include "engine/attention_scores.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "engine/bert.h"
#include "kernels/cpu.h"
#include "kernels/dispatch.h"
#include "tests/static_model.h"
#include "tests/tiny_model.h"

namespace octobert::test {
namespace {

using format::Scheme;
using Rows = std::vector<std::vector<double>>;

// Heads of 8, 3 and 35 columns: whole groups of 4 and of 8, less than one, and some left over.
struct Form {
  Scheme scheme;
  uint32_t hidden_size, head_count;
};
constexpr Form kForms[] = {{Scheme::kFloat, 24, 3},     {Scheme::kFloat, 33, 11},   {Scheme::kFloat, 70, 2},
                           {Scheme::kDynamic, 24, 3},   {Scheme::kDynamic, 33, 11}, {Scheme::kDynamic, 70, 2},
                           {Scheme::kStatic, 24, 3},    {Scheme::kStatic, 33, 11},  {Scheme::kStatic, 70, 2},
                           {Scheme::kWeightOnly, 24, 3}};

std::vector<float> logits_of(const TinyModel& tiny, const RandomBatch& batch) {
  std::vector<float> logits(batch.ids.size() * tiny.spec().labels);
  BertState state;
  forward({.kernels = &kScalarTable}, tiny.model(), batch.batch(), logits, state);
  return logits;
}

struct SeenScores {
  std::vector<Rows> texts;  // of the second layer: [text][head * query][key], flat
  Rows qkv;
  std::vector<float> logits;
};

SeenScores seen_scores(const TinyModel& tiny, const RandomBatch& batch, const KernelTable& kernels, int threads) {
  SeenScores seen;
  const Observer qkv = [&](const Intermediate& i) {
    for (int row = 0; i.name == "layer.1.qkv" && row < i.rows; ++row) {
      const float* data = i.data + static_cast<size_t>(row) * i.stride;
      seen.qkv.emplace_back(data, data + i.columns);
    }
  };
  const Observer scores = [&](const Intermediate& i) {
    EXPECT_EQ(i.name.substr(i.name.size() - 7), ".scores");
    if (i.name != "layer.1.scores") return;
    Rows& text = seen.texts.emplace_back();
    for (int row = 0; row < i.rows; ++row) {
      const float* data = i.data + static_cast<size_t>(row) * i.stride;
      text.emplace_back(data, data + i.columns);
    }
  };
  ThreadPool pool(threads);
  seen.logits.resize(batch.ids.size() * tiny.spec().labels);
  BertState state;
  forward({.kernels = &kernels, .executor = &pool, .observer = &qkv, .scores_observer = &scores}, tiny.model(),
          batch.batch(), seen.logits, state);
  return seen;
}

// Q K^T / sqrt(head_dim) of what the qkv product gives, in doubles: of integers, what their rounding leaves of it.
TEST(AttentionScores, AreThoseOfTheQueriesAndKeys) {
  for (const auto& [scheme, hidden_size, head_count] : kForms) {
    const TinyModel tiny({.hidden = hidden_size, .heads = head_count, .positions = 128, .scheme = scheme});
    const std::vector<int> lengths = {20, 1, 100};  // the last one is longer than kObservedQueries
    const RandomBatch random(tiny.spec(), lengths, 5);
    const SeenScores seen = seen_scores(tiny, random, best_table(detect_cpu_features()), 3);
    EXPECT_EQ(seen.logits, logits_of(tiny, random));
    ASSERT_EQ(seen.texts.size(), lengths.size());
    const auto heads = static_cast<size_t>(tiny.model().config.head_count);
    const size_t hidden = tiny.model().config.hidden_size, d = hidden / heads;
    double signal = 0, noise = 0;
    size_t first = 0;
    for (size_t text = 0; text < lengths.size(); ++text) {
      const auto length = static_cast<size_t>(lengths[text]);
      const size_t queries = std::min(length, kObservedQueries);
      ASSERT_EQ(seen.texts[text].size(), heads * queries);
      for (size_t row = 0; row < heads * queries; ++row) {
        ASSERT_EQ(seen.texts[text][row].size(), length);
        const double* q = seen.qkv[first + row % queries].data() + row / queries * d;
        for (size_t j = 0; j < length; ++j) {
          const double* k = seen.qkv[first + j].data() + hidden + row / queries * d;
          const double expected = std::inner_product(q, q + d, k, 0.0) / std::sqrt(static_cast<double>(d));
          signal += expected * expected;
          noise += (expected - seen.texts[text][row][j]) * (expected - seen.texts[text][row][j]);
        }
      }
      first += length;
    }
    const bool integers = scheme == Scheme::kDynamic || scheme == Scheme::kStatic;
    EXPECT_LT(noise, signal * (integers ? 1e-2 : 1e-12)) << static_cast<int>(scheme);
    EXPECT_GT(noise, integers ? signal * 1e-7 : 0.0) << static_cast<int>(scheme);
  }
}

TEST(AttentionScores, HaveTheSameBitsEverywhere) {
  for (const auto& [scheme, hidden_size, head_count] : kForms) {
    const TinyModel tiny({.hidden = hidden_size, .heads = head_count, .positions = 128, .scheme = scheme});
    const RandomBatch random(tiny.spec(), {20, 90}, 5);
    const SeenScores scalar = seen_scores(tiny, random, kScalarTable, 1);
    const SeenScores best = seen_scores(tiny, random, best_table(detect_cpu_features()), 3);
    EXPECT_EQ(scalar.texts, best.texts);
  }
}

}  // namespace
}  // namespace octobert::test
