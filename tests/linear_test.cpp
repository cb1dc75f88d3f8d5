// How a product is shared out to workers, and what it fetches ahead: by a table whose products write down what they are
// asked for.
#include "engine/linear.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "engine/panel_split.h"
#include "kernels/cpu.h"
#include "tests/tiny_model.h"

namespace octobert::test {
namespace {

// Every panel is in one share, every share has one, and no worker has more panels than it must: an equal part, or whole
// register blocks where those are equally many.
TEST(PanelSplit, SharesCoverThePanelsOnceAndEqually) {
  for (int workers = 1; workers <= 70; ++workers) {
    for (int panels = 1; panels <= 200; ++panels) {
      const PanelSplit split(panels * kPanelWidth - 3, workers);
      ASSERT_EQ(split[split.count() - 1].end, panels);
      for (int i = 0; i < split.count(); ++i) {
        ASSERT_LT(split[i].begin, split[i].end) << panels << " panels, " << workers << " workers";
        ASSERT_EQ(split[i].begin, i == 0 ? 0 : split[i - 1].end);
      }
      ASSERT_EQ(split.first(0), 0);
      ASSERT_EQ(split.first(workers), split.count());
      const int blocks = (panels + kPanelsAtOnce - 1) / kPanelsAtOnce;
      const int most = blocks % workers == 0 ? blocks / workers * kPanelsAtOnce : (panels + workers - 1) / workers;
      for (int w = 0; w < workers; ++w) {
        int own = 0;
        for (int i = split.first(w); i < split.first(w + 1); ++i) own += split[i].end - split[i].begin;
        ASSERT_LE(own, most) << panels << " panels, worker " << w << " of " << workers;
      }
    }
  }
}

// Runs tasks one after the other, beginning with `first`: it takes its own share, then all others'.
class OneByOne : public Executor {
 public:
  OneByOne(int count, int first) : count_(count), first_(first) {}
  int concurrency() const override { return count_; }
  void run(int count, void (*task)(void* context, int index), void* context) override {
    for (int i = 0; i < count; ++i) task(context, (first_ + i) % count);
  }

