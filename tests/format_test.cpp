// Files of every released version of the packed format stay readable, and give what they gave.
#include <gtest/gtest.h>

#include <algorithm>

#include "engine/engine_access.h"
#include "engine/verify_vectors.h"
#include "octobert/engine.h"

namespace octobert::test {
namespace {

std::vector<std::filesystem::path> released_files() {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(OCTOBERT_SOURCE_DIR "/tests/data/format")) {
    if (entry.path().extension() == ".octo") files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

TEST(Format, EveryVersionHasItsFile) {
  const auto files = released_files();
  ASSERT_EQ(files.size(), format::kFormatVersion);
  for (size_t i = 0; i < files.size(); ++i) EXPECT_EQ(files[i].filename(), "v" + std::to_string(i + 1) + ".octo");
}

TEST(Format, ReleasedFilesGiveTheirVectorsOnEveryInstructionSet) {
  size_t replayed = 0;
  for (const auto& path : released_files()) {
    for (const IsaInfo& isa : compiled_isas()) {
      if (!isa.available) continue;
      const Engine engine = Engine::open(path, {.threads = 2, .isa = isa.name, .verify_all = true});
      const VectorReport report = verify_vectors(engine);
      EXPECT_GE(report.vectors, 4u);
      for (const VectorMismatch& m : report.mismatches)
        ADD_FAILURE() << path << " on " << isa.name << ": " << m.message;
      ++replayed;
    }
  }
  EXPECT_GE(replayed, 1u);
}

TEST(Format, Version1SaysWhatItSaid) {
  const Engine engine = Engine::open(OCTOBERT_SOURCE_DIR "/tests/data/format/v1.octo", {.threads = 1});
  EXPECT_EQ(engine.info().hidden_size, 28);
  EXPECT_EQ(engine.info().intermediate_size, 46);
  EXPECT_EQ(engine.info().scheme, "dynamic");
  EXPECT_EQ(engine.labels()[4], "B-L4");
  const BertModel& model = EngineAccess::model(engine);
  EXPECT_EQ(model.layers.at(1).qkv.scheme, format::Scheme::kWeightOnly);
  EXPECT_EQ(model.layers.at(1).attention_output.scheme, format::Scheme::kFloat);
  EXPECT_EQ(model.layers.at(0).attention, format::Scheme::kDynamic);
  EXPECT_EQ(engine.tokenizer().token(5), "##a");
}

}  // namespace
}  // namespace octobert::test
