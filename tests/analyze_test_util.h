// What the tests of Engine::analyze share: an engine of the tiny checkpoint, texts, comparison of every field.
#ifndef OCTOBERT_TESTS_ANALYZE_TEST_UTIL_H_
#define OCTOBERT_TESTS_ANALYZE_TEST_UTIL_H_

#include <gtest/gtest.h>

#include <filesystem>
#include <functional>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "octobert/converter.h"
#include "octobert/engine.h"
#include "octobert/error.h"
#include "tests/temporary_folder.h"

namespace octobert::test {

namespace fs = std::filesystem;

inline const Strategy kStrategies[] = {Strategy::kWords, Strategy::kNone,    Strategy::kSimple,
                                       Strategy::kFirst, Strategy::kAverage, Strategy::kMax};
inline constexpr size_t kPositions = 48;  // of the tiny checkpoint
inline const std::string kNfdHelene = "He\xCC\x81le\xCC\x80ne";

inline const fs::path kCheckpoint = fs::path(OCTOBERT_SOURCE_DIR) / "tests/data/entities/checkpoint";

// The random checkpoint of the entity goldens: 48 positions, labels O and B-/I- of four types.
inline Engine open_tiny(const std::string& scheme = "dynamic", int threads = 1, const std::string& isa = "",
                        const fs::path& checkpoint = kCheckpoint) {
  const TemporaryFolder folder;
  ConvertOptions options;
  options.scheme = scheme;
  options.check = false;
  convert(checkpoint, folder / "tiny.octo", options);
  OpenOptions open;
  open.threads = threads;
  open.isa = isa;
  open.load_into_memory = true;
  return Engine::open(folder / "tiny.octo", open);
}

inline const Engine& tiny() {
  static const Engine kEngine = open_tiny();
  return kEngine;
}

inline std::vector<std::string> random_texts(size_t count, uint32_t seed, size_t most_words = 120) {
  const std::vector<std::string> words = {
      "the",           "berlin", "New York-based", "5.975,74", "東京",      kNfdHelene, "[SEP]", "x_y",
      "http://t.co/a", "😀",      "U.S.",           "\xC2\xAD", "president", "\n",       "of",    "\xFF"};
  std::mt19937 random(seed);
  std::vector<std::string> texts(count);
  for (std::string& text : texts) {
    const size_t n = random() % 4 == 0 ? random() % most_words : random() % 12;
    for (size_t w = 0; w < n; ++w) text += words[random() % words.size()] + (random() % 6 == 0 ? "" : " ");
  }
  return texts;
}

inline std::vector<std::string_view> views(const std::vector<std::string>& texts) {
  return {texts.begin(), texts.end()};
}

// Every field, floats to the bit. Views are compared by place in their text.
inline void expect_equal(const Analysis& a, const Analysis& b, const std::string& what) {
  ASSERT_EQ(a.entity_count, b.entity_count) << what;
  EXPECT_EQ(a.truncated, b.truncated) << what;
  for (size_t i = 0; i < a.entity_count; ++i) {
    const Entity &x = a.entities[i], &y = b.entities[i];
    EXPECT_EQ(x.label, y.label) << what;
    EXPECT_EQ(x.score, y.score) << what;
    EXPECT_EQ(x.text, y.text) << what;
    EXPECT_TRUE(x.bytes == y.bytes && x.codepoints == y.codepoints && x.utf16 == y.utf16) << what;
    EXPECT_EQ(x.word, y.word) << what;
    EXPECT_EQ(x.index, y.index) << what;
    EXPECT_EQ(x.label_scores, y.label_scores) << what;
  }
  ASSERT_EQ(a.words.size(), b.words.size()) << what;
  for (size_t i = 0; i < a.words.size(); ++i) {
    EXPECT_EQ(a.words[i].label, b.words[i].label) << what;
    EXPECT_EQ(a.words[i].score, b.words[i].score) << what;
  }
}

inline ErrorCode error_code(const std::function<void()>& call, std::string* message = nullptr) {
  try {
    call();
  } catch (const Error& error) {
    if (message != nullptr) *message = error.what();
    return error.code();
  }
  ADD_FAILURE() << "no error";
  return ErrorCode::kIo;
}

}  // namespace octobert::test

#endif  // OCTOBERT_TESTS_ANALYZE_TEST_UTIL_H_
