#include "apps/output.h"

#include <errno.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cstdlib>
#include <iterator>
#include <nlohmann/json.hpp>
#include <system_error>

#include "octobert/error.h"

namespace octobert::apps {

void Output::flush() {
  std::string_view rest = text_;
  while (!rest.empty()) {
    const ssize_t written = ::write(STDOUT_FILENO, rest.data(), rest.size());
    if (written >= 0) {
      rest.remove_prefix(static_cast<size_t>(written));
    } else if (errno == EPIPE) {
      throw OutputClosed{};
    } else if (errno != EINTR) {
      throw Error(ErrorCode::kIo, "standard output: " + std::generic_category().message(errno));
    }
  }
  text_.clear();
}

bool output_is_terminal() { return ::isatty(STDOUT_FILENO) == 1; }

bool colour_wanted() {
  const char* no_color = std::getenv("NO_COLOR");
  const char* term = std::getenv("TERM");
  const bool dumb = term == nullptr || std::string_view(term) == "dumb";
  return output_is_terminal() && !dumb && (no_color == nullptr || *no_color == '\0');
}

void append_json_string(std::string& out, std::string_view text) {
  out += nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

void append_json_float(std::string& out, float value) {
  const size_t begin = out.size();
  fmt::format_to(std::back_inserter(out), "{}", value);
  // "1" would read back as an integer in most languages.
  if (out.find_first_not_of("-0123456789", begin) == std::string::npos) out += ".0";
}

void append_json_array(std::string& out, std::span<const int32_t> values) {
  fmt::format_to(std::back_inserter(out), "[{}]", fmt::join(values, ","));
}

void append_json_span(std::string& out, Span span) {
  fmt::format_to(std::back_inserter(out), "[{},{}]", span.begin, span.end);
}

std::string printable(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    const bool c1 = byte == 0xC2 && i + 1 < text.size() && static_cast<unsigned char>(text[i + 1]) < 0xA0;
    if ((byte < 0x20 && byte != '\n' && byte != '\t') || byte == 0x7F) {
      out += '^';
      out += static_cast<char>(byte ^ 0x40);
    } else if (c1) {  // U+0080 to U+009F: some terminals take them as escapes
      out += "\xEF\xBF\xBD";
      ++i;
    } else {
      out += text[i];
    }
  }
  return out;
}

}  // namespace octobert::apps
