// Strategy::kWords on made-up probabilities: label names, words, tags, filters, offsets, window borders.
#include "engine/entities_words.h"

#include <gtest/gtest.h>

#include <limits>
#include <random>

#include "octobert/error.h"

namespace octobert {
namespace {

// Decodes pieces such as "mic B-ORG", "+ro O" (+: same word as the piece before), which are looked for in the text one
// after the other. Each gets its label with probability 0.75, or what is written behind ("x O 0.5"); the rest is
// spread over the other labels.
class Decoding {
 public:
  explicit Decoding(std::vector<std::string> labels, const AnalyzeOptions& options = {})
      : labels_(std::move(labels)), tags_(label_tags(labels_)) {
    rules_.prepare(labels_, tags_, options);
  }

  // "PER:Angela Merkel|LOC:Berlin"
  std::string operator()(const std::string& text, const std::vector<std::string>& pieces, size_t run_size = 1000) {
    text_ = text;
    parse(pieces);
    decode(run_size);
    std::string out;
    for (size_t i = 0; i < result.entity_count; ++i) {
      const Entity& e = result.entities[i];
      out += (i ? "|" : "") + e.label + ":" + std::string(e.text);
      EXPECT_EQ(e.text, std::string_view(text_).substr(e.bytes.begin, e.bytes.end - e.bytes.begin));
    }
    return out;
  }

  Analysis result;

 private:
  void parse(const std::vector<std::string>& pieces) {
    ids_.clear(), words_.clear(), bytes_.clear(), codepoints_.clear(), probabilities_.clear();
    size_t at = 0;
    for (std::string piece : pieces) {
      const bool same_word = piece[0] == '+';
      piece.erase(0, same_word);
      const size_t space = piece.find(' ');
      const std::string slice = piece.substr(0, space);
      std::string label = piece.substr(space + 1);
      float probability = 0.75f;
      if (const size_t second = label.find(' '); second != std::string::npos) {
        probability = std::stof(label.substr(second));
        label.resize(second);
      }
      at = text_.find(slice, at);
      ASSERT_NE(at, std::string::npos) << slice;
      bytes_.push_back({static_cast<uint32_t>(at), static_cast<uint32_t>(at + slice.size())});
      codepoints_.push_back({count(at), count(at + slice.size())});
      at += slice.size();
      ids_.push_back(0);
      words_.push_back(words_.empty() ? 0 : words_.back() + !same_word);
      const auto found = std::find(labels_.begin(), labels_.end(), label);
      ASSERT_NE(found, labels_.end()) << label;
      for (auto l = labels_.begin(); l != labels_.end(); ++l) {
        probabilities_.push_back(l == found ? probability : (1 - probability) / static_cast<float>(labels_.size() - 1));
      }
    }
  }

  uint32_t count(size_t bytes) const {
    return static_cast<uint32_t>(std::count_if(text_.begin(), text_.begin() + static_cast<std::ptrdiff_t>(bytes),
                                               [](char c) { return (static_cast<uint8_t>(c) & 0xC0) != 0x80; }));
  }

  void decode(size_t run_size) {
    result.entity_count = 0;
    writer_.begin(text_, rules_, result);
    decoder_.begin(text_, rules_, writer_, {});
    for (size_t begin = 0; begin < ids_.size(); begin += run_size) {
      const size_t n = std::min(run_size, ids_.size() - begin);
      const auto part = [&](const auto& all) { return std::span(all).subspan(begin, n); };
      decoder_.add({part(ids_), part(words_), part(bytes_), part(codepoints_),
                    probabilities_.data() + begin * labels_.size(), labels_.size()});
    }
    decoder_.finish();
  }

