#include "engine/windows.h"

#include <algorithm>
#include <span>
#include <string>

#include "engine/offsets.h"
#include "octobert/error.h"
#include "tokenizer/utf8.h"

namespace octobert {
namespace {

// Of a long text; some 60 bytes a token are needed for it, tokenizer and windows together.
constexpr size_t kPartBytes = size_t{1} << 18;

size_t window_length(const AnalyzeOptions& options, const Engine& engine) {
  const Tokenizer& tokenizer = engine.tokenizer();
  const auto positions = static_cast<size_t>(engine.info().max_positions);
  size_t length = options.max_length;
  if (length == 0) {
    length = tokenizer.model_max_length() == 0 ? positions : std::min(positions, tokenizer.model_max_length());
  }
  const size_t specials = tokenizer.special_count();
  if (length > positions || length <= specials) {
    throw Error(ErrorCode::kInvalidInput, "max_length: expected " + std::to_string(specials + 1) + " to " +
                                              std::to_string(positions) + " tokens, the template's " +
                                              std::to_string(specials) + " included, found " + std::to_string(length));
  }
  return length;
}

}  // namespace

WindowPlan plan_windows(const AnalyzeOptions& options, const Engine& engine) {
  const bool ours = options.strategy == Strategy::kWords;
  const size_t length = window_length(options, engine);
  WindowPlan plan;
  plan.room = length - engine.tokenizer().special_count();
  plan.stride = options.stride.value_or(ours ? std::min(length / 4, plan.room - 1) : 0);
  if (plan.stride >= plan.room) {
    throw Error(ErrorCode::kInvalidInput, "stride: expected less than the " + std::to_string(plan.room) +
                                              " tokens of text in a window, found " + std::to_string(plan.stride));
  }
  plan.our_windows = ours && !options.truncate;
  plan.tokenize.special_tokens_in_text = options.special_tokens_in_text;
  plan.tokenize.invalid_utf8 = options.invalid_utf8;
  if (plan.our_windows) return plan;
  plan.tokenize.max_length = length;
  plan.tokenize.overflow = options.stride.has_value() && !options.truncate;
  plan.tokenize.stride = plan.tokenize.overflow ? plan.stride : 0;
  return plan;
}

WindowExtent window_extent(size_t index, size_t tokens, size_t room, size_t stride) {
  const size_t begin = index * (room - stride);
  const size_t end = std::min(tokens, begin + room);
  // The border with the next window lies in the middle of what both show: a token t of it is room - 1 - (t - begin)
  // tokens from this window's end and t - (begin + room - stride) from the next one's beginning.
  const size_t own_begin = index == 0 ? 0 : begin + (stride + 1) / 2;
  const size_t own_end = end == tokens ? tokens : end - stride + (stride + 1) / 2;
  return {begin, end, own_begin, own_end};
}

size_t part_size(std::string_view text, const Tokenizer& tokenizer) {
  if (text.size() <= 2 * kPartBytes) return text.size();
  for (size_t at = kPartBytes; at < text.size(); ++at) {
    if (utf8::is_continuation(static_cast<uint8_t>(text[at]))) continue;
    if (tokenizer.can_cut_between(code_point_before(text, at), code_point_at(text, at))) return at;
  }
  return text.size();
}

size_t part_size(std::span<const std::string_view> words) {
  size_t bytes = 0, count = 0;
  while (count < words.size() && bytes < kPartBytes) bytes += words[count++].size() + 1;
  return count;
}

Specials template_specials(const Encoding& encoding) {
  Specials specials;
  const size_t size = encoding.size();
  while (specials.before < size && encoding.special[specials.before]) ++specials.before;
  while (specials.after < size - specials.before && encoding.special[size - 1 - specials.after]) ++specials.after;
  return specials;
}

void TokenRows::clear() {
  ids.clear();
  type_ids.clear();
  words.clear();
  bytes.clear();
  codepoints.clear();
}

void TokenRows::erase_front(size_t count) {
  const auto erase = [&](auto& from) { from.erase(from.begin(), from.begin() + static_cast<std::ptrdiff_t>(count)); };
  erase(ids);
  erase(type_ids);
  erase(words);
  erase(bytes);
  erase(codepoints);
}

void TokenStream::clear() {
  rows_.clear();
  first_ = windows_ = window_end_ = 0;
  next_word_ = 0;
}

void TokenStream::append(const Encoding& part, uint32_t byte, uint32_t codepoint, int32_t word) {
  const Specials specials = template_specials(part);
  const size_t old = rows_.size();
  rows_.append(part, specials.before, part.size() - specials.after);
  for (size_t row = old; row < rows_.size(); ++row) {
    rows_.bytes[row] = {rows_.bytes[row].begin + byte, rows_.bytes[row].end + byte};
    rows_.codepoints[row] = {rows_.codepoints[row].begin + codepoint, rows_.codepoints[row].end + codepoint};
    if (rows_.words[row] < 0) continue;
    rows_.words[row] += word;
    next_word_ = std::max(next_word_, rows_.words[row] + 1);
  }
}

bool TokenStream::next_window(const WindowPlan& plan, bool complete, WindowExtent& extent) {
  const size_t end = windows_ * (plan.room - plan.stride) + plan.room;
  // Whether a window is the last one is known only when a token behind it is.
  if (complete ? window_end_ >= tokens() : end >= tokens()) return false;
  extent = window_extent(windows_++, complete ? tokens() : SIZE_MAX, plan.room, plan.stride);
  window_end_ = extent.end;
  return true;
}

void TokenStream::drop(const WindowPlan& plan) {
  const size_t next_begin = windows_ * (plan.room - plan.stride);
  const size_t count = std::min(next_begin - std::min(next_begin, first_), rows_.size());
  rows_.erase_front(count);
  first_ += count;
}

}  // namespace octobert
