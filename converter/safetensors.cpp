#include "converter/safetensors.h"

#include <fmt/format.h>

#include <algorithm>

#include "octobert/error.h"

namespace octobert::converter {
namespace {

// The reference's bound on the header, "to prevent parsing extremely large JSON".
constexpr uint64_t kMaxHeaderBytes = 100'000'000;

}  // namespace

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path) : file_(path) {
  uint64_t header_bytes = 0;
  if (file_.size() < sizeof(header_bytes)) {
    throw Error(ErrorCode::kFormat,
                fmt::format("{}: {} bytes are too few for a safetensors file", name(), file_.size()));
  }
  file_.read(0, &header_bytes, sizeof(header_bytes));
  const uint64_t left = file_.size() - sizeof(header_bytes);
  if (header_bytes > std::min(left, kMaxHeaderBytes)) {
    throw Error(ErrorCode::kFormat,
                fmt::format("{}: not a safetensors file, or truncated: header length {}, expected at "
                            "most {}",
                            name(), header_bytes, std::min(left, kMaxHeaderBytes)));
  }
  std::string json(static_cast<size_t>(header_bytes), '\0');
  file_.read(sizeof(header_bytes), json.data(), json.size());
  header_ = parse_safetensors_header(json, left - header_bytes, name());
  data_offset_ = sizeof(header_bytes) + header_bytes;
}

void SafetensorsFile::read_elements(const TensorInfo& tensor, uint64_t first, uint64_t count, std::byte* dst) const {
  const size_t width = data_type_size(tensor.type);
  file_.read(data_offset_ + tensor.begin + first * width, dst, static_cast<size_t>(count) * width);
}

}  // namespace octobert::converter
