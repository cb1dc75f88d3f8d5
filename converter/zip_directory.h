// The entries of a zip archive that stores its files as they are, as torch.save writes it
// (https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT 4.3, Zip64 included).
#ifndef OCTOBERT_CONVERTER_ZIP_DIRECTORY_H_
#define OCTOBERT_CONVERTER_ZIP_DIRECTORY_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace octobert::converter {

struct ZipEntry {
  std::string name;
  uint64_t offset = 0;  // of its bytes in the archive
  uint64_t bytes = 0;
};

// Reads exactly `bytes` bytes at `offset`.
using ReadAt = std::function<void(uint64_t offset, void* dst, size_t bytes)>;

// Every entry lies inside the archive. Throws Error(kFormat) for a damaged or truncated archive, Error(kUnsupported)
// for compressed or encrypted entries.
std::vector<ZipEntry> read_zip_directory(uint64_t archive_bytes, const ReadAt& read, const std::string& source);

}  // namespace octobert::converter

#endif  // OCTOBERT_CONVERTER_ZIP_DIRECTORY_H_
