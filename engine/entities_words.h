// Our own way from label probabilities to entities, Strategy::kWords.
//
// Words are the pre-tokenizer's, with two exceptions that its splitting at every punctuation character makes necessary:
// underscores inside a word join its parts (snake_case), and a URL is one word. A word has the label of its first
// piece: that is what token classifiers are trained on (docs/ENTITIES.md has the measurements). Words become
// entities by their tags:
//  - the label O is outside;
//  - B and S begin an entity. But not where the word touches the word before, of the same type (no white space
//    between, no CJK ideograph on either side): "5.975,74" with a B on every part is one entity;
//  - I and E continue an entity of the same type that has not ended; else they begin one (I-X after O or after Y);
//  - after E and S an entity has ended.
#ifndef OCTOBERT_ENGINE_ENTITIES_WORDS_H_
#define OCTOBERT_ENGINE_ENTITIES_WORDS_H_

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "engine/entity_writer.h"

namespace octobert {

// Takes the tokens of a text in order, in runs of any size, and writes its entities as they end. Reused from text to
// text; what it keeps does not grow with the text.
class WordsDecoder {
 public:
  // All arguments must stay as they are until finish(). `word_labels`: empty, or one entry for each of the caller's
  // words, which then are the words; those without a token are left as they are.
  void begin(std::string_view text, const EntityRules& rules, EntityWriter& writer, std::span<WordLabel> word_labels);
  void add(const TokenRun& run);
  void finish();

 private:
  struct Word {
    int32_t id = -1;
    Span bytes, codepoints;
    bool in_url = false, in_identifier = false;
  };
  struct Group {  // an entity that is being built, or a run outside of any
    bool open = false;
    bool ended = false;  // by E or S
    uint32_t label = 0;  // of its first word
    Span bytes, codepoints;
    double score_sum = 0;
    uint32_t words = 0;
  };

  // Whether a piece belongs to the word that is open.
  bool continues_word(int32_t id, Span bytes);
  // Whether a word of another id does, by an underscore or because it is in a URL.
  bool joins_word(Span bytes);
  void start_word(int32_t id, Span bytes, Span codepoints, std::span<const float> probabilities);
  bool continues_group(const LabelTag& tag, Span bytes) const;
  void add_to_group(uint32_t label, std::span<const float> probabilities);
  void close_group();

  std::string_view text_;
  const EntityRules* rules_ = nullptr;
  EntityWriter* writer_ = nullptr;
  std::span<WordLabel> word_labels_;
  bool word_open_ = false;
  Word word_;
  Group group_;
  std::vector<double> label_sums_;  // [labels] with label_scores: over the group's words
  std::vector<float> label_scores_;
};

}  // namespace octobert

#endif  // OCTOBERT_ENGINE_ENTITIES_WORDS_H_
