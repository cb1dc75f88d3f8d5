#include <fmt/format.h>
#include <unistd.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <system_error>

#include "converter/safetensors.h"
#include "octobert/error.h"

namespace octobert::converter {
namespace {

std::string make_header(const std::filesystem::path& path, std::span<const TensorToWrite> tensors) {
  // By hand: an object of nlohmann's would sort the tensors by name, and the file is to have them in the given order.
  std::string header = "{";
  std::set<std::string_view> names;
  uint64_t offset = 0;
  for (const TensorToWrite& tensor : tensors) {
    uint64_t bytes = data_type_size(tensor.type);
    for (const uint64_t dimension : tensor.shape) bytes *= dimension;
    if (bytes != tensor.bytes.size() || !names.insert(tensor.name).second) {
      throw Error(
          ErrorCode::kInvalidInput,
          fmt::format("{}: tensor '{}': {} bytes given for {} of shape {}, or a name given twice", path.string(),
                      tensor.name, tensor.bytes.size(), data_type_name(tensor.type), shape_text(tensor.shape)));
    }
    header += fmt::format(R"({}{}:{{"dtype":"{}","shape":{},"data_offsets":[{},{}]}})", names.size() > 1 ? "," : "",
                          nlohmann::json(tensor.name).dump(), data_type_name(tensor.type), shape_text(tensor.shape),
                          offset, offset + bytes);
    offset += bytes;
  }
  header += "}";
  header.resize((header.size() + 7) / 8 * 8, ' ');
  return header;
}

void write_bytes(std::ofstream& out, const void* data, size_t bytes) {
  out.write(static_cast<const char*>(data), static_cast<std::streamsize>(bytes));
}

}  // namespace

void write_safetensors(const std::filesystem::path& path, std::span<const TensorToWrite> tensors) {
  const std::string header = make_header(path, tensors);
  const uint64_t header_bytes = header.size();
  const std::filesystem::path temporary =
      path.parent_path() / fmt::format(".{}.{}.tmp", path.filename().string(), ::getpid());
  std::ofstream out(temporary, std::ios::binary | std::ios::trunc);
  write_bytes(out, &header_bytes, sizeof(header_bytes));
  write_bytes(out, header.data(), header.size());
  for (const TensorToWrite& tensor : tensors) write_bytes(out, tensor.bytes.data(), tensor.bytes.size());
  out.close();
  std::error_code error;
  if (out) std::filesystem::rename(temporary, path, error);
  if (out && !error) return;
  const std::string reason = error ? error.message() : "the folder is not writable, or the disk is full";
  std::filesystem::remove(temporary, error);
  throw Error(ErrorCode::kIo, fmt::format("{}: cannot be written: {}", path.string(), reason));
}

}  // namespace octobert::converter
