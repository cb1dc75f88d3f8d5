#include "engine/strings.h"

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "octobert/error.h"

namespace octobert {
namespace {

uint32_t load_u32(std::span<const std::byte> bytes, size_t offset) {
  uint32_t value;
  std::memcpy(&value, bytes.data() + offset, sizeof value);
  return value;
}

// Length of the well-formed sequence at the start of `s`, 0 if there is none (The Unicode Standard, table 3-7).
size_t utf8_sequence_length(std::span<const unsigned char> s) {
  const unsigned char lead = s[0];
  if (lead < 0x80) return 1;
  const size_t length = lead < 0xc2 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : lead < 0xf5 ? 4 : 0;
  if (length == 0 || s.size() < length) return 0;
  // The second byte excludes overlong forms (E0, F0), surrogates (ED) and what lies past U+10FFFF (F4).
  const unsigned char low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
  const unsigned char high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
  if (s[1] < low || s[1] > high) return 0;
  for (size_t i = 2; i < length; ++i) {
    if (s[i] < 0x80 || s[i] > 0xbf) return 0;
  }
  return length;
}

}  // namespace

bool is_utf8(std::string_view text) {
  std::span<const unsigned char> rest{reinterpret_cast<const unsigned char*>(text.data()), text.size()};
  while (!rest.empty()) {
    const size_t length = utf8_sequence_length(rest);
    if (length == 0) return false;
    rest = rest.subspan(length);
  }
  return true;
}

bool is_clean_name(const char* name, size_t capacity) {
  const size_t length = ::strnlen(name, capacity);
  return length > 0 && length < capacity &&
         std::all_of(name, name + length, [](char c) { return c >= ' ' && c <= '~'; }) &&
         std::all_of(name + length, name + capacity, [](char c) { return c == '\0'; });
}

std::vector<std::string_view> decode_strings(std::span<const std::byte> bytes, const std::string& where) {
  const auto fail = [&](const std::string& what) -> Error { return Error(ErrorCode::kFormat, where + ": " + what); };
  if (bytes.size() < sizeof(uint32_t)) throw fail("too short to hold the number of strings");
  const size_t count = load_u32(bytes, 0);
  if (count > bytes.size() / sizeof(uint32_t) - 1) {
    throw fail("claims " + std::to_string(count) + " strings, more than its " + std::to_string(bytes.size()) +
               " bytes can hold");
  }
  const auto text = bytes.subspan((count + 1) * sizeof(uint32_t));
  std::vector<std::string_view> strings;
  strings.reserve(count);
  size_t begin = 0;
  for (size_t i = 0; i < count; ++i) {
    const size_t end = load_u32(bytes, (i + 1) * sizeof(uint32_t));
    if (end < begin || end > text.size()) {
      throw fail("string " + std::to_string(i) + " ends at " + std::to_string(end) + ", expected " +
                 std::to_string(begin) + " to " + std::to_string(text.size()));
    }
    strings.emplace_back(reinterpret_cast<const char*>(text.data()) + begin, end - begin);
    if (!is_utf8(strings.back())) throw fail("string " + std::to_string(i) + " is not UTF-8");
    begin = end;
  }
  if (begin != text.size()) throw fail(std::to_string(text.size() - begin) + " bytes left over after the last string");
  return strings;
}

}  // namespace octobert
