#include "converter/output_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <system_error>

#include "octobert/error.h"

namespace octobert {
namespace {

constexpr size_t kBufferBytes = size_t{1} << 18;  // small writes are gathered up to this

std::filesystem::path folder_of(const std::filesystem::path& path) {
  return path.has_parent_path() ? path.parent_path() : ".";
}

// A file without a name gets one by way of /proc/self/fd, which a sandbox may lack.
bool has_descriptor_names() { return ::access("/proc/self/fd", X_OK) == 0; }

// The new name replaces what has it: for a device (/dev/null) or a pipe that is never meant.
void require_replaceable(const std::filesystem::path& path) {
  std::error_code unknown;
  const auto there = std::filesystem::status(path, unknown);
  if (std::filesystem::exists(there) && !std::filesystem::is_regular_file(there)) {
    throw Error(ErrorCode::kIo, path.string() + ": can't be written: it is there and not a regular file");
  }
}

}  // namespace

OutputFile::OutputFile(const std::filesystem::path& path) : path_(path) {
  require_replaceable(path);
  pending_.reserve(kBufferBytes);
  if (has_descriptor_names()) {
    descriptor_ = ::open(folder_of(path).c_str(), O_WRONLY | O_TMPFILE | O_CLOEXEC, 0666);
    if (descriptor_ >= 0) return;
  }
  name_temporary("can't be created", [this](const char* name) {
    descriptor_ = ::open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    return descriptor_ >= 0;
  });
}

OutputFile::~OutputFile() {
  if (descriptor_ < 0) return;
  ::close(descriptor_);
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

template <typename Make>
void OutputFile::name_temporary(const char* what, Make make) {
  const std::string stem = "." + path_.filename().string() + "." + std::to_string(::getpid()) + "-";
  // A file of this name can be there only if a killed process of the same number left it.
  for (int attempt = 0;; ++attempt) {
    const std::filesystem::path name = path_.parent_path() / (stem + std::to_string(attempt) + ".tmp");
    if (make(name.c_str())) {
      temporary_ = name;
      return;
    }
    if (errno != EINTR && (errno != EEXIST || attempt >= 1000)) fail(what);
  }
}

void OutputFile::fail(const char* what) const {
  throw Error(ErrorCode::kIo, path_.string() + ": " + what + ": " + std::generic_category().message(errno));
}

void OutputFile::write_all(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    // Linux writes at most 2^31 - 4096 bytes a call.
    const ssize_t done = ::write(descriptor_, bytes.data(), std::min(bytes.size(), size_t{1} << 30));
    if (done < 0 && errno == EINTR) continue;
    if (done < 0) fail("can't be written");
    bytes = bytes.subspan(static_cast<size_t>(done));
  }
}

void OutputFile::flush() {
  write_all(pending_);
  pending_.clear();
}

void OutputFile::append(std::span<const std::byte> bytes) {
  if (pending_.size() + bytes.size() > kBufferBytes) flush();
  if (bytes.size() > kBufferBytes) return write_all(bytes);
  pending_.insert(pending_.end(), bytes.begin(), bytes.end());
}

void OutputFile::overwrite_start(std::span<const std::byte> bytes) {
  flush();
  if (::lseek(descriptor_, 0, SEEK_SET) != 0) fail("can't be written");
  write_all(bytes);
  if (::lseek(descriptor_, 0, SEEK_END) < 0) fail("can't be written");
}

void OutputFile::finish() {
  flush();
  if (::fsync(descriptor_) != 0) fail("can't be written to disk");
  if (temporary_.empty()) {  // linkat(2) replaces nothing, rename(2) does
    const std::string nameless = "/proc/self/fd/" + std::to_string(descriptor_);
    name_temporary("can't be given a name", [&nameless](const char* name) {
      return ::linkat(AT_FDCWD, nameless.c_str(), AT_FDCWD, name, AT_SYMLINK_FOLLOW) == 0;
    });
  }
#ifdef POSIX_FADV_DONTNEED
  // What was written lies in the page cache in small pages, for days perhaps. Dropped, it is read back in large ones
  // when a model is mapped (engine/mapped_file.cpp).
  ::posix_fadvise(descriptor_, 0, 0, POSIX_FADV_DONTNEED);
#endif
}

void OutputFile::take_name() {
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) fail("can't be given its name");
  ::close(descriptor_);
  descriptor_ = -1;
}

// A second name for what has the final one; empty: nothing has it. Where a file can't have two, it loses the first.
std::string OutputFile::keep_old() const {
  for (int i = 0;; ++i) {
    std::string old = fmt::format("{}.old{}", temporary_.string(), i);
    if (::link(path_.c_str(), old.c_str()) == 0) return old;
    if (errno == ENOENT) return "";
    if (errno == EEXIST || std::filesystem::exists(old)) continue;
    if (::rename(path_.c_str(), old.c_str()) == 0) return old;
    fail("can't be replaced");
  }
}

void OutputFile::sync_folder() {
  // The new name survives a power cut once the folder is on disk; some file systems can't sync folders.
  const int directory = ::open(folder_of(path_).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (directory < 0) return;
  ::fsync(directory);
  ::close(directory);
}

void OutputFile::commit() {
  finish();
  take_name();
  sync_folder();
}

void OutputFile::commit_both(OutputFile& first, OutputFile& second) {
  first.finish();
  second.finish();
  require_replaceable(first.path_);
  const std::string old = first.keep_old();
  try {
    first.take_name();
    second.take_name();
  } catch (...) {
    if (!old.empty()) {
      ::rename(old.c_str(), first.path_.c_str());
      ::unlink(old.c_str());  // rename(2) does nothing where both are names of one file
    } else if (first.descriptor_ < 0) {
      ::unlink(first.path_.c_str());
    }
    throw;
  }
  if (!old.empty()) ::unlink(old.c_str());
  first.sync_folder();
  second.sync_folder();
}

}  // namespace octobert
