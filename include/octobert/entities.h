// What a token classifier says about a text.
#ifndef OCTOBERT_ENTITIES_H_
#define OCTOBERT_ENTITIES_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "octobert/export.h"
#include "octobert/tokenizer.h"

namespace octobert {

enum class Strategy {
  kWords,  // ours, the default: whole words, repaired tags, BIO/BIOES/BILOU, nothing lost at window borders
  kNone,   // the five of transformers.pipeline("token-classification"), exactly
  kSimple,
  kFirst,
  kAverage,
  kMax,
};

// Parses "words", "none", "simple", "first", "average", "max"; throws Error(kInvalidInput).
OCTOBERT_API Strategy parse_strategy(std::string_view name);

struct AnalyzeOptions {
  Strategy strategy = Strategy::kWords;
  // Tokens in a window, specials included; 0: the model's limit (the smaller of its position table and
  // the tokenizer's model_max_length).
  size_t max_length = 0;
  // kWords: overlap of windows; default a quarter of the window. Reference strategies: without it a
  // text is cut at the limit, as the reference does.
  std::optional<size_t> stride{};
  bool truncate = false;  // kWords: cut at the limit (and report it) instead of windowing
  std::vector<std::string> ignore_labels = {"O"};
  float min_score = 0;
  std::vector<std::pair<std::string, float>> min_score_by_label{};  // by entity label ("PER")
  bool label_scores = false;                                        // fill Entity::label_scores
  SpecialTokensInText special_tokens_in_text = SpecialTokensInText::kKeep;
  InvalidUtf8 invalid_utf8 = InvalidUtf8::kReplace;
};

struct Entity {
  std::string label;      // "PER"; with kNone the token's own label, "B-PER"
  float score = 0;        // mean over the entity's words (kWords) or tokens, as the strategy defines
  std::string_view text;  // the slice of the source itself (of the caller's buffer)
  Span bytes, codepoints, utf16;
  // Reference strategies only: the reference's `word` (decoded tokens) and, for kNone, `index`.
  std::string word;
  int32_t index = -1;
  // With label_scores: the mean probability of each label of the model, in the model's order.
  std::vector<float> label_scores;
};

// One label a word, for pre-tokenized input.
struct WordLabel {
  std::string_view label;  // the model's label, "B-PER"; of the model's storage
  float score = 0;
};

struct Analysis {
  std::vector<Entity> entities;  // only the first `entity_count` are valid after a reused call
  size_t entity_count = 0;
  std::vector<WordLabel> words;  // analyze_words only, one a word
  bool truncated = false;        // some of the text was not looked at
  // analyze_words only: the words joined by single spaces, which the entities' texts point into (copies share it).
  std::shared_ptr<std::string> joined_words;
};

}  // namespace octobert

#endif  // OCTOBERT_ENTITIES_H_
