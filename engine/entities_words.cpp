#include "engine/entities_words.h"

#include <algorithm>

#include "tokenizer/unicode_tables.h"

namespace octobert {
namespace {

bool is_ascii_alnum(char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool is_ascii(char c) { return static_cast<uint8_t>(c) < 0x80; }
// Good enough for what may stand beside an underscore.
bool is_word_byte(char c) { return is_ascii_alnum(c) || !is_ascii(c); }

bool is_cjk(uint32_t code_point) { return unicode::char_record(code_point).flags & unicode::kCjk; }

// Whether there is a CJK ideograph right before or right after a place inside the text. Such characters are words of
// their own and touch without belonging together.
bool touches_cjk(std::string_view text, size_t at) {
  return is_cjk(code_point_before(text, at)) || is_cjk(code_point_at(text, at));
}

}  // namespace

void WordsDecoder::begin(std::string_view text, const EntityRules& rules, EntityWriter& writer,
                         std::span<WordLabel> word_labels) {
  text_ = text;
  rules_ = &rules;
  writer_ = &writer;
  word_labels_ = word_labels;
  word_open_ = false;
  group_.open = false;
}

void WordsDecoder::add(const TokenRun& run) {
  for (size_t t = 0; t < run.size(); ++t) {
    const Span bytes = run.bytes[t];
    const Span codepoints = run.codepoints[t];
    if (!continues_word(run.words[t], bytes)) {
      start_word(run.words[t], bytes, codepoints, run.row(t));
      continue;
    }
    word_.bytes.end = std::max(word_.bytes.end, bytes.end);
    word_.codepoints.end = std::max(word_.codepoints.end, codepoints.end);
    group_.bytes.end = word_.bytes.end;
    group_.codepoints.end = word_.codepoints.end;
  }
}

void WordsDecoder::finish() { close_group(); }

bool WordsDecoder::continues_word(int32_t id, Span bytes) {
  if (!word_open_) return false;
  if (id >= 0 && id == word_.id) return true;
  if (!word_labels_.empty() || bytes.begin != word_.bytes.end || bytes.begin == 0) return false;
  if (!joins_word(bytes)) return false;
  word_.id = id;
  return true;
}

bool WordsDecoder::joins_word(Span bytes) {
  if (bytes.begin == bytes.end) return false;
  const char before = text_[bytes.begin - 1], first = text_[bytes.begin];
  if (!word_.in_url && !word_.in_identifier) {
    const std::string_view scheme = text_.substr(word_.bytes.begin, bytes.begin - word_.bytes.begin);
    word_.in_url = text_.substr(bytes.begin, 3) == "://" && !scheme.empty() &&
                   std::all_of(scheme.begin(), scheme.end(), is_ascii_alnum);
  }
  if (word_.in_url) return is_ascii(first);
  if (first == '_' && is_word_byte(before)) {
    const size_t next = text_.find_first_not_of('_', bytes.begin);
    word_.in_identifier = next != std::string_view::npos && is_word_byte(text_[next]);
    return word_.in_identifier;
  }
  return word_.in_identifier && before == '_' && (first == '_' || is_word_byte(first));
}

void WordsDecoder::start_word(int32_t id, Span bytes, Span codepoints, std::span<const float> probabilities) {
  const uint32_t label = argmax(probabilities);
  const LabelTag& tag = rules_->tags[label];
  if (!continues_group(tag, bytes)) {
    close_group();
    group_ = {};
    group_.open = true;
    group_.label = label;
    group_.bytes = bytes;
    group_.codepoints = codepoints;
    if (rules_->label_scores) label_sums_.assign(probabilities.size(), 0);
  }
  word_ = {};
  word_.id = id;
  word_.bytes = bytes;
  word_.codepoints = codepoints;
  word_open_ = true;
  add_to_group(label, probabilities);
  if (!word_labels_.empty()) {
    word_labels_[static_cast<size_t>(id)] = {rules_->labels[label], probabilities[label]};
  }
}

bool WordsDecoder::continues_group(const LabelTag& tag, Span bytes) const {
  if (!group_.open || rules_->tags[group_.label].type != tag.type) return false;
  if (!group_.ended && (tag.tag == Tag::kInside || tag.tag == Tag::kEnd)) return true;
  const bool touches = bytes.begin == group_.bytes.end && bytes.begin > 0 && bytes.begin < bytes.end;
  return touches && !touches_cjk(text_, bytes.begin);
}

void WordsDecoder::add_to_group(uint32_t label, std::span<const float> probabilities) {
  const Tag tag = rules_->tags[label].tag;
  group_.ended = tag == Tag::kEnd || tag == Tag::kSingle;
  group_.bytes.end = std::max(group_.bytes.end, word_.bytes.end);
  group_.codepoints.end = std::max(group_.codepoints.end, word_.codepoints.end);
  group_.score_sum += static_cast<double>(probabilities[label]);
  ++group_.words;
  if (!rules_->label_scores) return;
  for (size_t l = 0; l < probabilities.size(); ++l) label_sums_[l] += static_cast<double>(probabilities[l]);
}

void WordsDecoder::close_group() {
  if (!group_.open) return;
  group_.open = false;
  if (rules_->ignored[group_.label]) return;
  FoundEntity found;
  found.label = group_.label;
  found.score = static_cast<float>(group_.score_sum / group_.words);
  found.bytes = group_.bytes;
  found.codepoints = group_.codepoints;
  if (rules_->label_scores) {
    label_scores_.resize(label_sums_.size());
    for (size_t l = 0; l < label_sums_.size(); ++l) {
      label_scores_[l] = static_cast<float>(label_sums_[l] / group_.words);
    }
    found.label_scores = label_scores_;
  }
  writer_->write(found);
}

}  // namespace octobert
