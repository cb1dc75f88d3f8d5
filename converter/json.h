// Files of text and JSON: read whole, with a bound, and refused with the file's name. Lines of JSON.
#ifndef OCTOBERT_CONVERTER_JSON_H_
#define OCTOBERT_CONVERTER_JSON_H_

#include <cstddef>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace octobert::converter {

// config.json, id2label of thousands of labels, an index of thousands of tensors: all far below.
inline constexpr size_t kMaxJsonBytes = size_t{64} << 20;

// The bytes of a file, at most `limit` of them. Throws Error(kIo) if it cannot be read, Error(kFormat) if it is longer.
std::string read_text_file(const std::filesystem::path& path, size_t limit = kMaxJsonBytes);

// As read_text_file(), for texts to look at. Throws Error(kFormat) also if it is not UTF-8, naming the line.
// A byte order mark at its beginning is left out.
std::string read_utf8_file(const std::filesystem::path& path, size_t limit = kMaxJsonBytes);

// The value of a line of JSON lines. Throws Error(kFormat): `where`, and what is wrong at which byte.
nlohmann::json parse_json_line(std::string_view line, const std::string& where);

// What a line of JSON lines says: a string, an object with a string "text", or an array of words.
struct JsonText {
  std::string text;                               // of words: with a space between
  std::optional<std::vector<std::string>> words;  // of an array
};
// Throws Error(kFormat) that begins with `where`, for anything else.
JsonText json_text(const nlohmann::json& value, const std::string& where);
std::string json_string_field(const nlohmann::json& object, const char* field, const std::string& where);

// The root object of a JSON text. Duplicate keys, which JSON leaves open and Python's parser resolves silently, are
// refused at any depth, as are invalid UTF-8 and a root that is not an object. Throws Error(kFormat) naming `source`.
nlohmann::json parse_json_object(std::string_view text, const std::string& source);

// The same of a file, which must be UTF-8: one in UTF-16 is told so (read_utf8_file).
nlohmann::json read_json_object(const std::filesystem::path& path);

}  // namespace octobert::converter

#endif  // OCTOBERT_CONVERTER_JSON_H_
