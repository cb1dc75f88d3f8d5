// Two models over the same texts: agreement, entities, noise by layer; and how texts are cut into windows for it.
#include "converter/compare.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>

#include "converter/convert.h"
#include "octobert/error.h"
#include "tests/temporary_folder.h"
#include "tests/tiny_checkpoint.h"

namespace octobert::converter {
namespace {

class Compare : public testing::Test {
 protected:
  Compare() {
    tiny_.write(folder_.path());
    bytes_ = convert_to_memory(folder_.path(), {});
  }
  Engine dynamic() const { return Engine::open_memory(bytes_, {.threads = 1}); }

  test::TemporaryFolder folder_;
  test::TinyCheckpoint tiny_;
  std::vector<std::byte> bytes_;
};

std::vector<Sentence> some_sentences() {
  return {{{"Marta", "in", "Lisbon", "."}, {"B-PER", "O", "B-PER", "O"}},
          {{"yes"}, {"O"}},
          {{"\u200b", "the", "qqq"}, {"B-PER", "O", "O"}}};  // the first word has no piece
}

TEST_F(Compare, AModelWithItself) {
  const FloatModel reference(folder_.path(), {.threads = 1});
  const std::vector<Sentence> sentences = some_sentences();
  const EncodedTexts encoded = encode_sentences(reference.engine(), sentences);
  const Comparison same = compare_models(reference.engine(), reference.engine(), encoded, sentences);
  EXPECT_EQ(same.words, 7U);
  EXPECT_EQ(same.same_label, 7U);
  EXPECT_EQ(same.reference.all.expected, 3U);
  EXPECT_EQ(same.reference.all.found, same.model.all.found);
  EXPECT_EQ(same.reference.all.correct, same.model.all.correct);
  ASSERT_EQ(same.sqnr.size(), 18U);
  EXPECT_EQ(same.sqnr[1].name, "layer.0.qkv");
  EXPECT_EQ(same.sqnr[2].name, "layer.0.scores");
  EXPECT_EQ(same.sqnr[3].name, "layer.0.context");
  for (const LayerSqnr& layer : same.sqnr) EXPECT_EQ(layer.decibel, std::numeric_limits<double>::infinity());
}

TEST_F(Compare, FloatAndDynamic) {
  const FloatModel reference(folder_.path(), {.threads = 1});
  const Engine model = dynamic();
  // More tokens than are taken at once.
  std::vector<std::string> texts(150, "Marta in Lisbon, in the q, r, s, t. Yes: yes - no.");
  const EncodedTexts encoded = encode_texts(model, texts);
  size_t last = 0;
  const Comparison comparison = compare_models(reference.engine(), model, encoded, {}, [&](size_t done, size_t total) {
    EXPECT_GT(done, last);
    EXPECT_EQ(total, encoded.ids.size());
    last = done;
  });
  EXPECT_EQ(last, encoded.ids.size());
  EXPECT_GT(encoded.ids.size(), 1024U);
  EXPECT_GT(comparison.words, 1024U);
  EXPECT_EQ(comparison.reference.all.found, 0U);  // nothing to score against
  for (const LayerSqnr& layer : comparison.sqnr) {
    EXPECT_GT(layer.decibel, 15) << layer.name;
    EXPECT_LT(layer.decibel, 80) << layer.name;
  }
  // The mean over equal texts is that of one of them.
  const std::vector<std::string> one(1, texts.front());
  const Comparison single = compare_models(reference.engine(), model, encode_texts(model, one), {});
  for (size_t i = 0; i < single.sqnr.size(); ++i) {
    EXPECT_NEAR(single.sqnr[i].decibel, comparison.sqnr[i].decibel, 1e-9) << single.sqnr[i].name;
  }
}

TEST_F(Compare, AnotherModelsCheckpoint) {
  test::TinyCheckpoint other;
  other.config["max_position_embeddings"] = 16;
  other.add("bert.embeddings.position_embeddings.weight", {16, 12});
  const test::TemporaryFolder folder;
  other.write(folder.path());
  const FloatModel reference(folder.path());
  const Engine model = dynamic();
  try {
    compare_models(reference.engine(), model, encode_texts(model, std::vector<std::string>{"a"}), {});
    ADD_FAILURE();
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::kInvalidInput);
    EXPECT_NE(std::string(e.what()).find("max_positions is 32"), std::string::npos) << e.what();
  }
}

TEST_F(Compare, SentencesLongerThanAWindow) {
  const Engine model = dynamic();
  Sentence sentence;
  for (int i = 0; i < 75; ++i) sentence.words.emplace_back(1, static_cast<char>('a' + i % 26));
  const std::vector<Sentence> sentences = {sentence, {{}, {}}, {{"yes"}, {}}};
  const EncodedTexts encoded = encode_sentences(model, sentences);
  // 30 words a window of 32: 30, 30, 15; the empty sentence; one word.
  EXPECT_EQ(encoded.offsets, (std::vector<int32_t>{0, 32, 64, 81, 83, 86}));
  ASSERT_EQ(encoded.first_pieces.size(), 3U);
  for (int i = 0; i < 75; ++i) {
    const auto piece = static_cast<size_t>(encoded.first_pieces[0][static_cast<size_t>(i)]);
    ASSERT_EQ(piece, static_cast<size_t>(i / 30 * 32 + 1 + i % 30));
    EXPECT_EQ(model.tokenizer().token(encoded.ids[piece]), sentence.words[static_cast<size_t>(i)]);
  }
  EXPECT_EQ(encoded.first_pieces[2], (std::vector<int32_t>{84}));
}

TEST_F(Compare, WordsOfTextsAreThePreTokenizers) {
  const Engine model = dynamic();
  const EncodedTexts encoded = encode_texts(model, std::vector<std::string>{"qr, the [SEP]", ""});
  ASSERT_EQ(encoded.first_pieces.size(), 2U);
  std::vector<std::string> firsts;
  for (const int32_t piece : encoded.first_pieces[0]) {
    if (piece >= 0) firsts.emplace_back(model.tokenizer().token(encoded.ids[static_cast<size_t>(piece)]));
  }
  EXPECT_EQ(firsts, (std::vector<std::string>{"q", ",", "the", "[SEP]"}));
  EXPECT_TRUE(encoded.first_pieces[1].empty());
}

}  // namespace
}  // namespace octobert::converter
