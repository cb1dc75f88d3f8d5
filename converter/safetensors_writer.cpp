#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <set>

#include "converter/output_file.h"
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

}  // namespace

void write_safetensors(const std::filesystem::path& path, std::span<const TensorToWrite> tensors) {
  const std::string header = make_header(path, tensors);
  const uint64_t header_bytes = header.size();
  OutputFile out(path);
  out.append(std::as_bytes(std::span(&header_bytes, 1)));
  out.append(std::as_bytes(std::span(header)));
  for (const TensorToWrite& tensor : tensors) out.append(tensor.bytes);
  out.commit();
}

}  // namespace octobert::converter
