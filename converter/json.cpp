#include "converter/json.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <memory>
#include <optional>
#include <set>
#include <system_error>
#include <vector>

#include "octobert/error.h"
#include "tokenizer/utf8.h"

namespace octobert::converter {
namespace {

std::string last_error() { return std::error_code(errno, std::generic_category()).message(); }

}  // namespace

std::string read_text_file(const std::filesystem::path& path, size_t limit) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "rb"), &std::fclose);
  if (!file) throw Error(ErrorCode::kIo, fmt::format("{}: cannot be opened: {}", path.string(), last_error()));
  std::string text;
  for (;;) {
    constexpr size_t kChunk = size_t{1} << 16;
    const size_t old_size = text.size();
    text.resize(old_size + kChunk);
    text.resize(old_size + std::fread(text.data() + old_size, 1, kChunk, file.get()));
    if (text.size() > limit) {
      throw Error(ErrorCode::kFormat,
                  fmt::format("{}: longer than {} bytes, the most that is read", path.string(), limit));
    }
    if (text.size() == old_size) break;
  }
  if (std::ferror(file.get())) {
    throw Error(ErrorCode::kIo, fmt::format("{}: cannot be read: {}", path.string(), last_error()));
  }
  return text;
}

std::string_view why_not_utf8(std::string_view bytes) {
  if (bytes.starts_with("\xff\xfe") || bytes.starts_with("\xfe\xff")) {
    return "not UTF-8: it begins with a byte order mark and looks like UTF-16 (iconv -f UTF-16 -t UTF-8 converts it)";
  }
  if (bytes.find('\0') != bytes.npos) {
    return "not UTF-8: it has a NUL byte and looks like UTF-16 (which iconv converts), or is no text";
  }
  if (utf8::find_invalid_utf8(bytes) < bytes.size()) return "not UTF-8 (convert the file, or name another)";
  return {};
}

std::string read_utf8_file(const std::filesystem::path& path, size_t limit) {
  std::string text = read_text_file(path, limit);
  if (text.starts_with("\xef\xbb\xbf")) text.erase(0, 3);  // a byte order mark, which some editors write
  const size_t fault = std::min(text.find('\0'), utf8::find_invalid_utf8(text));
  if (fault >= text.size()) return text;
  const auto line = 1 + std::count(text.begin(), text.begin() + static_cast<ptrdiff_t>(fault), '\n');
  throw Error(ErrorCode::kFormat, fmt::format("{}: line {}: {}", path.string(), line, why_not_utf8(text)));
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
