// What a call costs in memory: nothing once it is warm, and opening touches no weights.
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <sstream>

#include "engine/workspace.h"
#include "octobert/engine.h"
#include "tests/count_allocations.h"
#include "tests/temporary_folder.h"
#include "tests/tiny_model.h"

namespace octobert::test {
namespace {

size_t resident_bytes() {
  std::ifstream statm("/proc/self/statm");
  size_t total = 0, resident = 0;
  statm >> total >> resident;
  return resident * static_cast<size_t>(::sysconf(_SC_PAGESIZE));
}

// Resident part of the mappings of a file.
size_t resident_bytes_of(const std::filesystem::path& path) {
  std::ifstream smaps("/proc/self/smaps");
  size_t kilobytes = 0;
  bool ours = false;
  for (std::string line; std::getline(smaps, line);) {
    if (line.find(path.string()) != std::string::npos) ours = true;
    if (ours && line.starts_with("Rss:")) {
      size_t rss = 0;
      std::istringstream(line.substr(4)) >> rss;
      kilobytes += rss;
      ours = false;
    }
  }
  return kilobytes * 1024;
}

std::vector<int> random_lengths(std::mt19937& random, const TinySpec& spec, int most_tokens) {
  std::vector<int> lengths;
  for (int left = 1 + static_cast<int>(random() % static_cast<uint32_t>(most_tokens)); left > 0;) {
    lengths.push_back(std::min(left, 1 + static_cast<int>(random() % spec.positions)));
    left -= lengths.back();
  }
  return lengths;
}

TEST(EngineMemory, WarmCallAllocatesNothing) {
  for (const auto scheme : {format::Scheme::kFloat, format::Scheme::kWeightOnly, format::Scheme::kDynamic,
                            format::Scheme::kStatic, format::Scheme::kCodebook}) {
    const TinyModel tiny({.layers = 3, .scheme = scheme});
    const auto bytes = tiny.pack();
    for (const int threads : {1, 2, 3}) {
      const Engine engine = Engine::open_memory(bytes, {.threads = threads});
      Workspace workspace;
      std::mt19937 random(3);
      std::vector<RandomBatch> batches;
      batches.reserve(20);
      for (int i = 0; i < 20; ++i)
        batches.emplace_back(tiny.spec(), random_lengths(random, tiny.spec(), 3000), random());
      std::vector<float> logits(3000 * tiny.spec().labels);
      const auto call = [&](const RandomBatch& b) {
        engine.logits(b.batch(), std::span(logits).first(b.ids.size() * tiny.spec().labels), workspace);
      };
      for (const RandomBatch& b : batches) call(b);
      const size_t before = allocation_count;
      for (const RandomBatch& b : batches) call(b);
      EXPECT_EQ(allocation_count, before) << describe(tiny.spec()) << ", threads " << threads;
    }
  }
}

TEST(EngineMemory, ResidentMemoryIsFlatOverCallsOfRandomLengths) {
  const TinyModel tiny({.layers = 1});
  const auto bytes = tiny.pack();
  const Engine engine = Engine::open_memory(bytes, {.threads = 2});
  Workspace workspace;
  std::mt19937 random(9);
  std::vector<float> logits(2000 * tiny.spec().labels);
  std::vector<RandomBatch> batches;  // made before, so that nothing but the engine could take memory
  batches.emplace_back(
      tiny.spec(), std::vector<int>(2000 / tiny.spec().positions, static_cast<int>(tiny.spec().positions)), random());
  while (batches.size() < 1000) {
    const int most = batches.size() % 100 == 0 ? 1990 : 60;
    batches.emplace_back(tiny.spec(), random_lengths(random, tiny.spec(), most), random());
  }
  const auto call = [&](size_t i) {
    const RandomBatch& b = batches[i % batches.size()];
    engine.logits(b.batch(), std::span(logits).first(b.ids.size() * tiny.spec().labels), workspace);
  };
  // Every batch once or twice: each lays the workspace out in its own way, and either worker may come first, so that
  // the last of its pages is touched late.
  for (size_t i = 0; i < 2 * batches.size(); ++i) call(i);
  const size_t before = resident_bytes();
  for (size_t i = 0; i < 10000; ++i) call(i);
  EXPECT_LE(resident_bytes(), before + (size_t{256} << 10));
}

TEST(EngineMemory, OpeningTouchesNoWeights) {
  const TemporaryFolder folder;
  // 16 MB of weights in a few sections.
  const TinyModel tiny({.hidden = 512, .layers = 6, .heads = 8, .intermediate = 2048});
  const auto bytes = tiny.pack();
  ASSERT_GT(bytes.size(), size_t{16} << 20);
  write_file(folder / "big.octo", {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  const Engine engine = Engine::open(folder / "big.octo");
  // Start and end of the file, with what the kernel maps around a page that is touched: up to a huge page each.
  EXPECT_LE(resident_bytes_of(folder / "big.octo"), (size_t{4} << 20) + (size_t{512} << 10));
  EXPECT_GT(resident_bytes_of(folder / "big.octo"), 0u);
}

TEST(EngineMemory, WorkspaceIsBounded) {
  const TinyModel tiny({});
  const RandomBatch small(tiny.spec(), std::vector<int>(10, 64), 1), large(tiny.spec(), std::vector<int>(1000, 64), 1);
  const auto bytes = tiny.pack();
  const Engine engine = Engine::open_memory(bytes, {.threads = 1});
  const auto growth = [&](const RandomBatch& b) {
    std::vector<float> logits(b.ids.size() * tiny.spec().labels);
    Workspace workspace;
    const size_t before = resident_bytes();
    engine.logits(b.batch(), logits, workspace);
    return resident_bytes() - std::min(before, resident_bytes());
  };
  growth(small);
  // A hundred times as many tokens: a token budget's worth of workspace, not a hundred times.
  EXPECT_LE(growth(large), size_t{4} << 20);
}

}  // namespace
}  // namespace octobert::test
