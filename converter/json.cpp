#include "converter/json.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "converter/text_lines.h"
#include "octobert/error.h"
#include "tokenizer/utf8.h"

namespace octobert::converter {
namespace {

// The library's message without its own prefix, "[json.exception.parse_error.101] parse error at line 1, column 9: ",
// whose line is always the first, and at a length that a line of ten megabytes does not reach.
std::string short_reason(const nlohmann::json::parse_error& error) {
  std::string_view what = error.what();
  const size_t column = what.find(", column ");
  const size_t prefix = what.find(": ", column == what.npos ? 0 : column);
  if (prefix != what.npos) what.remove_prefix(prefix + 2);
  constexpr size_t kLongest = 300;
  const bool cut = what.size() > kLongest;
  return fmt::format("not valid JSON at byte {}: {}{}", error.byte, what.substr(0, kLongest), cut ? "..." : "");
}

}  // namespace

std::string read_text_file(const std::filesystem::path& path, size_t limit) {
  ByteStream stream(path, limit);
  std::string text;
  for (;;) {
    constexpr size_t kChunk = size_t{1} << 16;
    const size_t old_size = text.size();
    text.resize(old_size + kChunk);
    const size_t got = stream.read(text.data() + old_size, kChunk);
    text.resize(old_size + got);
    if (got < kChunk) return text;
  }
}

std::string read_utf8_file(const std::filesystem::path& path, size_t limit) {
  std::string text = read_text_file(path, limit);
  if (text.starts_with(kByteOrderMark)) text.erase(0, kByteOrderMark.size());
  const size_t fault = std::min(text.find('\0'), utf8::find_invalid_utf8(text));
  if (fault >= text.size()) return text;
  const auto line = 1 + std::count(text.begin(), text.begin() + static_cast<ptrdiff_t>(fault), '\n');
  throw Error(ErrorCode::kFormat, fmt::format("{}: line {}: {}", path.string(), line, why_not_utf8(text)));
}

nlohmann::json parse_json_line(std::string_view line, const std::string& where) {
  try {
    return nlohmann::json::parse(line);
  } catch (const nlohmann::json::parse_error& error) {
    throw Error(ErrorCode::kFormat, fmt::format("{}: {}", where, short_reason(error)));
  } catch (const nlohmann::json::exception& error) {  // a number that no double holds
    std::string_view what = error.what();
    what.remove_prefix(std::min(what.size(), what.find("] ") + 2));  // "[json.exception.out_of_range.406] "
    throw Error(ErrorCode::kFormat, fmt::format("{}: {}", where, what));
  }
}

std::string json_string_field(const nlohmann::json& object, const char* field, const std::string& where) {
  const auto found = object.find(field);
  if (found == object.end()) {
    throw Error(ErrorCode::kFormat, fmt::format("{}: the object has no field \"{}\"", where, field));
  }
  if (!found->is_string()) {
    throw Error(ErrorCode::kFormat,
                fmt::format("{}: field \"{}\": expected a string, found {}", where, field, found->type_name()));
  }
  return found->get<std::string>();
}

JsonText json_text(const nlohmann::json& value, const std::string& where) {
  if (value.is_string()) return {value.get<std::string>(), std::nullopt};
  if (value.is_object()) return {json_string_field(value, "text", where), std::nullopt};
  if (!value.is_array()) {
    throw Error(ErrorCode::kFormat,
                fmt::format("{}: expected a string, an object with \"text\" or an array of words, found {}", where,
                            value.type_name()));
  }
  std::vector<std::string> words;
  for (const auto& word : value) {
    if (!word.is_string()) {
      throw Error(ErrorCode::kFormat,
                  fmt::format("{}: word {}: expected a string, found {}", where, words.size() + 1, word.type_name()));
    }
    words.push_back(word.get<std::string>());
  }
  return {fmt::format("{}", fmt::join(words, " ")), std::move(words)};
}

nlohmann::json parse_json_object(std::string_view text, const std::string& source) {
  // The callback sees every key before its value is stored, and so the second one of two.
  std::vector<std::set<std::string>> keys_of_open_objects;
  std::optional<std::string> duplicate;
  const auto look_for_duplicates = [&](int /*depth*/, nlohmann::json::parse_event_t event,
                                       const nlohmann::json& value) {
    if (event == nlohmann::json::parse_event_t::object_start) keys_of_open_objects.emplace_back();
    if (event == nlohmann::json::parse_event_t::object_end) keys_of_open_objects.pop_back();
    if (event == nlohmann::json::parse_event_t::key) {
      const auto& key = value.get_ref<const std::string&>();
      if (!keys_of_open_objects.back().insert(key).second) duplicate = key;
    }
    return true;
  };
  nlohmann::json root;
  try {
    root = nlohmann::json::parse(text, look_for_duplicates);
  } catch (const nlohmann::json::exception& e) {
    throw Error(ErrorCode::kFormat, fmt::format("{}: not valid JSON: {}", source, e.what()));
  }
  if (duplicate) {
    throw Error(ErrorCode::kFormat, fmt::format("{}: key '{}' appears twice in one object", source, *duplicate));
  }
  if (!root.is_object()) {
    throw Error(ErrorCode::kFormat, fmt::format("{}: expected a JSON object, found {}", source, root.type_name()));
  }
  return root;
}

nlohmann::json read_json_object(const std::filesystem::path& path) {
  return parse_json_object(read_utf8_file(path), path.string());
}

}  // namespace octobert::converter
