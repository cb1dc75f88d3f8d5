// Built by cross builds only: files that another machine packed give their vectors here, token ids and logits, bit for
// bit.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <string>

#include "engine/verify_vectors.h"
#include "octobert/engine.h"

namespace octobert::test {
namespace {

// OCTOBERT_TEST_PACKED: a folder of *.octo (scripts/test_arm.sh packs the bundled model there, in every scheme).
TEST(OtherMachine, PackedFilesGiveTheirVectors) {
  const char* folder = std::getenv("OCTOBERT_TEST_PACKED");
  if (folder == nullptr) GTEST_SKIP() << "OCTOBERT_TEST_PACKED is not set: no files of another machine";
  size_t replayed = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() != ".octo") continue;
    // What this CPU chooses; kernels_test holds it to the other instruction sets that the CPU has.
    const Engine engine = Engine::open(entry.path(), {.threads = 2});
    SCOPED_TRACE(entry.path().filename().string() + " on " + std::string(engine.isa()));
    const VectorReport report = verify_vectors(engine);
    EXPECT_GE(report.vectors, 1u);
    for (const VectorMismatch& mismatch : report.mismatches) ADD_FAILURE() << mismatch.message;
    ++replayed;
  }
  EXPECT_GE(replayed, 1u);
}

}  // namespace
}  // namespace octobert::test
