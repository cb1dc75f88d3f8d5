#include "converter/text_lines.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

#include "converter/provenance.h"
#include "octobert/error.h"
#include "tokenizer/utf8.h"

namespace octobert::converter {
namespace {

constexpr size_t kChunk = size_t{1} << 16;

std::string last_error() { return std::error_code(errno, std::generic_category()).message(); }

}  // namespace

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

ByteStream::ByteStream(const std::filesystem::path& path, size_t limit)
    : name_(path.string()), limit_(limit), file_(std::fopen(path.c_str(), "rb"), &std::fclose) {
  if (!file_) throw Error(ErrorCode::kIo, fmt::format("{}: cannot be opened: {}", name_, last_error()));
}

size_t ByteStream::read(char* dst, size_t bytes) {
  const size_t got = std::fread(dst, 1, bytes, file_.get());
  if (std::ferror(file_.get())) {
    throw Error(ErrorCode::kIo, fmt::format("{}: cannot be read: {}", name_, last_error()));
  }
  done_ += got;
  if (done_ > limit_) {
    throw Error(ErrorCode::kFormat, fmt::format("{}: longer than {} bytes, the most that is read", name_, limit_));
  }
  return got;
}

TextLines::TextLines(const std::filesystem::path& path, size_t limit, Sha256* hash)
    : stream_(path, limit), hash_(hash) {}

std::optional<std::string_view> TextLines::next() {
  for (size_t searched = begin_;;) {
    const size_t line_break = buffer_.find('\n', searched);
    if (line_break != buffer_.npos || (end_ && begin_ < buffer_.size())) {
      const size_t end = std::min(line_break, buffer_.size());
      std::string_view line = std::string_view(buffer_).substr(begin_, end - begin_);
      if (++number_ == 1 && line.starts_with(kByteOrderMark)) line.remove_prefix(kByteOrderMark.size());
      check_utf8(line);
      begin_ = std::min(end + 1, buffer_.size());
      if (line.ends_with('\r')) line.remove_suffix(1);
      return line;
    }
    if (end_) return std::nullopt;
    searched = buffer_.size() - begin_;
    fill();
  }
}

void TextLines::fill() {
  buffer_.erase(0, begin_);
  begin_ = 0;
  const size_t old = buffer_.size();
  buffer_.resize(old + kChunk);
  const size_t got = stream_.read(buffer_.data() + old, kChunk);
  buffer_.resize(old + got);
  end_ = got < kChunk;
  if (hash_ != nullptr) hash_->update(buffer_.data() + old, got);
}

void TextLines::check_utf8(std::string_view line) {
  if (line.find('\0') == line.npos && utf8::find_invalid_utf8(line) == line.size()) return;
  // What follows tells too: UTF-16 has a NUL in most lines, not in each.
  const std::string_view from_here(line.data(), buffer_.size() - static_cast<size_t>(line.data() - buffer_.data()));
  throw Error(ErrorCode::kFormat, fmt::format("{}: {}", where(), why_not_utf8(from_here)));
}

std::string TextLines::where() const { return fmt::format("{}: line {}", stream_.name(), number_); }

void TextLines::check_rest() {
  while (next()) {
  }
}

void TextLines::fail(const std::string& what) {
  const std::string message = fmt::format("{}: {}", where(), what);
  check_rest();
  throw Error(ErrorCode::kFormat, message);
}

}  // namespace octobert::converter
