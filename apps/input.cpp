#include "apps/input.h"

#include <errno.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <nlohmann/json.hpp>
#include <system_error>
#include <utility>

#include "apps/command.h"
#include "converter/json.h"
#include "converter/text_lines.h"
#include "octobert/error.h"

namespace octobert::apps {
namespace {

// A batch: enough tokens to fill every core, little enough to answer soon and to stay in the caches.
constexpr size_t kBatchTexts = 256;
constexpr size_t kBatchBytes = size_t{64} << 10;
constexpr size_t kReadBytes = size_t{64} << 10;

[[noreturn]] void throw_io(const std::string& name) {
  throw Error(ErrorCode::kIo, name + ": " + std::generic_category().message(errno));
}

int open_for_reading(const std::string& path) {
  if (path == "-") return STDIN_FILENO;
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) throw_io(path);
  return fd;
}

std::string display_name(const std::string& path) { return path == "-" ? "standard input" : path; }

std::vector<std::string> split_words(std::string_view line) {
  std::vector<std::string> words;
  for (size_t at = line.find_first_not_of(" \t"); at != line.npos; at = line.find_first_not_of(" \t", at)) {
    const size_t end = std::min(line.find_first_of(" \t", at), line.size());
    words.emplace_back(line.substr(at, end - at));
    at = end;
  }
  return words;
}

// The same bytes with U+FFFD for what is not UTF-8: the JSON library writes any bytes so, but refuses to read them.
std::string valid_utf8(std::string_view bytes) {
  const auto quoted = nlohmann::json(bytes).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  return nlohmann::json::parse(quoted).get<std::string>();
}

nlohmann::json parse_json(std::string_view line, InvalidUtf8 policy, const std::string& origin) {
  try {
    return converter::parse_json_line(line, origin);
  } catch (const Error&) {
    if (policy != InvalidUtf8::kReplace) throw;
    const std::string valid = valid_utf8(line);
    if (valid == line) throw;
    return converter::parse_json_line(valid, origin);
  }
}

InputText parse_json_line(std::string_view line, bool pairs, InvalidUtf8 policy, const std::string& origin) {
  const nlohmann::json value = parse_json(line, policy, origin);
  converter::JsonText json = converter::json_text(value, origin);
  InputText item;
  item.text = std::move(json.text);
  item.pre_tokenized = json.words.has_value();
  if (json.words) item.words = std::move(*json.words);
  item.has_pair = pairs && value.is_object() && value.contains("pair");
  if (item.has_pair) item.pair = converter::json_string_field(value, "pair", origin);
  item.origin = origin;
  return item;
}

}  // namespace

void add_input_options(CLI::App& command, InputOptions& options) {
  command.add_option("TEXT", options.texts, "Texts; with none, and no file, they come from standard input, one a line")
      ->type_name("");
  command.add_option("--file", options.files, "Read texts from a file, one a line; - is standard input")
      ->allow_extra_args(false)
      ->type_name("F");
  command.add_flag("--jsonl", options.jsonl, "A line is JSON: a string, an object with \"text\", or an array of words");
}

InputText parse_line(std::string_view line, const InputOptions& options, InvalidUtf8 policy,
                     const std::string& origin) {
  if (options.format() == LineFormat::kJson) return parse_json_line(line, options.pairs, policy, origin);
  InputText item;
  item.origin = origin;
  if (options.format() == LineFormat::kWords) {
    item.pre_tokenized = true;
    item.words = split_words(line);
    item.text = fmt::format("{}", fmt::join(item.words, " "));
  } else {
    item.text = line;
  }
  return item;
}

std::vector<int32_t> parse_id_array(std::string_view json, const std::string& origin, int vocab_size) {
  const nlohmann::json value = nlohmann::json::parse(json, nullptr, /*allow_exceptions=*/false);
  if (!value.is_array()) throw Error(ErrorCode::kInvalidInput, origin + ": expected a JSON array of ids");
  std::vector<int32_t> ids;
  for (const auto& id : value) {
    // An integer that does not fit comes out of the parser as a float.
    if (!id.is_number_integer() || id < 0 || id >= vocab_size) {
      throw Error(ErrorCode::kInvalidInput, fmt::format("{}: id {}: expected an integer from 0 to {}, found {:.40}",
                                                        origin, ids.size() + 1, vocab_size - 1, id.dump()));
    }
    ids.push_back(id.get<int32_t>());
  }
  return ids;
}

LineReader::LineReader(const std::string& path) : name_(display_name(path)), fd_(open_for_reading(path)) {}

LineReader::~LineReader() {
  if (fd_ != STDIN_FILENO) ::close(fd_);
}

std::string LineReader::origin() const { return fmt::format("{}: line {}", name_, line_number_); }

bool LineReader::readable_now() const {
  pollfd request = {fd_, POLLIN, 0};
  return ::poll(&request, 1, 0) > 0;  // also when the other end has hung up: read() then says so
}

