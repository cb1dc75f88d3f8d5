#include "engine/entities_reference.h"

#include <algorithm>
#include <cmath>

#include "tokenizer/utf8.h"

namespace octobert {
namespace {

// numpy's pairwise sum (numpy/_core/src/umath/loops_utils.h.src, FLOAT_pairwise_sum).
float pairwise_sum(const float* values, size_t n) {
  if (n < 8) {
    float sum = 0;
    for (size_t i = 0; i < n; ++i) sum += values[i];
    return sum;
  }
  if (n > 128) {
    const size_t half = n / 2 - n / 2 % 8;
    return pairwise_sum(values, half) + pairwise_sum(values + half, n - half);
  }
  float r[8];
  std::copy_n(values, 8, r);
  size_t i = 8;
  for (; i + 8 <= n; i += 8) {
    for (size_t j = 0; j < 8; ++j) r[j] += values[i + j];
  }
  float sum = ((r[0] + r[1]) + (r[2] + r[3])) + ((r[4] + r[5]) + (r[6] + r[7]));
  for (; i < n; ++i) sum += values[i];
  return sum;
}

// np.nanmean of a list; probabilities are never NaN.
float mean(std::span<const float> values) {
  return pairwise_sum(values.data(), values.size()) / static_cast<float>(values.size());
}

size_t code_points(std::string_view valid_utf8) {
  const auto* const data = reinterpret_cast<const uint8_t*>(valid_utf8.data());
  return utf8::count_code_points(data, data + valid_utf8.size());
}

// With U+FFFD in place of what is invalid.
void append_repaired(std::string_view text, std::string& out) {
  for (size_t at = 0; at < text.size();) {
    const size_t invalid = utf8::find_invalid_utf8(text, at);
    out += text.substr(at, invalid - at);
    if (invalid == text.size()) return;
    out += "\xEF\xBF\xBD";
    at = invalid + utf8::invalid_subpart_size(text, invalid);
  }
}

}  // namespace

std::span<const float> pool_probabilities(const TokenRun& run, size_t begin, size_t end, Strategy strategy,
                                          std::vector<float>& scratch) {
  if (strategy == Strategy::kMax) {
    const auto top = [&](size_t t) { return *std::max_element(run.row(t).begin(), run.row(t).end()); };
    size_t best = begin;
    for (size_t t = begin + 1; t < end; ++t) {
      if (top(t) > top(best)) best = t;
    }
    return run.row(best);
  }
  if (strategy != Strategy::kAverage) return run.row(begin);
  scratch.assign(run.row(begin).begin(), run.row(begin).end());
  for (size_t t = begin + 1; t < end; ++t) {
    for (size_t l = 0; l < run.labels; ++l) scratch[l] += run.row(t)[l];
  }
  for (float& value : scratch) value /= static_cast<float>(end - begin);
  return scratch;
}

void ReferenceDecoder::begin(std::string_view text, Strategy strategy, const Tokenizer& tokenizer,
                             const EntityRules& rules, EntityWriter& writer) {
  text_ = text;
  strategy_ = strategy;
  tokenizer_ = &tokenizer;
  rules_ = &rules;
  writer_ = &writer;
  windows_ = 0;
  groups_.clear();
  group_words_.clear();
  group_probabilities_.clear();
}

void ReferenceDecoder::add_window(const TokenRun& run, int32_t first_index) {
  ++windows_;
  units_.clear();
  unit_words_.clear();
  unit_probabilities_.clear();
  repaired_count_ = 0;
  collect_units(run);
  if (strategy_ != Strategy::kNone) return group_units();
  for (const Unit& unit : units_) {
    if (!rules_->ignored[unit.label]) add_single(unit, first_index + static_cast<int32_t>(unit.token_begin));
  }
}

void ReferenceDecoder::finish() {
  if (windows_ <= 1) {
    for (const Group& group : groups_) write(group);
    return;
  }
  merge_windows();
  for (const uint32_t g : kept_) write(groups_[g]);
}

std::string_view ReferenceDecoder::token_word(const TokenRun& run, size_t token) {
  if (run.ids[token] != tokenizer_->unk_id()) return tokenizer_->token(run.ids[token]);
  const Span bytes = run.bytes[token];
  const std::string_view slice = text_.substr(bytes.begin, bytes.end - bytes.begin);
  if (utf8::find_invalid_utf8(slice) == slice.size()) return slice;
  if (repaired_count_ == repaired_.size()) repaired_.emplace_back();
  std::string& repaired = repaired_[repaired_count_++];
  repaired.clear();
  append_repaired(slice, repaired);
  return repaired;
}

bool ReferenceDecoder::is_subword(const TokenRun& run, size_t token) const {
  if (run.ids[token] == tokenizer_->unk_id()) return false;
  const Span source = run.codepoints[token];
  if (!tokenizer_->continuing_prefix().empty()) {
    return code_points(tokenizer_->token(run.ids[token])) != source.end - source.begin;
  }
  if (source.begin == 0) return false;
  // "' ' not in sentence[start - 1 : start + 1]": the character before and the token's first.
  const size_t at = run.bytes[token].begin;
  return text_[at - 1] != ' ' && (at == text_.size() || text_[at] != ' ');
}

void ReferenceDecoder::collect_units(const TokenRun& run) {
  if (strategy_ == Strategy::kNone || strategy_ == Strategy::kSimple) {
    for (size_t t = 0; t < run.size(); ++t) add_token_unit(run, t);
    return;
  }
  size_t begin = 0;
  for (size_t t = 1; t < run.size(); ++t) {
    if (is_subword(run, t)) continue;
    add_word_unit(run, begin, t);
    begin = t;
  }
  if (begin < run.size()) add_word_unit(run, begin, run.size());
}

void ReferenceDecoder::add_token_unit(const TokenRun& run, size_t token) {
  const std::span<const float> probabilities = run.row(token);
  Unit unit;
  unit.label = argmax(probabilities);
  unit.score = probabilities[unit.label];
  unit.bytes = run.bytes[token];
  unit.codepoints = run.codepoints[token];
  unit.token = token_word(run, token);
  unit.token_begin = token;
  if (rules_->label_scores) {
    unit.probabilities = {unit_probabilities_.size(), probabilities.size()};
    unit_probabilities_.insert(unit_probabilities_.end(), probabilities.begin(), probabilities.end());
  }
  units_.push_back(unit);
}

void ReferenceDecoder::add_word_unit(const TokenRun& run, size_t begin, size_t end) {
  const std::span<const float> probabilities = pool_probabilities(run, begin, end, strategy_, values_);
  Unit unit;
  unit.label = argmax(probabilities);
  unit.score = probabilities[unit.label];
  unit.bytes = {run.bytes[begin].begin, run.bytes[end - 1].end};
  unit.codepoints = {run.codepoints[begin].begin, run.codepoints[end - 1].end};
  unit.token_begin = begin;
  if (rules_->label_scores) {
    unit.probabilities = {unit_probabilities_.size(), probabilities.size()};
    unit_probabilities_.insert(unit_probabilities_.end(), probabilities.begin(), probabilities.end());
  }
  pieces_.clear();
  for (size_t t = begin; t < end; ++t) pieces_.push_back(token_word(run, t));
  tokenizer_->decode(pieces_, decoded_);
  unit.word = {unit_words_.size(), decoded_.size()};
  unit_words_ += decoded_;
  units_.push_back(unit);
}

void ReferenceDecoder::group_units() {
  const std::span<const Unit> units = units_;
  size_t begin = 0;
  for (size_t u = 1; u < units.size(); ++u) {
    const LabelTag& tag = rules_->tags[units[u].label];
    if (tag.type == rules_->tags[units[u - 1].label].type && tag.tag != Tag::kBegin) continue;
    add_group(units.subspan(begin, u - begin));
    begin = u;
  }
  if (begin < units.size()) add_group(units.subspan(begin));
}

void ReferenceDecoder::add_group(std::span<const Unit> units) {
  const Unit& first = units.front();
  if (rules_->ignored[first.label]) return;
  Group group;
  group.label = first.label;
  group.bytes = {first.bytes.begin, units.back().bytes.end};
  group.codepoints = {first.codepoints.begin, units.back().codepoints.end};
  values_.clear();
  pieces_.clear();
  for (const Unit& unit : units) {
    values_.push_back(unit.score);
    pieces_.push_back(strategy_ == Strategy::kSimple
                          ? unit.token
                          : std::string_view(unit_words_).substr(unit.word.begin, unit.word.size));
  }
  group.score = mean(values_);
  tokenizer_->decode(pieces_, decoded_);
  group.word = {group_words_.size(), decoded_.size()};
  group_words_ += decoded_;
  if (rules_->label_scores) {
    group.probabilities = {group_probabilities_.size(), first.probabilities.size};
    for (size_t l = 0; l < first.probabilities.size; ++l) {
      values_.clear();
      for (const Unit& unit : units) values_.push_back(unit_probabilities_[unit.probabilities.begin + l]);
      group_probabilities_.push_back(mean(values_));
    }
  }
  groups_.push_back(group);
}

void ReferenceDecoder::add_single(const Unit& unit, int32_t index) {
  Group group;
  group.label = unit.label;
  group.score = unit.score;
  group.bytes = unit.bytes;
  group.codepoints = unit.codepoints;
  group.index = index;
  group.word = {group_words_.size(), unit.token.size()};
  group_words_ += unit.token;
  if (rules_->label_scores) {
    group.probabilities = {group_probabilities_.size(), unit.probabilities.size};
    const auto begin = unit_probabilities_.begin() + static_cast<std::ptrdiff_t>(unit.probabilities.begin);
    group_probabilities_.insert(group_probabilities_.end(), begin,
                                begin + static_cast<std::ptrdiff_t>(unit.probabilities.size));
  }
  groups_.push_back(group);
}

void ReferenceDecoder::merge_windows() {
  kept_.clear();
  if (groups_.empty()) return;
  order_.resize(groups_.size());
  for (uint32_t g = 0; g < order_.size(); ++g) order_[g] = g;
  // Stable, without std::stable_sort's allocation.
  std::sort(order_.begin(), order_.end(), [&](uint32_t a, uint32_t b) {
    const uint32_t start_a = groups_[a].codepoints.begin, start_b = groups_[b].codepoints.begin;
    return start_a != start_b ? start_a < start_b : a < b;
  });
  uint32_t previous = order_.front();
  // The first is compared with itself, too, as in the reference: without width it comes out twice.
  for (const uint32_t current : order_) {
    const Span p = groups_[previous].codepoints, c = groups_[current].codepoints;
    if (p.begin <= c.begin && c.begin < p.end) {
      const int64_t longer = int64_t{c.end} - c.begin - (int64_t{p.end} - p.begin);
      if (longer > 0 || (longer == 0 && groups_[current].score > groups_[previous].score)) previous = current;
    } else {
      kept_.push_back(previous);
      previous = current;
    }
  }
  kept_.push_back(previous);
}

void ReferenceDecoder::write(const Group& group) {
  FoundEntity found;
  found.label = group.label;
  found.score = group.score;
  found.bytes = group.bytes;
  found.codepoints = group.codepoints;
  found.index = group.index;
  found.word = std::string_view(group_words_).substr(group.word.begin, group.word.size);
  found.label_scores = std::span(group_probabilities_).subspan(group.probabilities.begin, group.probabilities.size);
  writer_->write(found);
}

}  // namespace octobert
