// UTF-8, validated once at the door (find_invalid_utf8); everything behind it may trust the bytes.
#ifndef OCTOBERT_TOKENIZER_UTF8_H_
#define OCTOBERT_TOKENIZER_UTF8_H_

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace octobert::utf8 {

inline constexpr uint32_t kReplacement = 0xFFFD;

inline bool is_continuation(uint8_t byte) { return (byte & 0xC0) == 0x80; }

// Length of the sequence that a lead byte of valid UTF-8 begins.
inline uint32_t sequence_size(uint8_t lead) { return lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4; }

// The code point at p, which is the first byte of a sequence of valid UTF-8.
inline uint32_t decode(const uint8_t* p, uint32_t size) {
  switch (size) {
    case 1:
      return p[0];
    case 2:
      return (p[0] & 0x1Fu) << 6 | (p[1] & 0x3Fu);
    case 3:
      return (p[0] & 0x0Fu) << 12 | (p[1] & 0x3Fu) << 6 | (p[2] & 0x3Fu);
    default:
      return (p[0] & 0x07u) << 18 | (p[1] & 0x3Fu) << 12 | (p[2] & 0x3Fu) << 6 | (p[3] & 0x3Fu);
  }
}

// Writes 1 to 4 bytes, returns how many. cp < 0x110000.
inline uint32_t encode(uint32_t cp, uint8_t* dst) {
  if (cp < 0x80) {
    dst[0] = static_cast<uint8_t>(cp);
    return 1;
  }
  if (cp < 0x800) {
    dst[0] = static_cast<uint8_t>(0xC0 | cp >> 6);
    dst[1] = static_cast<uint8_t>(0x80 | (cp & 0x3F));
    return 2;
  }
  if (cp < 0x10000) {
    dst[0] = static_cast<uint8_t>(0xE0 | cp >> 12);
    dst[1] = static_cast<uint8_t>(0x80 | (cp >> 6 & 0x3F));
    dst[2] = static_cast<uint8_t>(0x80 | (cp & 0x3F));
    return 3;
  }
  dst[0] = static_cast<uint8_t>(0xF0 | cp >> 18);
  dst[1] = static_cast<uint8_t>(0x80 | (cp >> 12 & 0x3F));
  dst[2] = static_cast<uint8_t>(0x80 | (cp >> 6 & 0x3F));
  dst[3] = static_cast<uint8_t>(0x80 | (cp & 0x3F));
  return 4;
}

// Code points that begin in [begin, end).
size_t count_code_points(const uint8_t* begin, const uint8_t* end);

// Offset of the first byte that is not part of valid UTF-8, at or after `from`; text.size() if there is none.
// Surrogates, overlong forms and code points above 10FFFF are invalid.
size_t find_invalid_utf8(std::string_view text, size_t from = 0);

// Length of the maximal subpart at text[at], an offset that find_invalid_utf8 gave: the bytes that one U+FFFD stands
// for (WHATWG Encoding; Unicode 15, 3.9 "Substitution of Maximal Subparts").
size_t invalid_subpart_size(std::string_view text, size_t at);

}  // namespace octobert::utf8

#endif  // OCTOBERT_TOKENIZER_UTF8_H_
