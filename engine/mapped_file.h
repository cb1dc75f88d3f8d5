// The bytes of a file, mapped read-only or read into memory. The system's part of opening a model.
#ifndef OCTOBERT_ENGINE_MAPPED_FILE_H_
#define OCTOBERT_ENGINE_MAPPED_FILE_H_

#include <cstddef>
#include <filesystem>
#include <span>

#include "engine/aligned_buffer.h"

namespace octobert {

// Owns a mapping or a buffer, or refers to memory of the caller's. data() starts 64-byte aligned.
class MappedFile {
 public:
  // Maps a regular file; its pages are read when they are touched and shared with other processes. The mapping
  // survives the file's removal or replacement by rename; a file that is truncated in place kills the process that
  // touches the lost pages (SIGBUS), one that is overwritten in place changes under the reader.
  // Throws Error(kIo) naming the file and the system's reason.
  static MappedFile map(const std::filesystem::path& path);
  // Reads the whole file: what happens to it afterwards does not matter. Throws Error(kIo).
  static MappedFile read(const std::filesystem::path& path);
  // Memory of the caller's, which must outlive this; copied if it is not aligned.
  static MappedFile external(std::span<const std::byte> bytes);

  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  ~MappedFile();

  std::span<const std::byte> bytes() const { return bytes_; }

 private:
  MappedFile() = default;

  std::span<const std::byte> bytes_;
  bool mapped_ = false;   // bytes_ is a mapping to undo
  AlignedBuffer buffer_;  // or holds the bytes, or neither
};

}  // namespace octobert

#endif  // OCTOBERT_ENGINE_MAPPED_FILE_H_