bool LineReader::fill() {
  if (begin_ > 0) {
    buffer_.erase(0, begin_);
    scanned_ -= begin_;
    begin_ = 0;
  }
  if (buffer_.size() > kMaxTextBytes) {
    throw Error(ErrorCode::kInvalidInput,
                fmt::format("{}: line {}: longer than {} bytes", name_, line_number_ + 1, kMaxTextBytes));
  }
  const size_t old = buffer_.size();
  buffer_.resize(old + kReadBytes);
  ssize_t got = 0;
  do {
    got = ::read(fd_, buffer_.data() + old, kReadBytes);
  } while (got < 0 && errno == EINTR);
  buffer_.resize(old + static_cast<size_t>(std::max<ssize_t>(got, 0)));
  if (got < 0) throw_io(name_);
  return got > 0;
}

LineReader::Status LineReader::next(std::string& line, bool wait) {
  for (;;) {
    const size_t line_break = buffer_.find('\n', scanned_);
    const bool last_without_break = end_ && line_break == buffer_.npos && begin_ < buffer_.size();
    if (line_break != buffer_.npos || last_without_break) {
      const size_t end = last_without_break ? buffer_.size() : line_break;
      line.assign(buffer_, begin_, end - begin_);
      if (!line.empty() && line.back() == '\r') line.pop_back();
      begin_ = scanned_ = std::min(end + 1, buffer_.size());
      ++line_number_;
      return Status::kLine;
    }
    if (end_) return Status::kEnd;
    scanned_ = buffer_.size();
    if (!wait && !readable_now()) return Status::kWouldWait;
    end_ = !fill();
  }
}

std::string read_whole_file(const std::string& path) {
  const int fd = open_for_reading(path);
  std::string bytes;
  ssize_t got = 0;
  int error = 0;
  do {
    const size_t old = bytes.size();
    bytes.resize(old + std::max(kReadBytes, old));  // doubling: linear in the file's size
    got = ::read(fd, bytes.data() + old, bytes.size() - old);
    error = errno;
    bytes.resize(old + static_cast<size_t>(std::max<ssize_t>(got, 0)));
  } while ((got > 0 && bytes.size() <= kMaxTextBytes) || (got < 0 && error == EINTR));
  if (fd != STDIN_FILENO) ::close(fd);
  errno = error;
  if (got < 0) throw_io(display_name(path));
  if (got > 0) {
    throw Error(ErrorCode::kInvalidInput, fmt::format("{}: longer than {} bytes", path, kMaxTextBytes));
  }
  return bytes;
}

TextReader::TextReader(const InputOptions& options, InvalidUtf8 policy)
    : options_(options), policy_(policy), files_(options.files) {
  if (options_.texts.empty() && files_.empty() && options_.documents.empty()) {
    files_.emplace_back("-");
    if (::isatty(STDIN_FILENO) == 1) print_message("reading texts from the terminal, one a line; Ctrl-D ends");
  }
}

bool TextReader::next(std::vector<InputText>& batch) {
  batch.clear();
  if (fault_) std::rethrow_exception(fault_);
  size_t bytes = 0;
  try {
    while (batch.size() < kBatchTexts && bytes < kBatchBytes && next_one(batch, /*wait=*/batch.empty())) {
      bytes += batch.back().text.size();
    }
  } catch (const Error&) {
    if (batch.empty()) throw;
    fault_ = std::current_exception();  // the texts before it are answered first
  }
  return !batch.empty();
}

bool TextReader::next_one(std::vector<InputText>& batch, bool wait) {
  if (text_ < options_.texts.size()) {
    const std::string origin = fmt::format("text {}", text_ + 1);
    batch.push_back(parse_line(options_.texts[text_++], options_, policy_, origin));
    return true;
  }
  if (next_line(batch, wait)) return true;
  if (file_ < files_.size()) return false;  // it would have to wait
  if (document_ < options_.documents.size()) {
    const std::string& path = options_.documents[document_++];
    InputText item;
    item.text = read_whole_file(path);
    item.origin = display_name(path);
    batch.push_back(std::move(item));
    return true;
  }
  return false;
}

bool TextReader::next_line(std::vector<InputText>& batch, bool wait) {
  std::string line;
  while (file_ < files_.size()) {
    if (!lines_) lines_ = std::make_unique<LineReader>(files_[file_]);
    const LineReader::Status status = lines_->next(line, wait);
    if (status == LineReader::Status::kWouldWait) return false;
    if (status == LineReader::Status::kEnd) {
      lines_.reset();
      ++file_;
      continue;
    }
    // In JSON lines an empty line holds no value; elsewhere it is a text, the empty one.
    if (options_.jsonl && line.find_first_not_of(" \t") == line.npos) continue;
    check_line(line);
    batch.push_back(parse_line(line, options_, policy_, lines_->origin()));
    return true;
  }
  return false;
}

void TextReader::check_line(std::string_view line) const {
  if (!options_.require_utf8) return;
  const std::string_view why = converter::why_not_utf8(line);
  if (!why.empty()) throw Error(ErrorCode::kInvalidInput, fmt::format("{}: {}", lines_->origin(), why));
}

}  // namespace octobert::apps
