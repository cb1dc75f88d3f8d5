// Files of text and JSON: read whole, with a bound, and refused with the file's name.
#ifndef OCTOBERT_CONVERTER_JSON_H_
#define OCTOBERT_CONVERTER_JSON_H_

#include <cstddef>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace octobert::converter {

// config.json, id2label of thousands of labels, an index of thousands of tensors: all far below.
inline constexpr size_t kMaxJsonBytes = size_t{64} << 20;

// The bytes of a file, at most `limit` of them. Throws Error(kIo) if it cannot be read, Error(kFormat) if it is longer.
std::string read_text_file(const std::filesystem::path& path, size_t limit = kMaxJsonBytes);

// What speaks against `bytes` being text in UTF-8, for people; empty: nothing. NUL bytes do, as UTF-16 has them.
std::string_view why_not_utf8(std::string_view bytes);

// As read_text_file(), for texts to look at. Throws Error(kFormat) also if it is not UTF-8, naming the line.
// A byte order mark at its beginning is left out.
std::string read_utf8_file(const std::filesystem::path& path, size_t limit = kMaxJsonBytes);

// The root object of a JSON text. Duplicate keys, which JSON leaves open and Python's parser resolves silently, are
// refused at any depth, as are invalid UTF-8 and a root that is not an object. Throws Error(kFormat) naming `source`.
nlohmann::json parse_json_object(std::string_view text, const std::string& source);

// The same of a file, which must be UTF-8: one in UTF-16 is told so (read_utf8_file).
nlohmann::json read_json_object(const std::filesystem::path& path);

}  // namespace octobert::converter

#endif  // OCTOBERT_CONVERTER_JSON_H_
