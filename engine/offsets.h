// Places of a text: their characters, their offsets in several units.
#ifndef OCTOBERT_ENGINE_OFFSETS_H_
#define OCTOBERT_ENGINE_OFFSETS_H_

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "octobert/tokenizer.h"
#include "tokenizer/utf8.h"

namespace octobert {

// The code point whose first byte is text[at]; U+FFFD if no valid one begins there.
inline uint32_t code_point_at(std::string_view text, size_t at) {
  const uint32_t size = utf8::sequence_size(static_cast<uint8_t>(text[at]));
  const std::string_view bytes = text.substr(at, size);
  if (utf8::find_invalid_utf8(bytes) < size) return utf8::kReplacement;
  return utf8::decode(reinterpret_cast<const uint8_t*>(bytes.data()), size);
}

// The code point whose last byte is text[at - 1], at > 0; U+FFFD if no valid one ends there.
inline uint32_t code_point_before(std::string_view text, size_t at) {
  size_t begin = at - 1;
  while (begin > 0 && at - begin < 4 && utf8::is_continuation(static_cast<uint8_t>(text[begin]))) --begin;
  if (begin + utf8::sequence_size(static_cast<uint8_t>(text[begin])) != at) return utf8::kReplacement;
  return code_point_at(text, begin);
}

// Code points of a text in which each maximal invalid subpart is one, as the tokenizer counts.
inline uint32_t count_code_points(std::string_view text) {
  const auto* const data = reinterpret_cast<const uint8_t*>(text.data());
  size_t count = 0;
  for (size_t at = 0; at < text.size();) {
    const size_t invalid = utf8::find_invalid_utf8(text, at);
    count += utf8::count_code_points(data + at, data + invalid);
    if (invalid == text.size()) break;
    ++count;
    at = invalid + utf8::invalid_subpart_size(text, invalid);
  }
  return static_cast<uint32_t>(count);
}

// UTF-16 offsets from those in bytes and code points: a code point above FFFF is two units, any other one, and so is
// the U+FFFD of an invalid sequence. Passes over the text once for places that are asked for in order.
class Utf16Cursor {
 public:
  Utf16Cursor() = default;
  explicit Utf16Cursor(std::string_view text) : text_(text) {}

  // The UTF-16 units of a span given in both other units, inside the text.
  Span convert(Span bytes, Span codepoints) {
    if (bytes.begin < position_) *this = Utf16Cursor(text_);
    advance(bytes.begin);
    Utf16Cursor end = *this;  // the next span may begin before this one ends
    end.advance(bytes.end);
    return {codepoints.begin + pairs_, codepoints.end + end.pairs_};
  }

 private:
  void advance(uint32_t to) {
    for (; position_ < to; ++position_) pairs_ += begins_pair(position_);
  }

  // Whether a valid sequence of four bytes begins here. No invalid sequence can hide its first byte, which is never a
  // continuation, so no context is needed.
  bool begins_pair(size_t at) const {
    const auto lead = byte(at);
    if (lead < 0xF0) return false;  // nearly always
    if (lead > 0xF4 || text_.size() - at < 4) return false;
    const uint8_t second = byte(at + 1);
    const uint8_t lowest = lead == 0xF0 ? 0x90 : 0x80;   // no overlong forms
    const uint8_t highest = lead == 0xF4 ? 0x8F : 0xBF;  // nothing above 10FFFF
    return second >= lowest && second <= highest && (byte(at + 2) & 0xC0) == 0x80 && (byte(at + 3) & 0xC0) == 0x80;
  }
  uint8_t byte(size_t at) const { return static_cast<uint8_t>(text_[at]); }

  std::string_view text_;
  uint32_t position_ = 0;  // bytes before it are counted
  uint32_t pairs_ = 0;     // code points above FFFF among them
};

}  // namespace octobert

#endif  // OCTOBERT_ENGINE_OFFSETS_H_
