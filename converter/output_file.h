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

// Writes a file without a name (open(2), O_TMPFILE), or where the file system has none a temporary one beside `path`,
// which commit() gives its name: a process that is killed before leaves nothing behind, or the temporary file. Throws
// Error(kIo) naming file and reason, also where `path` is there and no regular file (a folder, a device, a pipe).
class OutputFile {
 public:
  explicit OutputFile(const std::filesystem::path& path);
  // Nothing is left if it was not committed.
  ~OutputFile();
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  void append(std::span<const std::byte> bytes);
  // Replaces bytes at the start of what was written.
  void overwrite_start(std::span<const std::byte> bytes);
  // Everything on disk, then the name; then the folder's entry on disk. The file must not be used afterwards.
  void commit();
  // Both, or neither: if the second can't be given its name, what had the first's has it again. (A process that is
  // killed between the two leaves that beside it, under a name that ends in .old0.) Neither must be used afterwards.
  static void commit_both(OutputFile& first, OutputFile& second);

 private:
  [[noreturn]] void fail(const char* what) const;
  // Makes a temporary name beside path_: tries names with make(name), which gives false and errno, until one is free.
  template <typename Make>
  void name_temporary(const char* what, Make make);
  void finish();     // everything on disk, under a temporary name
  void take_name();  // the temporary name becomes the real one
  std::string keep_old() const;
  void sync_folder();  // and that is on disk
  void flush();
  void write_all(std::span<const std::byte> bytes);

  std::filesystem::path path_, temporary_;  // temporary_: empty while the file has no name
  int descriptor_ = -1;
  std::vector<std::byte> pending_;
};

}  // namespace octobert

#endif  // OCTOBERT_CONVERTER_OUTPUT_FILE_H_
