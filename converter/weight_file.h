// A file of named tensors: safetensors, or PyTorch's.
#ifndef OCTOBERT_CONVERTER_WEIGHT_FILE_H_
#define OCTOBERT_CONVERTER_WEIGHT_FILE_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

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
  uint64_t begin = 0;           // bytes, from the end of a safetensors header; elsewhere 0
  uint64_t end = 0;
};

std::string shape_text(std::span<const uint64_t> shape);  // "[384, 1536]"

// Immutable once open; reads may be made from many threads at once. Tensors are read row-major, little-endian.
class WeightFile {
 public:
  virtual ~WeightFile() = default;

  virtual const std::string& name() const = 0;
  virtual uint64_t file_bytes() const = 0;
  virtual std::span<const TensorInfo> tensors() const = 0;
  // `count` elements from `first` on, as they lie.
  virtual void read_elements(const TensorInfo& tensor, uint64_t first, uint64_t count, std::byte* dst) const = 0;

  const TensorInfo* find(std::string_view name) const;  // null if it is not there
  // Elements [first, first + dst.size()) of a tensor of floats, as fp32 (F64 rounded to nearest even), row-major.
  void read(const TensorInfo& tensor, uint64_t first, std::span<float> dst) const;
  // The tensor's bytes, all of them.
  std::vector<std::byte> read_bytes(const TensorInfo& tensor) const;

 protected:
  WeightFile() = default;
  WeightFile(WeightFile&&) = default;
  WeightFile& operator=(WeightFile&&) = default;
};

// IEEE 754 binary16 and bfloat16 to binary32, exact. Subnormals are kept whatever the floating-point mode is.
float f16_to_f32(uint16_t bits);
float bf16_to_f32(uint16_t bits);

}  // namespace octobert::converter

#endif  // OCTOBERT_CONVERTER_WEIGHT_FILE_H_
