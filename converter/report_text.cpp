#include "converter/report_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <system_error>

#include "converter/output_file.h"
#include "octobert/error.h"

namespace octobert::converter {
namespace {

struct Character {
  uint32_t code;  // U+FFFD if the bytes are not UTF-8
  size_t bytes;   // at least 1
};

// The character at the front of a text that is not empty. Overlong forms, surrogates and what lies beyond U+10FFFF
// are not UTF-8.
Character first_character(std::string_view text) {
  constexpr Character kInvalid{0xFFFD, 1};
  const auto byte = [text](size_t i) { return static_cast<unsigned char>(text[i]); };
  const uint32_t lead = byte(0);
  if (lead < 0x80) return {lead, 1};
  const size_t length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
  if (lead < 0xC2 || lead > 0xF4 || text.size() < length) return kInvalid;
  uint32_t code = lead & (0x7Fu >> length);
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return kInvalid;
    code = code << 6 | (byte(i) & 0x3Fu);
  }
  constexpr uint32_t kSmallest[] = {0, 0, 0x80, 0x800, 0x10000};
  const bool surrogate = code >= 0xD800 && code <= 0xDFFF;
  if (code < kSmallest[length] || code > 0x10FFFF || surrogate) return kInvalid;
  return {code, length};
}

// Characters that are not seen but change how others are: C0 (tab and line ends aside), DEL, C1, the marks, overrides
// and isolates of bidirectional text, line and paragraph separators, byte order mark, and what is no character.
bool is_hidden(uint32_t code) {
  return (code < 0x20 && code != '\t' && code != '\n' && code != '\r') || (code >= 0x7F && code < 0xA0) ||
         code == 0x061C || (code >= 0x200E && code <= 0x200F) || (code >= 0x2028 && code <= 0x202E) ||
         (code >= 0x2066 && code <= 0x2069) || code == 0xFEFF || (code & 0xFFFE) == 0xFFFE;
}

bool starts_character(char byte) { return (static_cast<unsigned char>(byte) & 0xC0) != 0x80; }

}  // namespace

std::string visible(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const Character character = first_character(text);
    if (character.code == 0xFFFD) {
      out += "\xEF\xBF\xBD";
    } else if (is_hidden(character.code)) {
      out += fmt::format("<U+{:04X}>", character.code);
    } else {
      out += text.substr(0, character.bytes);
    }
    text.remove_prefix(character.bytes);
  }
  return out;
}

std::string html_escape(std::string_view text) {
  std::string out;
  for (const char c : visible(text)) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

std::string markdown_escape(std::string_view text) {
  constexpr std::string_view kMarks = "\\`*_{}[]()#+-.!|~:";
  std::string out;
  for (const char c : html_escape(text)) {
    if (c == '\n' || c == '\r' || c == '\t') {
      out += ' ';
    } else if (kMarks.find(c) != std::string_view::npos) {
      out += fmt::format("&#{};", static_cast<int>(c));
    } else {
      out += c;
    }
  }
  return out;
}

SiteName parse_site(std::string_view name) {
  constexpr std::string_view kPrefix = "layer.";
  if (!name.starts_with(kPrefix)) return {std::nullopt, name};
  const std::string_view rest = name.substr(kPrefix.size());
  int layer = 0;
  const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), layer);
  const auto digits = static_cast<size_t>(end - rest.data());
  if (error != std::errc() || layer < 0 || digits + 1 >= rest.size() || rest[digits] != '.') {
    return {std::nullopt, name};
  }
  return {layer, rest.substr(digits + 1)};
}

Excerpt excerpt(const ReportExample& example, size_t limit) {
  const std::string_view text = example.text;
  const size_t begin = std::min(example.begin, text.size()), end = std::clamp(example.end, begin, text.size());
  size_t front = begin > limit ? begin - limit : 0;
  while (front > 0 && front < begin && !starts_character(text[front])) ++front;
  size_t back = text.size() - end > limit ? end + limit : text.size();
  while (back > end && back < text.size() && !starts_character(text[back])) --back;
  return {front > 0, back < text.size(), text.substr(front, begin - front), text.substr(begin, end - begin),
          text.substr(end, back - end)};
}

std::string metric_text(std::optional<double> value, ReportMetric::Unit unit) {
  if (!value) return "";
  if (!std::isfinite(*value)) return std::isnan(*value) ? "not a number" : *value > 0 ? "∞" : "−∞";
  if (unit == ReportMetric::Unit::kShare) return fmt::format("{:.3f} %", 100 * *value);
  if (unit == ReportMetric::Unit::kMilliseconds) return fmt::format("{:.2f} ms", *value);
  return fmt::format("{:.3g}", *value);
}

std::string bytes_text(uint64_t bytes) {
  const auto value = static_cast<double>(bytes);
  if (bytes >= 10'000'000'000) return fmt::format("{:.1f} GB", value / 1e9);
  if (bytes >= 1'000'000) return fmt::format("{:.1f} MB", value / 1e6);
  if (bytes >= 1'000) return fmt::format("{:.1f} kB", value / 1e3);
  return fmt::format("{} bytes", bytes);
}

void write_into_folder(const std::filesystem::path& folder, const char* name, std::string_view bytes) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) throw Error(ErrorCode::kIo, fmt::format("{}: can't be made: {}", folder.string(), error.message()));
  OutputFile file(folder / name);
  file.append(std::as_bytes(std::span(bytes)));
  file.commit();
}

}  // namespace octobert::converter
