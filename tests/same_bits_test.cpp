// Logits are the same bits whatever way a batch is computed: alone or not, threads, instruction sets, block borders.
#include <gtest/gtest.h>

#include "tests/engine_test_util.h"

namespace octobert::test {
namespace {

using format::Scheme;

std::vector<TinySpec> models() {
  constexpr Scheme kF = Scheme::kFloat, kW = Scheme::kWeightOnly, kD = Scheme::kDynamic, kS = Scheme::kStatic,
                   k4 = Scheme::kWeightOnlyInt4, kC = Scheme::kCodebook;
  return {{.scheme = kF},
          {.scheme = kW},
          {.scheme = kD},
          {.hidden = 70,
           .layers = 1,
           .heads = 7,
           .intermediate = 111,
           .labels = 19,
           .activation = Activation::kGeluTanh,
           .scheme = kD},
          {.hidden = 33,
           .layers = 3,
           .heads = 3,
           .intermediate = 65,
           .labels = 1,
           .activation = Activation::kRelu,
           .scheme = kD},
          {.hidden = 96, .layers = 2, .heads = 3, .intermediate = 384, .scheme = kD},
          {.hidden = 40,
           .layers = 2,
           .heads = 5,
           .intermediate = 72,
           .products = {kF, kD, kD, kW, kD, kF, kD, kF, kF, kD, kF, kD, kW}},
          {.scheme = kS},
          {.scheme = k4},
          {.scheme = kC},
          {.scheme = kD, .smoothed = true},
          {.hidden = 70, .layers = 2, .heads = 7, .intermediate = 111, .labels = 19, .scheme = kS},
          {.hidden = 33,
           .layers = 3,
           .heads = 11,
           .intermediate = 65,
           .labels = 1,
           .activation = Activation::kRelu,
           .scheme = kS},
          {.hidden = 96, .layers = 2, .heads = 3, .intermediate = 384, .scheme = kS},
          // Every kind of product before and after a static one.
          {.hidden = 40,
           .layers = 5,
           .heads = 5,
           .intermediate = 72,
           .products = {kD, kS, kS, kD, kS, kD, kF, kS, kS, kS, kW, kS, kS, kD, kD, kS,
                        kD, kS, kS, kF, kF, kW, k4, kS, kS, kS, kS, kC, kS, kF, kS},
           .smoothed = true},
          // Query, key and value with inputs of their own, before attention of each kind.
          {.hidden = 144, .layers = 2, .heads = 9, .intermediate = 200, .scheme = kS, .split_inputs = true},
          {.hidden = 48,
           .layers = 3,
           .heads = 3,
           .intermediate = 72,
           .products = {kS, kD, kD, kS, kD, kF, kS, kS, kS, kD, kD, kS, kS, kF, kF, kF, kF, kF, kF},
           .split_inputs = true}};
}

class SameBits : public testing::TestWithParam<TinySpec> {
 protected:
  SameBits() : tiny_(GetParam()), bytes_(tiny_.pack()), batch_(tiny_.spec(), lengths(), 11) {}

  static std::vector<int> lengths() {
    std::vector<int> lengths{1, 64, 2, 37, 63, 5, 1, 1, 16, 33};
    for (int i = 0; i < 30; ++i) lengths.push_back(1 + i * 7 % 64);  // past the token budget: several chunks
    return lengths;
  }
  Engine engine(const OpenOptions& options) const { return Engine::open_memory(bytes_, options); }
  std::vector<float> expected() const { return logits_of(engine({.threads = 1, .isa = "scalar"}), batch_); }

  TinyModel tiny_;
  std::vector<std::byte> bytes_;
  RandomBatch batch_;
};

TEST_P(SameBits, InABatchAndAlone) {
  const auto together = expected();
  const Engine one = engine({.threads = 1}), three = engine({.threads = 3});
  size_t at = 0;
  for (size_t s = 0; s + 1 < batch_.offsets.size(); ++s) {
    const RandomBatch alone = batch_.sequence(s);
    const size_t count = alone.ids.size() * tiny_.spec().labels;
    const auto part = std::span(together).subspan(at, count);
    expect_equal_bits(logits_of(one, alone), part, "sequence " + std::to_string(s));
    expect_equal_bits(logits_of(three, alone), part, "sequence " + std::to_string(s) + ", three threads");
    at += count;
  }
  EXPECT_EQ(at, together.size());
}

TEST_P(SameBits, ForEveryNumberOfThreadsAndInstructionSet) {
  const auto one = expected();
  size_t compared = 0;
  for (const IsaInfo& isa : compiled_isas()) {
    if (!isa.available) continue;
    for (const int threads : {1, 2, 3, 8}) {
      expect_equal_bits(logits_of(engine({.threads = threads, .isa = isa.name}), batch_), one,
                        isa.name + ", threads " + std::to_string(threads));
      ++compared;
    }
  }
  EXPECT_GE(compared, 4u);
}

TEST_P(SameBits, ForEveryNumberOfTokens) {  // block borders, one block or several, shared or not
  const Engine one = engine({.threads = 1, .isa = "scalar"}), five = engine({.threads = 5});
  for (const int tokens : {1, 2, 7, 8, 9, 15, 16, 17, 31, 64, 127, 128, 129, 255, 256, 257, 640, 641}) {
    std::vector<int> lengths(static_cast<size_t>(tokens / 64), 64);
    if (tokens % 64 != 0) lengths.push_back(tokens % 64);
    const RandomBatch b(tiny_.spec(), lengths, static_cast<uint32_t>(tokens));
    expect_equal_bits(logits_of(five, b), logits_of(one, b), std::to_string(tokens) + " tokens");
  }
}

INSTANTIATE_TEST_SUITE_P(Models, SameBits, testing::ValuesIn(models()),
                         [](const auto& info) { return "model" + std::to_string(info.index); });

}  // namespace
}  // namespace octobert::test
