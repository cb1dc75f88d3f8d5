#include "tokenizer/utf8.h"

#include <algorithm>
#include <cstring>

namespace octobert::utf8 {
namespace {

// The first continuation byte's range depends on the lead (Unicode 15, table 3-7); later ones are 80..BF.
struct LeadByte {
  uint32_t size;  // 0: no sequence begins so
  uint8_t low, high;
};

LeadByte lead_byte(uint8_t lead) {
  if (lead < 0x80) return {1, 0, 0};
  if (lead < 0xC2) return {0, 0, 0};
  if (lead < 0xE0) return {2, 0x80, 0xBF};
  if (lead == 0xE0) return {3, 0xA0, 0xBF};
  if (lead == 0xED) return {3, 0x80, 0x9F};
  if (lead < 0xF0) return {3, 0x80, 0xBF};
  if (lead == 0xF0) return {4, 0x90, 0xBF};
  if (lead < 0xF4) return {4, 0x80, 0xBF};
  if (lead == 0xF4) return {4, 0x80, 0x8F};
  return {0, 0, 0};
}

// How many bytes at p belong to a sequence begun there (at least 1), and whether it is complete.
struct Prefix {
  size_t size;
  bool complete;
};

Prefix match_prefix(const uint8_t* p, size_t available) {
  const LeadByte lead = lead_byte(p[0]);
  if (lead.size <= 1) return {1, lead.size == 1};
  if (available < 2 || p[1] < lead.low || p[1] > lead.high) return {1, false};
  size_t size = 2;
  while (size < lead.size && size < available && is_continuation(p[size])) ++size;
  return {size, size == lead.size};
}

}  // namespace

size_t count_code_points(const uint8_t* begin, const uint8_t* end) {
  size_t count = 0;
  for (; begin != end; ++begin) count += !is_continuation(*begin);
  return count;
}

size_t find_invalid_utf8(std::string_view text, size_t from) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(text.data());
  size_t at = from;
  while (at < text.size()) {
    uint64_t eight;
    constexpr uint64_t kHighBits = 0x8080808080808080;
    while (at + 8 <= text.size()) {
      std::memcpy(&eight, bytes + at, 8);
      if (eight & kHighBits) break;
      at += 8;
    }
    // One sequence at a time up to the next run of ASCII.
    const size_t stop = std::min(text.size(), at + 8);
    while (at < stop) {
      const Prefix prefix = match_prefix(bytes + at, text.size() - at);
      if (!prefix.complete) return at;
      at += prefix.size;
    }
  }
  return text.size();
}

size_t invalid_subpart_size(std::string_view text, size_t at) {
  return match_prefix(reinterpret_cast<const uint8_t*>(text.data()) + at, text.size() - at).size;
}

}  // namespace octobert::utf8
