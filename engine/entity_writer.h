// What both decoders share: their input, and how an entity gets into the caller's result.
#ifndef OCTOBERT_ENGINE_ENTITY_WRITER_H_
#define OCTOBERT_ENGINE_ENTITY_WRITER_H_

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/label_tags.h"
#include "engine/offsets.h"
#include "octobert/entities.h"

namespace octobert {

// Consecutive tokens of one text with what the model says about them. Specials of the template are not among them.
struct TokenRun {
  std::span<const int32_t> ids;             // [n]
  std::span<const int32_t> words;           // [n] the pre-tokenizer's word, or the caller's; -1 for none
  std::span<const Span> bytes, codepoints;  // [n] in the whole text
  const float* probabilities = nullptr;     // [n][labels]
  size_t labels = 0;
  size_t size() const { return ids.size(); }
  std::span<const float> row(size_t token) const { return {probabilities + token * labels, labels}; }
};

// Index of the largest, the first of equals.
uint32_t argmax(std::span<const float> values);

// What a call's options mean for each label of the model. Set up once a call, without allocation when warm.
struct EntityRules {
  // Tags: those of the strategy (engine/label_tags.h). Throws Error(kInvalidInput) for a score that is no probability
  // and a label that the model does not have.
  void prepare(std::span<const std::string> labels, std::span<const LabelTag> tags, const AnalyzeOptions& options);

  // What an entity is called whose first word or token has this label.
  std::string_view name(uint32_t label) const {
    return full_names ? std::string_view(labels[label]) : tags[label].name;
  }

  std::span<const std::string> labels;
  std::span<const LabelTag> tags;
  bool full_names = false;       // kNone: the token's label as it is
  bool label_scores = false;     // the caller wants Entity::label_scores
  std::vector<uint8_t> ignored;  // [labels] entities that begin with this label are dropped
  std::vector<float> min_score;  // [labels] below it they are dropped, too
};

// An entity as a decoder found it.
struct FoundEntity {
  uint32_t label = 0;  // of its first word or token
  float score = 0;
  Span bytes, codepoints;
  int32_t index = -1;
  std::string_view word;
  std::span<const float> label_scores;
};

// Appends the entities of one text to the caller's result, whose strings and vectors are used again.
class EntityWriter {
 public:
  // All three must stay as they are until the last write().
  void begin(std::string_view text, const EntityRules& rules, Analysis& result);
  // Unless the score is too low. (What is ignored the decoders leave out: the reference does so before it merges.)
  void write(const FoundEntity& found);

 private:
  std::string_view text_;
  const EntityRules* rules_ = nullptr;
  Analysis* result_ = nullptr;
  Utf16Cursor utf16_;
};

}  // namespace octobert

#endif  // OCTOBERT_ENGINE_ENTITY_WRITER_H_
