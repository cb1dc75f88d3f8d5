// Reader and writer of safetensors files (https://github.com/huggingface/safetensors, format of 0.3 and later):
// uint64 header length, a JSON header, tensor bytes; little-endian.
#ifndef OCTOBERT_CONVERTER_SAFETENSORS_H_
#define OCTOBERT_CONVERTER_SAFETENSORS_H_

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "converter/input_file.h"
#include "converter/weight_file.h"

namespace octobert::converter {

struct SafetensorsHeader {
  std::vector<TensorInfo> tensors;              // in the order of the file
  std::map<std::string, std::string> metadata;  // __metadata__
};

// The JSON header of a file with `data_bytes` bytes after it. Refused, as the reference refuses them: a first byte
// other than '{', duplicate keys, fields missing or of the wrong type, sizes that overflow or differ from the shape's,
// tensors that overlap, leave a hole or miss the end of the file. Also refused: unknown fields, and data types other
// than those of DataType. Throws Error(kFormat, kUnsupported) naming `source` and the tensor.
SafetensorsHeader parse_safetensors_header(std::string_view json, uint64_t data_bytes, const std::string& source);

// An open file whose header is checked.
class SafetensorsFile final : public WeightFile {
 public:
  explicit SafetensorsFile(const std::filesystem::path& path);

  const std::string& name() const override { return file_.name(); }
  uint64_t file_bytes() const override { return file_.size(); }
  std::span<const TensorInfo> tensors() const override { return header_.tensors; }
  const std::map<std::string, std::string>& metadata() const { return header_.metadata; }
  void read_elements(const TensorInfo& tensor, uint64_t first, uint64_t count, std::byte* dst) const override;

 private:
  InputFile file_;
  SafetensorsHeader header_;
  uint64_t data_offset_ = 0;
};

struct TensorToWrite {
  std::string name;
  DataType type = DataType::kF32;
  std::vector<uint64_t> shape;
  std::span<const std::byte> bytes;  // what type and shape need
};

// Writes a file that the reference reads: header padded to a multiple of 8, tensors in the given order. The file
// appears under its name when it is complete. Throws Error(kIo), and Error(kInvalidInput) for a duplicate name or
// bytes that do not match the shape.
void write_safetensors(const std::filesystem::path& path, std::span<const TensorToWrite> tensors);

}  // namespace octobert::converter

#endif  // OCTOBERT_CONVERTER_SAFETENSORS_H_
