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

namespace octobert::converter {

enum class DataType { kF64, kF32, kF16, kBF16, kI64, kI32, kI16, kI8, kU8, kBool };

std::string_view data_type_name(DataType type);  // "F32"
size_t data_type_size(DataType type);            // bytes of an element
bool is_floating(DataType type);

struct TensorInfo {
  std::string name;
  DataType type = DataType::kF32;
  std::vector<uint64_t> shape;  // empty for a scalar
  uint64_t elements = 0;        // product of the shape
  uint64_t begin = 0;           // bytes, from the end of the header
  uint64_t end = 0;
};

std::string shape_text(std::span<const uint64_t> shape);  // "[384, 1536]"

struct SafetensorsHeader {
  std::vector<TensorInfo> tensors;              // in the order of the file
  std::map<std::string, std::string> metadata;  // __metadata__
};

// The JSON header of a file with `data_bytes` bytes after it. Refused, as the reference refuses them: a first byte
// other than '{', duplicate keys, fields missing or of the wrong type, sizes that overflow or differ from the shape's,
// tensors that overlap, leave a hole or miss the end of the file. Also refused: unknown fields, and data types other
// than those of DataType. Throws Error(kFormat, kUnsupported) naming `source` and the tensor.
SafetensorsHeader parse_safetensors_header(std::string_view json, uint64_t data_bytes, const std::string& source);

// An open file whose header is checked. Immutable; reads may be made from many threads at once.
class SafetensorsFile {
 public:
  explicit SafetensorsFile(const std::filesystem::path& path);

  const std::string& name() const { return file_.name(); }
  uint64_t file_bytes() const { return file_.size(); }
  std::span<const TensorInfo> tensors() const { return header_.tensors; }
  const TensorInfo* find(std::string_view name) const;  // null if it is not there

  // Elements [first, first + dst.size()) of a tensor of floats, as fp32 (F64 rounded to nearest even), row-major.
  void read(const TensorInfo& tensor, uint64_t first, std::span<float> dst) const;
  // The tensor's bytes as they lie.
  std::vector<std::byte> read_bytes(const TensorInfo& tensor) const;

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

// IEEE 754 binary16 and bfloat16 to binary32, exact. Subnormals are kept whatever the floating-point mode is.
float f16_to_f32(uint16_t bits);
float bf16_to_f32(uint16_t bits);

}  // namespace octobert::converter

#endif  // OCTOBERT_CONVERTER_SAFETENSORS_H_
