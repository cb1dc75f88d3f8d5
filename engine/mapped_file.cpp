#include "engine/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <string>
#include <system_error>
#include <utility>

#include "octobert/error.h"

namespace octobert {
namespace {

// A descriptor that closes itself, of a regular file, with the file's size.
class InputFile {
 public:
  explicit InputFile(const std::filesystem::path& path) : path_(path.string()) {
    do {  // O_NONBLOCK: a pipe without a writer is refused below, not waited for; files do not know it
      descriptor_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    } while (descriptor_ < 0 && errno == EINTR);
    if (descriptor_ < 0) fail("can't be opened");
    struct stat status {};
    if (::fstat(descriptor_, &status) != 0) fail_and_close("can't be examined");
    if (!S_ISREG(status.st_mode)) {
      ::close(descriptor_);
      throw Error(ErrorCode::kIo, path_ + ": not a regular file");
    }
    size_ = static_cast<size_t>(status.st_size);
  }
  ~InputFile() { ::close(descriptor_); }
  InputFile(const InputFile&) = delete;
  InputFile& operator=(const InputFile&) = delete;

  int descriptor() const { return descriptor_; }
  size_t size() const { return size_; }

  [[noreturn]] void fail(const char* what) const {
    throw Error(ErrorCode::kIo, path_ + ": " + what + ": " + std::generic_category().message(errno));
  }
  [[noreturn]] void fail_shorter(size_t found) const {
    throw Error(ErrorCode::kIo, path_ + ": became shorter while it was read: expected " + std::to_string(size_) +
                                    " bytes, found " + std::to_string(found));
  }

 private:
  [[noreturn]] void fail_and_close(const char* what) const {
    const int error = errno;
    ::close(descriptor_);
    errno = error;
    fail(what);
  }

  std::string path_;
  int descriptor_ = -1;
  size_t size_ = 0;
};

// Asks for pages of 2 MB: weights are read once a pass, and the page tables' walks to their 4 KB pages are 7 % of a
// pass of 16 tokens (docs/PERFORMANCE.md). A wish: systems that cannot grant it go on with small pages.
void ask_for_huge_pages([[maybe_unused]] std::byte* begin, [[maybe_unused]] size_t size) {
#ifdef MADV_HUGEPAGE
  const int error = errno;
  const size_t page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  const size_t skipped = (page - reinterpret_cast<uintptr_t>(begin) % page) % page;  // madvise takes whole pages
  if (skipped < size) ::madvise(begin + skipped, (size - skipped) / page * page, MADV_HUGEPAGE);
  errno = error;
#endif
}

}  // namespace

MappedFile MappedFile::map(const std::filesystem::path& path) {
  const InputFile input(path);
  MappedFile file;
  if (input.size() == 0) return file;  // mmap refuses empty files; the format's check will name the fault
  void* address = ::mmap(nullptr, input.size(), PROT_READ, MAP_SHARED, input.descriptor(), 0);
  if (address == MAP_FAILED) input.fail("can't be mapped");
  ask_for_huge_pages(static_cast<std::byte*>(address), input.size());
  file.bytes_ = {static_cast<const std::byte*>(address), input.size()};
  file.mapped_ = true;
  return file;
}

MappedFile MappedFile::read(const std::filesystem::path& path) {
  const InputFile input(path);
  MappedFile file;
  file.buffer_ = AlignedBuffer(input.size());
  ask_for_huge_pages(file.buffer_.data(), input.size());
  // Linux reads at most 2^31 - 4096 bytes a call.
  constexpr size_t kMaxRead = size_t{1} << 30;
  for (size_t done = 0; done < input.size();) {
    const ssize_t got = ::read(input.descriptor(), file.buffer_.data() + done, std::min(kMaxRead, input.size() - done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) input.fail("can't be read");
    if (got == 0) input.fail_shorter(done);
    done += static_cast<size_t>(got);
  }
  file.bytes_ = {file.buffer_.data(), input.size()};
  return file;
}

MappedFile MappedFile::external(std::span<const std::byte> bytes) {
  MappedFile file;
  file.bytes_ = bytes;
  if (reinterpret_cast<uintptr_t>(bytes.data()) % static_cast<size_t>(AlignedBuffer::kAlignment) == 0) return file;
  file.buffer_ = AlignedBuffer(bytes.size());
  std::memcpy(file.buffer_.data(), bytes.data(), bytes.size());
  file.bytes_ = {file.buffer_.data(), bytes.size()};
  return file;
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : bytes_(std::exchange(other.bytes_, {})),
      mapped_(std::exchange(other.mapped_, false)),
      buffer_(std::move(other.buffer_)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(bytes_, other.bytes_);
  std::swap(mapped_, other.mapped_);
  std::swap(buffer_, other.buffer_);
  return *this;
}

MappedFile::~MappedFile() {
  if (mapped_) ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

}  // namespace octobert
