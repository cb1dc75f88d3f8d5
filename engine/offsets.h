// Offsets of one place of a text in several units.
#ifndef OCTOBERT_ENGINE_OFFSETS_H_
#define OCTOBERT_ENGINE_OFFSETS_H_

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "octobert/tokenizer.h"

namespace octobert {

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
