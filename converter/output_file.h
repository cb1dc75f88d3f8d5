// A file that appears under its name whole or not at all.
#ifndef OCTOBERT_CONVERTER_OUTPUT_FILE_H_
#define OCTOBERT_CONVERTER_OUTPUT_FILE_H_

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace octobert {

// Writes a temporary file beside `path`, which commit() gives its name. Throws Error(kIo) naming file and reason, also
// where `path` is there and no regular file (a folder, a device, a pipe).
class OutputFile {
 public:
  explicit OutputFile(const std::filesystem::path& path);
  // Removes the temporary file if it was not committed.
  ~OutputFile();
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  void append(std::span<const std::byte> bytes);
  // Replaces bytes at the start of what was written.
  void overwrite_start(std::span<const std::byte> bytes);
  // Everything on disk, then the name; then the folder's entry on disk. The file must not be used afterwards.
  void commit();

 private:
  [[noreturn]] void fail(const char* what) const;
  void flush();
  void write_all(std::span<const std::byte> bytes);

  std::filesystem::path path_, temporary_;
  int descriptor_ = -1;
  std::vector<std::byte> pending_;
};

}  // namespace octobert

#endif  // OCTOBERT_CONVERTER_OUTPUT_FILE_H_
