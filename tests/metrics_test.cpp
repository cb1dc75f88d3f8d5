// Agreement, divergence, paired entities and their test, on answers made by hand.
#include "converter/metrics.h"

#include <gtest/gtest.h>

#include <cmath>

namespace octobert::converter {
namespace {

// Exact values: sums of binomial coefficients as fractions (Python's fractions and math.comb).
TEST(McNemar, ExactValues) {
  const auto p = [](size_t lost, size_t gained) { return PairedEntities{1000, lost, gained, 50}.p_value(); };
  EXPECT_EQ(p(0, 0), 1);
  EXPECT_EQ(p(1, 1), 1);
  EXPECT_NEAR(p(5, 0), 0.0625, 1e-15);
  EXPECT_NEAR(p(2, 10), 0.03857421875, 1e-14);
  EXPECT_NEAR(p(10, 2), 0.03857421875, 1e-14);
  EXPECT_NEAR(p(100, 70), 0.02584438758134169, 1e-12);
  EXPECT_NEAR(p(3000, 2000), 1.3002310005203771e-45, 1e-55);  // 2^-5000 itself is no double
}

TEST(Divergence, OfTwoDistributions) {
  const std::vector<float> even = {1, 1}, three_to_one = {std::log(3.0F), 0};
  EXPECT_NEAR(divergence(even, even), 0, 1e-15);
  EXPECT_NEAR(divergence(even, three_to_one), 0.5 * std::log(0.5 / 0.75) + 0.5 * std::log(0.5 / 0.25), 1e-7);
  // Logits far apart: probabilities below what a double can tell from 0.
  const std::vector<float> sure = {2000, 0}, wrong = {0, 2000};
  EXPECT_NEAR(divergence(sure, wrong), 2000, 1e-9);
}

// One piece a word; the logits say a label for each.
struct Answers {
  EncodedTexts encoded;
  std::vector<float> reference, model;
};

Answers answers(const std::vector<std::vector<std::pair<int, int>>>& texts, size_t labels) {
  Answers out;
  for (const auto& words : texts) {
    std::vector<int32_t>& pieces = out.encoded.first_pieces.emplace_back();
    for (const auto& [reference, model] : words) {
      pieces.push_back(static_cast<int32_t>(out.encoded.ids.size()));
      out.encoded.ids.push_back(0);
      for (size_t label = 0; label < labels; ++label) {
        out.reference.push_back(static_cast<int>(label) == reference ? 4.0F : 0.0F);
        out.model.push_back(static_cast<int>(label) == model ? 4.0F : 0.0F);
      }
    }
    out.encoded.offsets.push_back(static_cast<int32_t>(out.encoded.ids.size()));
  }
  return out;
}

// Texts without an entity are no disagreement about entities; one that only one of the two finds is.
TEST(CompareLogits, EntitiesWhereThereAreNone) {
  const std::vector<std::string> names = {"O", "B-PER"};
  const auto agreement = [&](int reference, int model) {
    const Answers a = answers({{{0, 0}, {reference, model}}}, names.size());
    return compare_logits(a.encoded, {}, names, a.reference, a.model).entity_agreement();
  };
  EXPECT_EQ(agreement(0, 0), 1);
  EXPECT_EQ(agreement(1, 1), 1);
  EXPECT_EQ(agreement(0, 1), 0);
  EXPECT_EQ(agreement(1, 0), 0);
}

TEST(CompareLogits, CountsWordsEntitiesAndPairs) {
  const std::vector<std::string> names = {"O", "B-PER", "I-PER"};
  Answers a = answers({{{1, 1}, {2, 0}, {0, 0}}, {{0, 1}, {1, 1}}}, names.size());
  const std::vector<Sentence> sentences = {{{"a", "b", "c"}, {"B-PER", "I-PER", "O"}}, {{"d", "e"}, {"B-PER", "O"}}};
  const Comparison c = compare_logits(a.encoded, sentences, names, a.reference, a.model);
  EXPECT_EQ(c.words, 5U);
  EXPECT_EQ(c.same_label, 3U);
  ASSERT_EQ(c.changed.size(), 2U);
  EXPECT_EQ(c.changed[1].text, 1U);
  EXPECT_EQ(c.changed[1].word, 0U);
  EXPECT_EQ(c.changed[1].reference, 0);
  EXPECT_EQ(c.changed[1].model, 1);
  // The float model finds [0, 2) and [1, 2); the other [0, 1), [0, 1), [1, 2): one in common.
  EXPECT_EQ(c.entities.expected, 2U);
  EXPECT_EQ(c.entities.found, 3U);
  EXPECT_EQ(c.entities.correct, 1U);
  EXPECT_EQ(c.paired.lost, 1U);    // the first text's
  EXPECT_EQ(c.paired.gained, 1U);  // the second's
  EXPECT_EQ(c.paired.both + c.paired.neither, 0U);
  EXPECT_NEAR(c.f1_loss(), 2.0 / 4 - 2.0 / 5, 1e-15);
  // Two rows of e^4 / (e^4 + 2), with the 4 on another label.
  EXPECT_NEAR(c.divergence, 2 * 4 * (std::exp(4.0) - 1) / (std::exp(4.0) + 2), 1e-6);

  Comparison twice = c;
  twice.add(c);
  EXPECT_EQ(twice.words, 10U);
  EXPECT_EQ(twice.entities.found, 6U);
  EXPECT_EQ(twice.paired.lost, 2U);
  EXPECT_NEAR(twice.mean_divergence(), c.mean_divergence(), 1e-15);
}

TEST(CompareLogits, WordsWithoutAPieceAndTextsWithoutLabels) {
  const std::vector<std::string> names = {"O", "B-PER"};
  Answers a = answers({{{1, 0}, {1, 1}}}, names.size());
  a.encoded.first_pieces[0].insert(a.encoded.first_pieces[0].begin(), -1);
  const Comparison c = compare_logits(a.encoded, {}, names, a.reference, a.model);
  EXPECT_EQ(c.words, 2U);
  EXPECT_FALSE(c.labelled);
  ASSERT_EQ(c.changed.size(), 1U);
  EXPECT_EQ(c.changed[0].word, 1U);
  EXPECT_EQ(c.paired.p_value(), 1);
}

}  // namespace
}  // namespace octobert::converter
