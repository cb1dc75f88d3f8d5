// CoNLL files, entities by exact span and type, labels by first piece.
#include "converter/evaluate.h"

#include <gtest/gtest.h>

#include "octobert/error.h"
#include "tests/errors.h"
#include "tests/temporary_folder.h"

namespace octobert::converter {
namespace {

std::vector<Sentence> conll(const std::string& content) {
  const test::TemporaryFolder folder;
  test::write_file(folder / "t.tsv", content);
  return read_conll(folder / "t.tsv");
}

TEST(Conll, Reads) {
  const std::vector<Sentence> sentences = conll("-DOCSTART- -X- O O\n\nEU NNP I-NP B-ORG\r\nrejects\tO\n\n\n\n.\tO");
  ASSERT_EQ(sentences.size(), 2U);
  EXPECT_EQ(sentences[0].words, (std::vector<std::string>{"EU", "rejects"}));
  EXPECT_EQ(sentences[0].labels, (std::vector<std::string>{"B-ORG", "O"}));
  EXPECT_EQ(sentences[1].words, (std::vector<std::string>{"."}));
  EXPECT_TRUE(conll("").empty());
  EXPECT_TRUE(conll("\n\n").empty());
}

TEST(Conll, Refuses) {
  for (const char* bad : {"a\tO\nword\n", "a\tO\n\tO\n", "a\tO\nword\t\n"}) {
    try {
      conll(bad);
      ADD_FAILURE() << bad;
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ErrorCode::kFormat);
      EXPECT_NE(std::string(e.what()).find("t.tsv: line 2"), std::string::npos) << e.what();
    }
  }
  EXPECT_THROW(read_conll("/absent/file"), Error);
}

// As an editor of another system saves it, with its mark and without, in both byte orders.
TEST(Conll, Utf16IsToldByName) {
  using namespace std::string_literals;
  const std::string little = "M\0\t\0O\0\n\0\n\0"s, big = "\0M\0\t\0O\0\n\0\n"s;
  for (const std::string& content : {"\xff\xfe"s + little, "\xfe\xff"s + big, little, big, "a\tO\nb\0\tO\n"s}) {
    const std::string message = test::error_of([&] { conll(content); }, ErrorCode::kFormat);
    EXPECT_TRUE(test::holds(message, "t.tsv: line ")) << message;
    EXPECT_TRUE(test::holds(message, "not UTF-8")) << message;
    EXPECT_TRUE(test::holds(message, "looks like UTF-16")) << message;
  }
  const std::string latin1 = test::error_of([&] { conll("a\tO\nna\xefve\tO\n"); }, ErrorCode::kFormat);
  EXPECT_TRUE(test::holds(latin1, "t.tsv: line 2: not UTF-8")) << latin1;
  EXPECT_FALSE(test::holds(latin1, "UTF-16")) << latin1;
}

std::string check(std::vector<std::string> labels, const std::vector<std::string>& model) {
  std::vector<Sentence> sentences = {{std::vector<std::string>(labels.size(), "word"), std::move(labels)}};
  return align_labels("t.tsv", sentences, model);
}

TEST(AlignLabels, OfTypesThatTheModelDoesNotHave) {
  const std::vector<std::string> model = {"O", "B-PER", "I-PER", "B-LOC", "I-LOC"};
  EXPECT_EQ(check({"B-PER", "I-PER", "O"}, model), "");
  EXPECT_EQ(check({"O", "O"}, model), "");
  EXPECT_EQ(check({"S-PER", "B-LOC", "E-LOC"}, model), "") << "another notation of the same entities";
  EXPECT_EQ(check({"PER"}, model), "");
  const std::string one = check({"B-PER", "B-DRUG", "I-DRUG", "O", "B-DRUG"}, model);
  EXPECT_TRUE(test::holds(one, "t.tsv: 2 labels of types that the model does not have: B-DRUG, I-DRUG. 2 of 3 "))
      << one;
  const std::string many = check({"B-PER", "B-1", "B-2", "B-3", "B-4", "B-5", "B-6", "B-7"}, model);
  EXPECT_TRUE(test::holds(many, "B-1, B-2, B-3, B-4, B-5 and 2 more. 7 of 8 entities")) << many;
  const std::string none = test::error_of([&] { check({"B-DRUG", "O"}, model); }, ErrorCode::kInvalidInput);
  EXPECT_TRUE(test::holds(none, "t.tsv: no entity in it is of a type that the model has (LOC, PER)")) << none;
  EXPECT_TRUE(test::holds(none, "B-DRUG")) << none;
  EXPECT_TRUE(test::holds(none, "--labels FILE")) << none;
  EXPECT_TRUE(test::holds(none, "--text")) << none;
}

// What a folder saved without names says (transformers fills in LABEL_0 .. itself).
TEST(AlignLabels, OfAModelWithoutNames) {
  const std::vector<std::string> model = {"LABEL_0", "LABEL_1", "LABEL_2"};
  const std::vector<Sentence> given = {{{"Berlin", "is"}, {"B-LOC", "O"}}, {{"Oslo"}, {"LABEL_1"}}};
  std::vector<Sentence> sentences = given;
  const std::string error =
      test::error_of([&] { align_labels("t.tsv", sentences, model, true); }, ErrorCode::kInvalidInput);
  const std::string warning = align_labels("t.tsv", sentences, model);
  for (const std::string& said : {error, warning}) {
    EXPECT_TRUE(test::holds(said, "t.tsv: its labels (B-LOC, O) can't be compared with the model's")) << said;
    EXPECT_TRUE(test::holds(said, "(LABEL_0 to LABEL_2)")) << said;
    EXPECT_TRUE(test::holds(said, "--labels FILE")) << said;
  }
  EXPECT_TRUE(test::holds(error, "there is no F1")) << error;
  EXPECT_TRUE(test::holds(warning, "agreement with the float model is measured, F1 is not")) << warning;
  for (size_t i = 0; i < given.size(); ++i) {
    EXPECT_EQ(sentences[i].words, given[i].words);
    EXPECT_TRUE(sentences[i].labels.empty());
  }
  // A file made for such a model means its numbers.
  sentences = {{{"Oslo", "is"}, {"LABEL_1", "LABEL_0"}}};
  EXPECT_EQ(align_labels("t.tsv", sentences, model, true), "");
  EXPECT_EQ(sentences.front().labels.size(), 2U);
}

std::vector<EntitySpan> spans(std::vector<std::string_view> labels) { return entity_spans(labels); }

TEST(EntitySpans, Rules) {
  using Spans = std::vector<EntitySpan>;
  EXPECT_EQ(spans({}), Spans{});
  EXPECT_EQ(spans({"O", "O"}), Spans{});
  EXPECT_EQ(spans({"B-PER", "I-PER", "O", "B-LOC"}), (Spans{{0, 2, "PER"}, {3, 4, "LOC"}}));
  EXPECT_EQ(spans({"B-PER", "B-PER"}), (Spans{{0, 1, "PER"}, {1, 2, "PER"}}));
  EXPECT_EQ(spans({"O", "I-PER", "I-PER"}), (Spans{{1, 3, "PER"}}));                                    // after O
  EXPECT_EQ(spans({"B-PER", "I-LOC", "I-PER"}), (Spans{{0, 1, "PER"}, {1, 2, "LOC"}, {2, 3, "PER"}}));  // another type
  EXPECT_EQ(spans({"B-PER", "O", "I-PER"}), (Spans{{0, 1, "PER"}, {2, 3, "PER"}}));
  EXPECT_EQ(spans({"B-A", "I-A", "E-A", "S-A", "U-B", "B-B", "L-B"}),
            (Spans{{0, 3, "A"}, {3, 4, "A"}, {4, 5, "B"}, {5, 7, "B"}}));
  EXPECT_EQ(spans({"PER", "PER", "X-PER"}), (Spans{{0, 2, "PER"}, {2, 3, "X-PER"}}));
}

TEST(EntityScores, Counts) {
  EntityScores scores;
  const std::vector<std::string_view> gold = {"B-PER", "I-PER", "O", "B-LOC", "O", "B-ORG"};
  const std::vector<std::string_view> found = {"B-PER", "I-PER", "O", "B-ORG", "B-ORG", "I-ORG"};
  scores.add(gold, found);
  scores.add({}, {});
  EXPECT_EQ(scores.all.expected, 3U);
  EXPECT_EQ(scores.all.found, 3U);
  EXPECT_EQ(scores.all.correct, 1U);
  EXPECT_DOUBLE_EQ(scores.all.f1(), 1.0 / 3);
  EXPECT_EQ(scores.by_type.at("ORG").found, 2U);
  EXPECT_EQ(scores.by_type.at("ORG").correct, 0U);
  EXPECT_DOUBLE_EQ(scores.by_type.at("PER").precision(), 1);
  EXPECT_DOUBLE_EQ(scores.by_type.at("LOC").recall(), 0);
  EXPECT_EQ(EntityCounts{}.f1(), 0);
}

TEST(WordLabels, FirstPieceFirstMaximum) {
  EncodedTexts encoded;
  encoded.ids = {1, 2, 3, 4};
  encoded.first_pieces = {{1, -1}, {3}};
  const std::vector<float> logits = {9, 0, 0, 2, 0, 2, 9, 9, 9, 0, 1, 0};
  EXPECT_EQ(word_labels(encoded, logits, 3), (std::vector<std::vector<int32_t>>{{0, -1}, {1}}));
}

}  // namespace
}  // namespace octobert::converter