 private:
  int count_, first_;
};

struct Asked {
  int begin, end;
  PanelsAhead after;
  bool fetch_results;
};
std::vector<Asked> written_down;

// What linear() asks of the table's product, in this order.
std::vector<Asked> ask(const Linear& product, const Workers& workers, const Linear* next) {
  static const TinyModel kTiny(TinySpec{});
  const std::vector<int32_t> ids(4, 1), offsets = {0, 4};
  BertState state;
  state.prepare(kTiny.model().config, {ids, {}, offsets}, workers.count, /*whole=*/true);
  KernelTable table = {};
  table.gemm_s8 = [](const GemmS8Args& g) {
    written_down.push_back({g.panel_begin, g.panel_end, g.after, g.fetch_results});
  };
  written_down.clear();
  linear(table, workers, product, Activation::kNone, {}, 4, {}, {.next = next}, state);
  return written_down;
}

Linear product_of(const std::vector<int8_t>& weights, int panels, int k) {
  Linear product;
  product.scheme = format::Scheme::kDynamic;
  product.n = panels * kPanelWidth;
  product.k = k;
  product.weight_s8 = weights.data();
  return product;
}

TEST(Linear, FetchesResultsWhereTheProcessorIsFasterForIt) {
  if (!fetches_results()) GTEST_SKIP() << "this processor fetches none";
  const std::vector<int8_t> weights(packed_s8_panel_bytes(64));
  OneByOne executor(1, 0);
  const std::vector<Asked> asked = ask(product_of(weights, 1, 64), {&executor, 1, 0}, nullptr);
  ASSERT_EQ(asked.size(), 1u);
  EXPECT_TRUE(asked[0].fetch_results);
}

// Which of the two ways of int8 weights times floats linear() takes; both give the same bits (kernels_gemm_test.cpp).
TEST(Linear, MultipliesWeightsAsPackedForFewRows) {
  static int as_packed, unpacked;
  const std::vector<int8_t> weights(2 * packed_s8_panel_bytes(64));
  static const TinyModel kTiny(TinySpec{.scheme = format::Scheme::kWeightOnly});
  const std::vector<int32_t> ids(17, 1);
  OneByOne executor(1, 0);
  const auto ask_for = [&](int rows, int k, bool has_w8) {
    const std::vector<int32_t> offsets = {0, rows};
    BertState state;
    state.prepare(kTiny.model().config, {std::span(ids).first(static_cast<size_t>(rows)), {}, offsets}, 1, true);
    Linear product = product_of(weights, 2, k);
    product.scheme = format::Scheme::kWeightOnly;
    KernelTable table = {};
    table.unpack_panel = [](const int8_t*, int, float*) { ++unpacked; };
    table.gemm_f32 = [](const GemmF32Args&) {};
    if (has_w8) table.gemm_w8 = [](const GemmF32Args& g) { as_packed += g.panel_end - g.panel_begin; };
    as_packed = unpacked = 0;
    linear(table, {&executor, 1, 0}, product, Activation::kNone, {}, rows, {}, {}, state);
    return std::pair(as_packed, unpacked);
  };
  EXPECT_EQ(ask_for(1, 64, true), std::pair(2, 0));
  EXPECT_EQ(ask_for(16, 64, true), std::pair(2, 0));
  EXPECT_EQ(ask_for(17, 64, true), std::pair(0, 2));
  EXPECT_EQ(ask_for(16, 62, true), std::pair(0, 2));
  EXPECT_EQ(ask_for(16, 64, false), std::pair(0, 2));
}

class FetchedAhead : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Panels, FetchedAhead, testing::Values(1, 2, 3, 7, 24, 48, 49, 144));

// A worker's product fetches the worker's next share, at the end its first of the next product, and nothing that lies
// past the weights.
TEST_P(FetchedAhead, IsWhatTheWorkerReadsNext) {
  const int panels = GetParam(), next_panels = 50;
  const std::vector<int8_t> weights(static_cast<size_t>(panels) * packed_s8_panel_bytes(64));
  const std::vector<int8_t> next_weights(static_cast<size_t>(next_panels) * packed_s8_panel_bytes(128));
  const Linear product = product_of(weights, panels, 64), next = product_of(next_weights, next_panels, 128);
  for (const int workers : {1, 2, 3, 8, 17, 64}) {
    const PanelSplit split(product.n, workers), next_split(next.n, workers);
    for (int w = 0; w < std::min(workers, split.count()); ++w) {
      OneByOne executor(workers, w);
      const std::vector<Asked> asked = ask(product, {&executor, workers, 0}, &next);
      ASSERT_EQ(asked.size(), static_cast<size_t>(split.count()));
      const auto own = static_cast<size_t>(split.first(w + 1) - split.first(w));
      for (size_t i = 0; i < asked.size(); ++i) {
        const auto* at = static_cast<const int8_t*>(asked[i].after.at);
        SCOPED_TRACE(testing::Message() << "worker " << w << " of " << workers << ", call " << i);
        if (i + 1 < own) {
          ASSERT_EQ(asked[i].after.panel_bytes, packed_s8_panel_bytes(64));
          ASSERT_EQ(at, weights.data() + static_cast<size_t>(asked[i + 1].begin) * packed_s8_panel_bytes(64));
        } else if (i + 1 == own && w >= next_split.count()) {  // has nothing to do of it
          ASSERT_EQ(at, nullptr);
        } else if (i + 1 == own) {
          ASSERT_EQ(asked[i].after.panel_bytes, packed_s8_panel_bytes(128));
          const int first = next_split[next_split.first(w)].begin;
          ASSERT_EQ(at, next_weights.data() + static_cast<size_t>(first) * packed_s8_panel_bytes(128));
        } else if (at != nullptr && asked[i].after.panel_bytes == packed_s8_panel_bytes(64)) {
          ASSERT_LT(at, weights.data() + weights.size());
        }
      }
    }
  }
}

TEST(NothingIsFetchedAhead, WhereNothingIsKnownOrTheNextProductIsOneOfFloats) {
  const std::vector<int8_t> weights(packed_s8_panel_bytes(64));
  const Linear product = product_of(weights, 1, 64), floats;
  for (const Linear* next : {static_cast<const Linear*>(nullptr), &floats}) {
    const std::vector<Asked> asked = ask(product, Workers::only(0), next);
    ASSERT_EQ(asked.size(), 1u);
    EXPECT_EQ(asked[0].after.at, nullptr);
  }
}

}  // namespace
}  // namespace octobert::test
