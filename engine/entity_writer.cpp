#include "engine/entity_writer.h"

#include <algorithm>
#include <charconv>

#include "octobert/error.h"

namespace octobert {
namespace {

void check_score(float score, const std::string& what) {
  if (score >= 0 && score <= 1) return;  // false for NaN
  char digits[32];
  *std::to_chars(digits, digits + sizeof(digits) - 1, score).ptr = '\0';  // the same in every locale
  throw Error(ErrorCode::kInvalidInput, what + ": expected a probability from 0 to 1, found " + digits);
}

[[noreturn]] void unknown_label(const std::string& label, const EntityRules& rules) {
  std::string known;
  for (uint32_t l = 0; l < rules.labels.size(); ++l) {
    const std::string quoted = "\"" + std::string(rules.name(l)) + "\"";
    if (known.find(quoted) == std::string::npos) known += (known.empty() ? "" : ", ") + quoted;
  }
  throw Error(ErrorCode::kInvalidInput,
              "min_score_by_label: the model has no entities \"" + label + "\"; it has " + known);
}

}  // namespace

Strategy parse_strategy(std::string_view name) {
  constexpr std::pair<std::string_view, Strategy> kStrategies[] = {
      {"words", Strategy::kWords}, {"none", Strategy::kNone},       {"simple", Strategy::kSimple},
      {"first", Strategy::kFirst}, {"average", Strategy::kAverage}, {"max", Strategy::kMax}};
  for (const auto& [known, strategy] : kStrategies) {
    if (name == known) return strategy;
  }
  throw Error(ErrorCode::kInvalidInput,
              "strategy: expected words, none, simple, first, average or max, found \"" + std::string(name) + "\"");
}

uint32_t argmax(std::span<const float> values) {
  return static_cast<uint32_t>(std::max_element(values.begin(), values.end()) - values.begin());
}

void EntityRules::prepare(std::span<const std::string> model_labels, std::span<const LabelTag> model_tags,
                          const AnalyzeOptions& options) {
  labels = model_labels;
  tags = model_tags;
  full_names = options.strategy == Strategy::kNone;
  label_scores = options.label_scores;
  const bool ours = options.strategy == Strategy::kWords;
  ignored.assign(labels.size(), 0);
  for (uint32_t l = 0; l < labels.size(); ++l) {
    for (const std::string& ignore : options.ignore_labels) {
      // In our own strategy the type of a label "B-O" is a type like any other.
      if (ignore == name(l) && (!ours || ignore != "O" || tags[l].outside)) ignored[l] = 1;
    }
  }

  check_score(options.min_score, "min_score");
  min_score.assign(labels.size(), options.min_score);
  for (const auto& [label, score] : options.min_score_by_label) {
    check_score(score, "min_score_by_label");
    bool found = false;
    for (uint32_t l = 0; l < labels.size(); ++l) {
      if (label != name(l) && !(full_names && label == tags[l].name)) continue;
      min_score[l] = score;
      found = true;
    }
    if (!found) unknown_label(label, *this);
  }
}

void EntityWriter::begin(std::string_view text, const EntityRules& rules, Analysis& result) {
  text_ = text;
  rules_ = &rules;
  result_ = &result;
  utf16_ = Utf16Cursor(text);
}

void EntityWriter::write(const FoundEntity& found) {
  if (found.score < rules_->min_score[found.label]) return;
  if (result_->entity_count == result_->entities.size()) result_->entities.emplace_back();
  Entity& entity = result_->entities[result_->entity_count++];
  entity.label.assign(rules_->name(found.label));
  entity.score = found.score;
  const uint32_t end = std::max(found.bytes.begin, found.bytes.end);
  entity.text = text_.substr(found.bytes.begin, end - found.bytes.begin);
  entity.bytes = found.bytes;
  entity.codepoints = found.codepoints;
  entity.utf16 = utf16_.convert(found.bytes, found.codepoints);
  entity.word.assign(found.word);
  entity.index = found.index;
  entity.label_scores.assign(found.label_scores.begin(), found.label_scores.end());
}

}  // namespace octobert
