// transformers.pipeline("token-classification") 5.23.0, its five aggregation strategies exactly, oddities included
// (transformers/pipelines/token_classification.py; the names in brackets below are its functions).
//
// Scores follow its arithmetic: fp32 throughout, means as numpy takes them.
#ifndef OCTOBERT_ENGINE_ENTITIES_REFERENCE_H_
#define OCTOBERT_ENGINE_ENTITIES_REFERENCE_H_

#include <cstdint>
#include <deque>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/entity_writer.h"
#include "octobert/tokenizer.h"

namespace octobert {

// The probabilities of a word that is tokens [begin, end) of the run: of its first token (kFirst, kNone, kSimple), of
// the one with the highest probability (kMax), or the mean of all (kAverage, kept in `scratch`). [aggregate_word]
std::span<const float> pool_probabilities(const TokenRun& run, size_t begin, size_t end, Strategy strategy,
                                          std::vector<float>& scratch);

// Takes a text's windows one by one and writes its entities at the end. Reused from text to text.
class ReferenceDecoder {
 public:
  // All arguments must stay as they are until finish(). `strategy` is not kWords.
  void begin(std::string_view text, Strategy strategy, const Tokenizer& tokenizer, const EntityRules& rules,
             EntityWriter& writer);
  // `first_index`: place of the run's first token in its window, the template's specials counted.
  void add_window(const TokenRun& run, int32_t first_index);
  void finish();

 private:
  struct Range {  // of an arena
    size_t begin = 0, size = 0;
  };
  // A token (kNone, kSimple) or a word (the others) with its label [a dict of `aggregate`].
  struct Unit {
    uint32_t label = 0;
    float score = 0;
    Span bytes, codepoints;
    std::string_view token;  // kNone, kSimple: what stands for it in `word`
    Range word;              // the others: decoded, in unit_words_
    size_t token_begin = 0;  // its first token in the window
    Range probabilities;     // in unit_probabilities_, with label_scores
  };
  // An entity before windows are merged [a dict of `group_entities`, or of `aggregate` with kNone].
  struct Group {
    uint32_t label = 0;
    float score = 0;
    Span bytes, codepoints;
    int32_t index = -1;
    Range word;           // in group_words_
    Range probabilities;  // in group_probabilities_, with label_scores
  };

  // [gather_pre_entities]
  std::string_view token_word(const TokenRun& run, size_t token);
  bool is_subword(const TokenRun& run, size_t token) const;
  // [aggregate, aggregate_words, aggregate_word]
  void collect_units(const TokenRun& run);
  void add_token_unit(const TokenRun& run, size_t token);
  void add_word_unit(const TokenRun& run, size_t begin, size_t end);
  // [group_entities, group_sub_entities]
  void group_units();
  void add_group(std::span<const Unit> units);
  void add_single(const Unit& unit, int32_t index);
  // [aggregate_overlapping_entities] Indices of the groups that survive, in order.
  void merge_windows();
  void write(const Group& group);

  std::string_view text_;
  Strategy strategy_ = Strategy::kSimple;
  const Tokenizer* tokenizer_ = nullptr;
  const EntityRules* rules_ = nullptr;
  EntityWriter* writer_ = nullptr;
  size_t windows_ = 0;

  // Of one window:
  std::vector<Unit> units_;
  std::string unit_words_;
  std::vector<float> unit_probabilities_;
  std::deque<std::string> repaired_;  // slices of invalid UTF-8 as the reference would have seen them
  size_t repaired_count_ = 0;
  // Of the text:
  std::vector<Group> groups_;
  std::string group_words_;
  std::vector<float> group_probabilities_;
  // Scratch:
  std::vector<std::string_view> pieces_;
  std::vector<float> values_;
  std::string decoded_;
  std::vector<uint32_t> order_, kept_;
};

}  // namespace octobert

#endif  // OCTOBERT_ENGINE_ENTITIES_REFERENCE_H_
