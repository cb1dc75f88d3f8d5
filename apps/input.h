// Texts from the command line, files and standard input, in this order, as they come.
#ifndef OCTOBERT_APPS_INPUT_H_
#define OCTOBERT_APPS_INPUT_H_

#include <CLI/CLI.hpp>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "octobert/tokenizer.h"

namespace octobert::apps {

enum class LineFormat {
  kText,   // the line is the text
  kWords,  // words with spaces between
  kJson,   // a JSON string, an object with "text" (and "pair", where pairs are taken), or an array of words
};

// Where texts come from. With no texts, files and documents: standard input, one a line.
struct InputOptions {
  std::vector<std::string> texts;
  std::vector<std::string> files;      // one text a line; "-" is standard input
  std::vector<std::string> documents;  // each file is one text
  bool jsonl = false;
  bool words = false;
  bool pairs = false;         // take {"text", "pair"}
  bool require_utf8 = false;  // lines of files that are something else (converter::why_not_utf8) are a fault

  LineFormat format() const { return jsonl ? LineFormat::kJson : words ? LineFormat::kWords : LineFormat::kText; }
};
// TEXT …, --file and --jsonl.
void add_input_options(CLI::App& command, InputOptions& options);

struct InputText {
  std::string text;                // with words: the words with a space between
  std::vector<std::string> words;  // if pre_tokenized
  std::string pair;                // if has_pair
  bool pre_tokenized = false;
  bool has_pair = false;
  std::string origin;  // for messages: "standard input: line 3"
};

// What a line says. Throws Error(kFormat) that begins with `origin`.
InputText parse_line(std::string_view line, const InputOptions& options, InvalidUtf8 policy, const std::string& origin);

// "[101, 7592, 102]": integers from 0 to vocab_size - 1. Throws Error(kInvalidInput) that begins with `origin`.
std::vector<int32_t> parse_id_array(std::string_view json, const std::string& origin, int vocab_size);

// The number of bytes that a text may have (offsets are 32 bits wide).
inline constexpr size_t kMaxTextBytes = 0xFFFFFFFE;

// Lines of a file or a stream, without their line break ("\n" or "\r\n").
class LineReader {
 public:
  explicit LineReader(const std::string& path);  // "-": standard input. Throws Error(kIo)
  ~LineReader();
  LineReader(const LineReader&) = delete;
  LineReader& operator=(const LineReader&) = delete;

  enum class Status { kLine, kWouldWait, kEnd };
  // With `wait` the answer is never kWouldWait. Throws Error(kIo), and Error(kInvalidInput) for an endless line.
  Status next(std::string& line, bool wait);
  // "standard input: line 3", of the line that next() gave last.
  std::string origin() const;
  const std::string& name() const { return name_; }

 private:
  bool readable_now() const;
  bool fill();  // false at the end

  std::string name_;
  int fd_;
  std::string buffer_;
  size_t begin_ = 0;    // of the line in the buffer
  size_t scanned_ = 0;  // no line break before this
  size_t line_number_ = 0;
  bool end_ = false;
};

// The whole file. Throws Error(kIo), and Error(kInvalidInput) if it has more than kMaxTextBytes.
std::string read_whole_file(const std::string& path);

// All texts that the options name, in batches: what is there already is taken together, and nothing that is there
// waits for what is not.
class TextReader {
 public:
  TextReader(const InputOptions& options, InvalidUtf8 policy);
  // The next texts, at least one; false when there are no more.
  bool next(std::vector<InputText>& batch);

 private:
  bool next_one(std::vector<InputText>& batch, bool wait);  // false if there is none (without waiting)
  bool next_line(std::vector<InputText>& batch, bool wait);
  void check_line(std::string_view line) const;

  const InputOptions options_;
  const InvalidUtf8 policy_;
  size_t text_ = 0, file_ = 0, document_ = 0;  // next of each
  std::vector<std::string> files_;             // options_.files, or standard input
  std::unique_ptr<LineReader> lines_;          // of files_[file_]
  std::exception_ptr fault_;                   // thrown by the next call of next()
};

}  // namespace octobert::apps

#endif  // OCTOBERT_APPS_INPUT_H_
