// How the rows of a pass are cut into blocks.
#include "engine/workspace.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

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

// Workers take the next block whenever they are done: none may end up with more than a register block over its share.
TEST(RowPlan, WorkersThatTakeTurnsHaveTheSameRows) {
  for (const int workers : {2, 3, 4}) {
    for (int each = 1; each <= 4; ++each) {
      for (int tokens = workers * each * 8; tokens <= 300; ++tokens) {
        const RowPlan plan{0, workers * each, false, tokens, workers};
        std::vector<int> rows(static_cast<size_t>(workers));
        for (int i = 0; i < plan.block_count; ++i) {
          const auto [begin, end] = plan.block(i);
          *std::min_element(rows.begin(), rows.end()) += end - begin;
        }
        ASSERT_LE(*std::max_element(rows.begin(), rows.end()), tokens / workers + 8)
            << tokens << " tokens, " << workers << " workers, " << each << " blocks each";
      }
    }
  }
}

}  // namespace
}  // namespace octobert::test
