// Lines of a gzip'd text file.
#ifndef OCTOBERT_TESTS_GZ_LINES_H_
#define OCTOBERT_TESTS_GZ_LINES_H_

#include <zlib.h>

#include <filesystem>
#include <stdexcept>
#include <string>
#include <vector>

namespace octobert::test {

inline std::vector<std::string> gz_lines(const std::filesystem::path& path) {
  gzFile_s* const file = ::gzopen(path.c_str(), "rb");
  if (file == nullptr) throw std::runtime_error("cannot open " + path.string());
  std::string text;
  char buffer[1 << 16];
  int size;
  while ((size = ::gzread(file, buffer, sizeof(buffer))) > 0) text.append(buffer, static_cast<size_t>(size));
  if (::gzclose_r(file) != Z_OK || size < 0) throw std::runtime_error("cannot read " + path.string());
  std::vector<std::string> lines;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    lines.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return lines;
}

}  // namespace octobert::test

#endif  // OCTOBERT_TESTS_GZ_LINES_H_
