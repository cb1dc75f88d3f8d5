// How the rows of a pass are cut into blocks.
#include "engine/workspace.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "kernels/cpu.h"
#include "tests/tiny_model.h"

namespace octobert::test {
namespace {

// Every row is in one block, and no block is higher than its part of a worker's share needs.
TEST(RowPlan, BlocksCoverTheRowsOnce) {
  constexpr int kRegisterBlock = 8;
  const auto ceil_div = [](int a, int b) { return (a + b - 1) / b; };
  for (int workers = 1; workers <= 9; ++workers) {
    for (int each = 1; each <= 6; ++each) {
      for (int tokens = 1; tokens <= 300; ++tokens) {
        const RowPlan plan{0, workers * each, false, tokens, workers};
        const int highest = ceil_div(ceil_div(ceil_div(tokens, workers), kRegisterBlock), each) * kRegisterBlock;
        std::vector<int> seen(static_cast<size_t>(tokens));
        for (int i = 0; i < plan.block_count; ++i) {
          const auto [begin, end] = plan.block(i);
          ASSERT_LE(0, begin);
          ASSERT_LE(begin, end);
          ASSERT_LE(end, tokens);
          ASSERT_LE(end - begin, highest);
          for (int row = begin; row < end; ++row) ++seen[static_cast<size_t>(row)];
        }
        ASSERT_EQ(std::count(seen.begin(), seen.end(), 1), tokens) << workers << " workers, " << each << " blocks each";
      }
    }
  }
}

// A worker's blocks are an equal share of the rows, next to each other.
TEST(RowPlan, AWorkersBlocksAreItsShareOfTheRows) {
  for (int workers = 1; workers <= 5; ++workers) {
    for (int each = 1; each <= 4; ++each) {
      for (int tokens = 1; tokens <= 300; ++tokens) {
        const RowPlan plan{0, workers * each, false, tokens, workers};
        int row = 0;
        for (int worker = 0; worker < workers; ++worker) {
          const int first = row;
          for (int i = worker * each; i < (worker + 1) * each; ++i) {
            const auto [begin, end] = plan.block(i);
            ASSERT_EQ(begin, row);
            row = end;
          }
          ASSERT_GE(row - first, tokens / workers);
          ASSERT_LE(row - first, (tokens + workers - 1) / workers);
        }
        ASSERT_EQ(row, tokens) << workers << " workers, " << each << " blocks each";
      }
    }
  }
}

// By outputs until there are 6 rows a worker and worker, or 4 rows a worker where the weights, of 16 KB here, are in a
// near L3; with float weights always.
TEST(RowPlan, WorkersHaveRowsOfTheirOwnWhereThereAreEnough) {
  struct Case {
    size_t near_l3;
    int workers, fewest;
  };
  const std::vector<Case> cases = {{0, 2, 24},    {0, 3, 54},     {0, 4, 96},    {32767, 2, 24},
                                   {32768, 2, 8}, {32768, 3, 12}, {32768, 4, 16}};
  for (const auto scheme : {format::Scheme::kDynamic, format::Scheme::kFloat}) {
    const TinyModel tiny({.hidden = 32, .layers = 2, .heads = 2, .intermediate = 64, .labels = 3, .scheme = scheme});
    const format::ModelConfig& config = tiny.model().config;
    for (const auto& [near_l3, workers, fewest] : cases) {
      for (const int tokens : {fewest - 1, fewest}) {
        const bool enough = scheme == format::Scheme::kDynamic && tokens >= fewest;
        EXPECT_EQ(workers_take_rows(config, tokens, workers, near_l3), enough)
            << near_l3 << ", " << workers << ", " << tokens;
        const std::vector<int32_t> ids(static_cast<size_t>(tokens), 1), offsets = {0, tokens};
        BertState state;  // of a model this narrow all rows fit the cache
        state.prepare(config, {ids, {}, offsets}, workers, false);
        EXPECT_EQ(state.plan.shared, !workers_take_rows(config, tokens, workers, near_l3_bytes()))
            << workers << ", " << tokens;
      }
    }
  }
}

// The shares of attention cover all heads of all texts, and follow the rows: a worker's first head is of the text that
// its first row is in.
TEST(AttentionShares, FollowTheRows) {
  const TinyModel tiny({.hidden = 64, .layers = 1, .heads = 4, .intermediate = 128, .labels = 3});
  const format::ModelConfig& config = tiny.model().config;
  const auto heads = static_cast<int32_t>(config.head_count);
  for (const std::vector<int32_t>& lengths :
       {std::vector<int32_t>{5}, {128}, {40, 3, 3, 3, 90}, {128, 128, 128}, {1, 1, 1}}) {
    std::vector<int32_t> offsets = {0};
    for (const int32_t length : lengths) offsets.push_back(offsets.back() + length);
    const std::vector<int32_t> ids(static_cast<size_t>(offsets.back()), 1);
    for (int workers = 1; workers <= 7; ++workers) {
      BertState state;
      state.prepare(config, {ids, {}, offsets}, workers, false);
      const auto all = static_cast<int32_t>(state.attention.size()) * heads;
      ASSERT_EQ(state.attention_shares.size(), static_cast<size_t>(workers) + 1);
      ASSERT_EQ(state.attention_shares.front(), 0);
      ASSERT_EQ(state.attention_shares.back(), all);
      for (int w = 0; w < workers; ++w) {
        const int32_t share = state.attention_shares[static_cast<size_t>(w)];
        ASSERT_LE(share, state.attention_shares[static_cast<size_t>(w) + 1]);
        const int32_t row = offsets.back() * w / workers;
        const AttentionItem& item = state.attention[static_cast<size_t>(share / heads)];
        const int32_t begin = item.first_token + item.row_begin, rows = item.row_end - item.row_begin;
        ASSERT_LE(begin, row);
        ASSERT_LT(row, begin + rows);
        ASSERT_EQ(share % heads, heads * (row - begin) / rows);
      }
    }
  }
}

}  // namespace
}  // namespace octobert::test
