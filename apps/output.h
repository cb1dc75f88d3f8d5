// Standard output, checked, and the pieces of what is written to it.
#ifndef OCTOBERT_APPS_OUTPUT_H_
#define OCTOBERT_APPS_OUTPUT_H_

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "octobert/tokenizer.h"

namespace octobert::apps {

// The reader of standard output has closed it. Not an error to tell anyone about: `octobert … | head -1`.
struct OutputClosed {};

// Collects text and writes it on flush(). Every command ends with a flush: a full disk is then an error and not a
// shorter file with exit status 0.
class Output {
 public:
  std::string& text() { return text_; }  // append here
  void flush();                          // throws Error(kIo), OutputClosed

 private:
  std::string text_;
};

// Standard output is a terminal that takes colours, and NO_COLOR (https://no-color.org) is not set.
bool colour_wanted();
bool output_is_terminal();

// JSON pieces. Strings come out as valid UTF-8 whatever the bytes are: U+FFFD for what is not.
void append_json_string(std::string& out, std::string_view text);
void append_json_float(std::string& out, float value);  // the shortest form that reads back as the same float
void append_json_array(std::string& out, std::span<const int32_t> values);
void append_json_span(std::string& out, Span span);  // [begin,end]

// A JSON value (of nlohmann's library) and a line break; the name of a file in it need not be UTF-8.
template <typename Json>
std::string json_line(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

// Makes control characters visible, so that a text cannot send commands to the terminal.
std::string printable(std::string_view text);

}  // namespace octobert::apps

#endif  // OCTOBERT_APPS_OUTPUT_H_
