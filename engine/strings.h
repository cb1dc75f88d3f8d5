// The "strings" body of a section (engine/format.h).
#ifndef OCTOBERT_ENGINE_STRINGS_H_
#define OCTOBERT_ENGINE_STRINGS_H_

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace octobert {

// Views into `bytes`, which must start 4-byte aligned. Throws Error(kFormat) with `where` ("model.octo: section
// 'labels'") if the body is not one: lengths that lie, bytes left over, text that is not UTF-8.
std::vector<std::string_view> decode_strings(std::span<const std::byte> bytes, const std::string& where);

// Whether a byte sequence is UTF-8 as Unicode defines it (no surrogates, no overlong forms, at most U+10FFFF).
bool is_utf8(std::string_view text);

// Whether a field of `capacity` bytes holds a name: printable ASCII (it goes into messages and onto terminals), at
// least one character, then NULs to the end, at least one.
bool is_clean_name(const char* name, size_t capacity);

}  // namespace octobert

#endif  // OCTOBERT_ENGINE_STRINGS_H_
