// A file read at any offset by any thread (pread). Checkpoints are read, not mapped: a weight is looked at once, and
// pages of a mapping would stay resident, so that a conversion's memory would grow with the model.
#ifndef OCTOBERT_CONVERTER_INPUT_FILE_H_
#define OCTOBERT_CONVERTER_INPUT_FILE_H_

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>

namespace octobert::converter {

class InputFile {
 public:
  // Throws Error(kIo) naming the file if it cannot be opened or is not a regular file.
  explicit InputFile(const std::filesystem::path& path);
  ~InputFile();
  InputFile(InputFile&& other) noexcept;
  InputFile& operator=(InputFile&&) = delete;

  uint64_t size() const { return size_; }
  const std::string& name() const { return name_; }

  // Exactly `bytes` bytes from `offset`. Throws Error(kIo) if they cannot be had (the file shrank). Thread-safe.
  void read(uint64_t offset, void* dst, size_t bytes) const;

 private:
  std::string name_;
  int descriptor_ = -1;
  uint64_t size_ = 0;
};

}  // namespace octobert::converter

#endif  // OCTOBERT_CONVERTER_INPUT_FILE_H_
