// Engine::analyze_words: pre-tokenized words in, one label a word out.
#include <gtest/gtest.h>

#include <random>

#include "engine/analyze.h"
#include "tests/analyze_test_util.h"

namespace octobert {
namespace {

using test::kStrategies;
using test::random_texts;
using test::tiny;
using test::views;

TEST(AnalyzeWords, OneLabelAWord) {
  const std::vector<std::string_view> words = {"New", "York-based", "", "\xC2\xAD", "5.975,74", "東京", "of"};
  for (const Strategy strategy : kStrategies) {
    AnalyzeOptions options;
    options.strategy = strategy;
    Analysis result;
    tiny().analyze_words(words, options, result);
    ASSERT_EQ(result.words.size(), words.size());
    for (size_t w = 0; w < words.size(); ++w) {
      const bool empty = w == 2 || w == 3;
      EXPECT_EQ(result.words[w].score == 0, empty) << w;
      if (empty) {
        EXPECT_EQ(result.words[w].label, "O");
      }
    }
    EXPECT_EQ(*result.joined_words, "New York-based  \xC2\xAD 5.975,74 東京 of");
    for (size_t i = 0; i < result.entity_count; ++i) {
      const Entity& e = result.entities[i];
      EXPECT_EQ(e.text, std::string_view(*result.joined_words).substr(e.bytes.begin, e.bytes.end - e.bytes.begin));
    }
  }
}

// kFirst and kWords: the first piece; kAverage, kMax as named. From logits of our own asking.
TEST(AnalyzeWords, LabelsArePooledOverTheWordsPieces) {
  const std::vector<std::string_view> words = {"experimentally", "berlin", "U.S.A", "presidential", "x"};
  Encodings encodings;
  tiny().tokenizer().encode_words(words, {}, encodings);
  const Encoding& all = encodings.chunks[0];
  const size_t labels = tiny().labels().size();
  std::vector<float> p(all.size() * labels);
  const int32_t offsets[] = {0, static_cast<int32_t>(all.size())};
  Workspace workspace;
  tiny().logits({all.ids, {}, offsets}, p, workspace);
  for (size_t t = 0; t < all.size(); ++t) {
    float sum = 0;
    for (size_t l = 0; l < labels; ++l) sum += p[t * labels + l] = std::exp(p[t * labels + l]);
    for (size_t l = 0; l < labels; ++l) p[t * labels + l] /= sum;
  }
  for (const Strategy strategy : kStrategies) {
    AnalyzeOptions options;
    options.strategy = strategy;
    Analysis result;
    tiny().analyze_words(words, options, result);
    for (size_t w = 0; w < words.size(); ++w) {
      std::vector<float> row(labels, 0);
      size_t pieces = 0, best = 0;
      for (size_t t = 0; t < all.size(); ++t) {
        if (all.special[t] || static_cast<size_t>(all.words[t]) != w) continue;
        const auto top = [&](size_t u) { return *std::max_element(&p[u * labels], &p[(u + 1) * labels]); };
        if (pieces++ == 0 || (strategy == Strategy::kMax && top(t) > top(best))) best = t;
        for (size_t l = 0; l < labels; ++l) row[l] += p[t * labels + l];
      }
      for (float& x : row) x /= static_cast<float>(pieces);
      if (strategy != Strategy::kAverage) row.assign(&p[best * labels], &p[(best + 1) * labels]);
      const uint32_t label = argmax(row);
      EXPECT_EQ(result.words[w].label, tiny().labels()[label]);
      EXPECT_NEAR(result.words[w].score, row[label], 1e-5);
    }
  }
}

TEST(AnalyzeWords, LongInputInWindows) {
  std::mt19937 random(5);
  const std::vector<std::string> texts = random_texts(400, 6, 3);
  const std::vector<std::string_view> words = views(texts);
  for (const Strategy strategy : kStrategies) {
    AnalyzeOptions options;
    options.strategy = strategy;
    options.stride = 6;
    options.ignore_labels.clear();
    Analysis result;
    tiny().analyze_words(words, options, result);
    EXPECT_FALSE(result.truncated);
    Encodings encodings;
    tiny().tokenizer().encode_words(words, {}, encodings);
    std::vector<bool> has_token(words.size());
    for (const int32_t word : encodings.chunks[0].words) {
      if (word >= 0) has_token[static_cast<size_t>(word)] = true;
    }
    for (size_t w = 0; w < words.size(); ++w) EXPECT_EQ(result.words[w].score > 0, has_token[w]);
  }
}

TEST(AnalyzeWords, CopiesKeepTheirTexts) {
  const std::vector<std::string_view> words = {"new", "berlin", "president"}, others = {"of", "x"};
  AnalyzeOptions options;
  options.ignore_labels.clear();
  Analysis result;
  tiny().analyze_words(words, options, result);
  const Analysis copy = result;
  tiny().analyze_words(others, options, result);
  EXPECT_EQ(*copy.joined_words, "new berlin president");
  EXPECT_EQ(copy.entities[0].text.data(), copy.joined_words->data());
  EXPECT_EQ(*result.joined_words, "of x");
}

}  // namespace
}  // namespace octobert