  std::vector<std::string> labels_;
  std::vector<LabelTag> tags_;
  EntityRules rules_;
  EntityWriter writer_;
  WordsDecoder decoder_;
  std::string text_;
  std::vector<int32_t> ids_, words_;
  std::vector<Span> bytes_, codepoints_;
  std::vector<float> probabilities_;
};

const std::vector<std::string> kBio = {"O", "B-PER", "I-PER", "B-LOC", "I-LOC", "B-TOTAL", "I-TOTAL"};
const std::vector<std::string> kBioes = {"O", "B-PER", "I-PER", "E-PER", "S-PER", "B-LOC", "I-LOC", "E-LOC", "S-LOC"};

TEST(LabelTags, Ours) {
  const std::vector<std::string> labels = {"O",   "B-PER", "I-PER", "E-PER", "S-PER",
                                           "B-O", "I-O",   "U-PER", "MISC",  "B-"};
  const std::vector<LabelTag> tags = label_tags(labels);
  EXPECT_TRUE(tags[0].outside);
  for (size_t l = 1; l < tags.size(); ++l) EXPECT_FALSE(tags[l].outside) << labels[l];
  EXPECT_EQ(tags[1].tag, Tag::kBegin);
  EXPECT_EQ(tags[2].tag, Tag::kInside);
  EXPECT_EQ(tags[3].tag, Tag::kEnd);
  EXPECT_EQ(tags[4].tag, Tag::kSingle);
  for (size_t l = 2; l <= 4; ++l) EXPECT_EQ(tags[l].type, tags[1].type);
  EXPECT_EQ(tags[4].name, "PER");
  EXPECT_EQ(tags[5].name, "O");
  EXPECT_NE(tags[5].type, tags[0].type);
  EXPECT_EQ(tags[7].tag, Tag::kSingle);
  EXPECT_EQ(tags[8].tag, Tag::kInside);
  EXPECT_EQ(tags[8].name, "MISC");
  EXPECT_EQ(tags[9].name, "");
}

TEST(LabelTags, LettersAreMarksOnlyInTheirScheme) {
  const std::vector<std::string> labels = {"O", "B-PER", "I-PER", "E-MAIL", "S-BAHN", "M-PER", "L-DOPA", "U-TURN"};
  const std::vector<LabelTag> tags = label_tags(labels);
  for (size_t l = 3; l < labels.size(); ++l) {
    EXPECT_EQ(tags[l].tag, Tag::kInside) << labels[l];
    EXPECT_EQ(tags[l].name, labels[l]);
  }
}

TEST(LabelTags, Reference) {
  const std::vector<std::string> labels = {"O", "B-PER", "I-PER", "S-PER", "PER", "B-O", "I-A-B", "LABEL_0"};
  const std::vector<LabelTag> tags = reference_label_tags(labels);
  const std::vector<std::string_view> names = {"O", "PER", "PER", "PER", "PER", "O", "A-B", "LABEL_0"};
  for (size_t l = 0; l < labels.size(); ++l) EXPECT_EQ(tags[l].name, names[l]) << labels[l];
  EXPECT_EQ(tags[1].tag, Tag::kBegin);
  EXPECT_EQ(tags[3].tag, Tag::kInside);
  EXPECT_EQ(tags[1].type, tags[2].type);
  EXPECT_EQ(tags[1].type, tags[4].type);
  EXPECT_NE(tags[1].type, tags[3].type);
  EXPECT_EQ(tags[5].type, tags[0].type);
}

TEST(Words, FirstPieceSpeaksForItsWord) {
  Decoding decode(kBio);
  EXPECT_EQ(decode("Merkel met", {"Mer B-PER", "+kel O", "met O"}), "PER:Merkel");
  EXPECT_EQ(decode("Merkel met", {"Mer O", "+kel B-PER", "met O"}), "");
  EXPECT_EQ(decode("Angela Merkel", {"Ang B-PER", "+ela B-PER", "Mer I-PER", "+kel B-LOC"}), "PER:Angela Merkel");
}

TEST(Words, TagsMakeEntities) {
  Decoding decode(kBio);
  EXPECT_EQ(decode("a b c", {"a B-PER", "b B-PER", "c I-PER"}), "PER:a|PER:b c");
  EXPECT_EQ(decode("a b c", {"a O", "b I-PER", "c I-PER"}), "PER:b c");
  EXPECT_EQ(decode("a b c", {"a B-PER", "b I-LOC", "c I-PER"}), "PER:a|LOC:b|PER:c");
  EXPECT_EQ(decode("a b c", {"a B-PER", "b O", "c I-PER"}), "PER:a|PER:c");
  EXPECT_EQ(decode("New York-based", {"New B-LOC", "York I-LOC", "- O", "based O"}), "LOC:New York");
  EXPECT_EQ(decode("the U.S.", {"the O", "U B-LOC", ". I-LOC", "S I-LOC", ". I-LOC"}), "LOC:U.S.");
  EXPECT_EQ(decode("", {}), "");
}

TEST(Words, TouchingPartsOfOneTypeAreOneEntity) {
  Decoding decode(kBio);
  EXPECT_EQ(decode("5.975,74 5", {"5 B-TOTAL", ". B-TOTAL", "975 B-TOTAL", ", B-TOTAL", "74 B-TOTAL", "5 B-TOTAL"}),
            "TOTAL:5.975,74|TOTAL:5");
  EXPECT_EQ(decode("Paris/London", {"Paris B-LOC", "/ O", "London B-LOC"}), "LOC:Paris|LOC:London");
  EXPECT_EQ(decode("@user", {"@ B-LOC", "user B-PER"}), "LOC:@|PER:user");
}

TEST(Words, CjkCharactersTouchWithoutBelongingTogether) {
  Decoding decode(kBio);
  const std::vector<std::string> two = {"张 B-PER", "三 I-PER", "李 B-PER", "四 I-PER", "说 O"};
  EXPECT_EQ(decode("张三李四说", two), "PER:张三|PER:李四");
  EXPECT_EQ(decode("東京tower", {"東 B-LOC", "京 I-LOC", "tower B-LOC"}), "LOC:東京|LOC:tower");
  EXPECT_EQ(decode("tower東", {"tower B-LOC", "東 B-LOC"}), "LOC:tower|LOC:東");
}

TEST(Words, Bioes) {
  Decoding decode(kBioes);
  EXPECT_EQ(decode("a b c d", {"a B-PER", "b I-PER", "c E-PER", "d I-PER"}), "PER:a b c|PER:d");
  EXPECT_EQ(decode("a b c", {"a S-PER", "b S-PER", "c S-LOC"}), "PER:a|PER:b|LOC:c");
  EXPECT_EQ(decode("a b c", {"a B-PER", "b E-PER", "c E-PER"}), "PER:a b|PER:c");
  EXPECT_EQ(decode("a b c", {"a E-LOC", "b I-LOC", "c E-LOC"}), "LOC:a|LOC:b c");
  EXPECT_EQ(decode("5,5", {"5 S-LOC", ", S-LOC", "5 S-LOC"}), "LOC:5,5");
}

TEST(Words, BilouAndBmes) {
  Decoding bilou({"O", "B-PER", "I-PER", "L-PER", "U-PER"});
  EXPECT_EQ(bilou("a b c d", {"a B-PER", "b I-PER", "c L-PER", "d U-PER"}), "PER:a b c|PER:d");
  Decoding bmes({"O", "B-NAME", "M-NAME", "E-NAME", "S-NAME"});
  EXPECT_EQ(bmes("王小明说张", {"王 B-NAME", "小 M-NAME", "明 E-NAME", "说 O", "张 S-NAME"}), "NAME:王小明|NAME:张");
}

TEST(Words, LabelsWithoutPrefix) {
  Decoding decode({"O", "PER", "LOC", "B-O", "I-O"});
  EXPECT_EQ(decode("a b c d", {"a PER", "b PER", "c LOC", "d O"}), "PER:a b|LOC:c");
  EXPECT_EQ(decode("a b c d", {"a B-O", "b I-O", "c O", "d I-O"}), "O:a b|O:d");
}

TEST(Words, UnderscoresAndUrls) {
  Decoding decode(kBio);
  EXPECT_EQ(decode("x_y__z", {"x B-PER", "_ O", "y O", "_ O", "_ O", "z B-LOC"}), "PER:x_y__z");
  EXPECT_EQ(decode("_Berlin_ is", {"_ O", "Berlin B-LOC", "_ O", "is O"}), "LOC:Berlin");
  EXPECT_EQ(decode("a _ b", {"a B-PER", "_ O", "b O"}), "PER:a");
  EXPECT_EQ(decode("http://t.co/Ab", {"http O", ": O", "/ O", "/ O", "t B-LOC", ". B-LOC", "co O", "/ O", "Ab B-PER"}),
            "");
  EXPECT_EQ(decode("http://t 北", {"http O", ": O", "/ O", "/ O", "t B-LOC", "北 B-LOC"}), "LOC:北");
  EXPECT_EQ(decode("http://t北", {"http O", ": O", "/ O", "/ O", "t B-LOC", "北 B-LOC"}), "LOC:北");
  EXPECT_EQ(decode("note: Berlin", {"note O", ": O", "Berlin B-LOC"}), "LOC:Berlin");
  EXPECT_EQ(decode("://Berlin", {": O", "/ O", "/ O", "Berlin B-LOC"}), "LOC:Berlin");
}

TEST(Words, RunsMayEndAnywhere) {
  Decoding decode(kBio);
  const std::vector<std::string> pieces = {"Ang B-PER", "+ela O",     "Mer I-PER", "+kel O",    "in O",
                                           "New B-LOC", "York I-LOC", "1 B-TOTAL", ", B-TOTAL", "5 B-TOTAL"};
  for (size_t run = 1; run <= pieces.size(); ++run) {
    EXPECT_EQ(decode("Angela Merkel in New York 1,5", pieces, run), "PER:Angela Merkel|LOC:New York|TOTAL:1,5");
  }
}

TEST(Words, IgnoredLabels) {
  AnalyzeOptions options;
  options.ignore_labels = {};
  EXPECT_EQ(Decoding(kBio, options)("a b c d", {"a O", "b O", "c B-PER", "d O"}), "O:a b|PER:c|O:d");
  options.ignore_labels = {"O", "PER"};
  EXPECT_EQ(Decoding(kBio, options)("a b c", {"a O", "b B-PER", "c B-LOC"}), "LOC:c");
}

TEST(Words, ScoresAreMeansOverWords) {
  AnalyzeOptions options;
  options.label_scores = true;
  Decoding decode(kBio, options);
  EXPECT_EQ(decode("ab c", {"a B-PER 0.5", "+b O 0.9", "c I-PER 0.75"}), "PER:ab c");
  const Entity& entity = decode.result.entities[0];
  EXPECT_FLOAT_EQ(entity.score, 0.625f);
  ASSERT_EQ(entity.label_scores.size(), kBio.size());
  EXPECT_FLOAT_EQ(entity.label_scores[1], (0.5f + 0.25f / 6) / 2);
  EXPECT_FLOAT_EQ(entity.label_scores[2], (0.5f / 6 + 0.75f) / 2);
  EXPECT_EQ(entity.word, "");
  EXPECT_EQ(entity.index, -1);
}

TEST(Words, MinScores) {
  const std::vector<std::string> pieces = {"a B-PER 0.6", "b B-LOC 0.6", "c B-PER 0.9"};
  AnalyzeOptions options;
  options.min_score = 0.7f;
  EXPECT_EQ(Decoding(kBio, options)("a b c", pieces), "PER:c");
  options.min_score_by_label = {{"LOC", 0.5f}};
  EXPECT_EQ(Decoding(kBio, options)("a b c", pieces), "LOC:b|PER:c");
  options.min_score_by_label = {{"PRE", 0.5f}};
  EXPECT_THROW(Decoding(kBio, options), Error);
  options.min_score_by_label = {{"PER", 1.5f}};
  EXPECT_THROW(Decoding(kBio, options), Error);
  options.min_score_by_label = {};
  options.min_score = std::numeric_limits<float>::quiet_NaN();
  EXPECT_THROW(Decoding(kBio, options), Error);
}

TEST(Words, OffsetsInThreeUnits) {
  Decoding decode(kBio);
  EXPECT_EQ(decode("é😀 Zürich 😀x", {"é O", "😀 O", "Zürich B-LOC", "😀 B-PER", "x I-PER"}), "LOC:Zürich|PER:😀x");
  const Entity& zurich = decode.result.entities[0];
  EXPECT_EQ(zurich.bytes, (Span{7, 14}));
  EXPECT_EQ(zurich.codepoints, (Span{3, 9}));
  EXPECT_EQ(zurich.utf16, (Span{4, 10}));
  const Entity& emoji = decode.result.entities[1];
  EXPECT_EQ(emoji.bytes, (Span{15, 20}));
  EXPECT_EQ(emoji.codepoints, (Span{10, 12}));
  EXPECT_EQ(emoji.utf16, (Span{11, 14}));
}

TEST(Utf16, InvalidBytesAreOneUnitEach) {
  // Lone lead, overlong and too large sequences, a truncated one: no pair among them but U+10FFFF and U+10000.
  const std::string text = "\xF0\xF0\x8F\xBF\xBF\xF4\x90\x80\x80\xF4\x8F\xBF\xBF\xF0\x90\x80\x80\xF0\x9F\x98";
  Utf16Cursor cursor(text);
  const auto size = static_cast<uint32_t>(text.size());
  // Code points are given; only the pairs are counted on top of them.
  EXPECT_EQ(cursor.convert({0, 9}, {0, 9}), (Span{0, 9}));
  EXPECT_EQ(cursor.convert({9, 13}, {9, 10}), (Span{9, 11}));
  EXPECT_EQ(cursor.convert({13, size}, {10, 12}), (Span{11, 14}));
  EXPECT_EQ(cursor.convert({0, size}, {0, 12}), (Span{0, 14})) << "backwards";
}

}  // namespace
}  // namespace octobert
