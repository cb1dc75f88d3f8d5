// Text files read from their beginning to their end, in memory that does not grow with them.
#ifndef OCTOBERT_CONVERTER_TEXT_LINES_H_
#define OCTOBERT_CONVERTER_TEXT_LINES_H_

#include <cstddef>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace octobert::converter {

class Sha256;

inline constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";  // which some editors write

// What speaks against `bytes` being text in UTF-8, for people; empty: nothing. NUL bytes do, as UTF-16 has them.
std::string_view why_not_utf8(std::string_view bytes);

// The bytes of a file or a pipe.
class ByteStream {
 public:
  // limit: the most bytes that the file may have. Throws Error(kIo).
  ByteStream(const std::filesystem::path& path, size_t limit);
  // The next bytes, up to `bytes` of them; fewer at the end only. Throws Error(kIo); Error(kFormat) beyond the limit.
  size_t read(char* dst, size_t bytes);
  const std::string& name() const { return name_; }

 private:
  std::string name_;
  size_t limit_, done_ = 0;
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> file_;
};

// Lines of text in UTF-8. Keeps one line and a chunk of the file.
class TextLines {
 public:
  // hash: is given every byte that was read. Throws Error(kIo).
  explicit TextLines(const std::filesystem::path& path, size_t limit, Sha256* hash = nullptr);
  // The next line, without its line break (LF or CRLF) and, the first, without a byte order mark; valid until the next
  // call. None at the end. Throws Error(kIo); Error(kFormat) beyond the limit, and naming the line that is not UTF-8.
  std::optional<std::string_view> next();
  // "FILE: line 3", of the line that next() gave last.
  std::string where() const;
  // Reads on to the end: before a fault of a line is told, since a file in another encoding has many, and it is that
  // which is to be told. Throws what next() throws.
  void check_rest();
  // Throws Error(kFormat) that says `what` of the last line, or check_rest()'s.
  [[noreturn]] void fail(const std::string& what);

 private:
  void fill();
  void check_utf8(std::string_view line);

  ByteStream stream_;
  Sha256* hash_;
  std::string buffer_;
  size_t begin_ = 0;  // of what next() has not given yet
  size_t number_ = 0;
  bool end_ = false;
};

}  // namespace octobert::converter

#endif  // OCTOBERT_CONVERTER_TEXT_LINES_H_
