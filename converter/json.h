// JSON files of a checkpoint folder: read whole, with a bound, and refused with the file's name.
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

// The root object of a JSON text. Duplicate keys, which JSON leaves open and Python's parser resolves silently, are
// refused at any depth, as are invalid UTF-8 and a root that is not an object. Throws Error(kFormat) naming `source`.
nlohmann::json parse_json_object(std::string_view text, const std::string& source);

nlohmann::json read_json_object(const std::filesystem::path& path);

}  // namespace octobert::converter

#endif  // OCTOBERT_CONVERTER_JSON_H_
