#include "converter/input_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>

#include "octobert/error.h"

namespace octobert::converter {
namespace {

[[noreturn]] void fail(const std::string& name, const char* what, int error) {
  throw Error(ErrorCode::kIo,
              fmt::format("{}: {}: {}", name, what, std::error_code(error, std::generic_category()).message()));
}

}  // namespace

InputFile::InputFile(const std::filesystem::path& path) : name_(path.string()) {
  // Not waiting for a writer if it is a pipe, which is refused below.
  descriptor_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor_ < 0) fail(name_, "cannot be opened", errno);
  struct stat status = {};
  if (::fstat(descriptor_, &status) != 0 || !S_ISREG(status.st_mode)) {
    ::close(descriptor_);
    throw Error(ErrorCode::kIo, fmt::format("{}: not a regular file", name_));
  }
  size_ = static_cast<uint64_t>(status.st_size);
}

InputFile::~InputFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

InputFile::InputFile(InputFile&& other) noexcept
    : name_(std::move(other.name_)), descriptor_(std::exchange(other.descriptor_, -1)), size_(other.size_) {}

void InputFile::read(uint64_t offset, void* dst, size_t bytes) const {
  auto* out = static_cast<char*>(dst);
  while (bytes > 0) {
    // Linux moves at most about 2 GiB a call.
    const size_t chunk = std::min(bytes, size_t{1} << 30);
    const ssize_t got = ::pread(descriptor_, out, chunk, static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail(name_, "cannot be read", errno);
    if (got == 0) {
      throw Error(ErrorCode::kIo,
                  fmt::format("{}: ends at byte {} while {} more bytes were expected there", name_, offset, bytes));
    }
    out += got;
    offset += static_cast<uint64_t>(got);
    bytes -= static_cast<size_t>(got);
  }
}

}  // namespace octobert::converter
