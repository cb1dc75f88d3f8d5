#include "converter/weight_file.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "octobert/error.h"

namespace octobert::converter {
namespace {

static_assert(std::endian::native == std::endian::little,
              "tensors are read as they lie, and the formats are little-endian");

struct DataTypeRow {
  std::string_view name;
  size_t size;
  bool floating;
};
// In the order of DataType.
constexpr std::array<DataTypeRow, 10> kDataTypes{{{"F64", 8, true},
                                                  {"F32", 4, true},
                                                  {"F16", 2, true},
                                                  {"BF16", 2, true},
                                                  {"I64", 8, false},
                                                  {"I32", 4, false},
                                                  {"I16", 2, false},
                                                  {"I8", 1, false},
                                                  {"U8", 1, false},
                                                  {"BOOL", 1, false}}};

const DataTypeRow& row(DataType type) { return kDataTypes[static_cast<size_t>(type)]; }

void convert_to_f32(DataType type, const std::byte* src, std::span<float> dst) {
  const auto load = [src]<typename T>(size_t i, T value) {
    std::memcpy(&value, src + i * sizeof(T), sizeof(T));
    return value;
  };
  switch (type) {
    case DataType::kF64:
      for (size_t i = 0; i < dst.size(); ++i) dst[i] = static_cast<float>(load(i, double{}));
      return;
    case DataType::kF16:
      for (size_t i = 0; i < dst.size(); ++i) dst[i] = f16_to_f32(load(i, uint16_t{}));
      return;
    case DataType::kBF16:
      for (size_t i = 0; i < dst.size(); ++i) dst[i] = bf16_to_f32(load(i, uint16_t{}));
      return;
    default:
      std::memcpy(dst.data(), src, dst.size_bytes());
  }
}

}  // namespace

std::string_view data_type_name(DataType type) { return row(type).name; }
size_t data_type_size(DataType type) { return row(type).size; }
bool is_floating(DataType type) { return row(type).floating; }

std::string shape_text(std::span<const uint64_t> shape) { return fmt::format("[{}]", fmt::join(shape, ", ")); }

float f16_to_f32(uint16_t bits) {
  const uint32_t sign = (bits & 0x8000u) << 16;
  const uint32_t exponent = (bits >> 10) & 0x1fu;
  uint32_t fraction = bits & 0x3ffu;
  if (exponent == 0x1f) return std::bit_cast<float>(sign | 0x7f800000u | (fraction << 13));
  if (exponent != 0) return std::bit_cast<float>(sign | ((exponent + 112) << 23) | (fraction << 13));  // bias 127 - 15
  if (fraction == 0) return std::bit_cast<float>(sign);
  // Subnormal, fraction * 2^-24: the leading one moves to bit 10, where the format's implicit one is.
  const auto shift = static_cast<uint32_t>(std::countl_zero(fraction)) - 21;
  fraction = (fraction << shift) & 0x3ffu;
  return std::bit_cast<float>(sign | ((113 - shift) << 23) | (fraction << 13));
}

float bf16_to_f32(uint16_t bits) { return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16); }

const TensorInfo* WeightFile::find(std::string_view name) const {
  const std::span<const TensorInfo> all = tensors();
  const auto found =
      std::find_if(all.begin(), all.end(), [name](const TensorInfo& tensor) { return tensor.name == name; });
  return found == all.end() ? nullptr : &*found;
}

void WeightFile::read(const TensorInfo& tensor, uint64_t first, std::span<float> dst) const {
  if (!is_floating(tensor.type)) {
    throw Error(ErrorCode::kFormat, fmt::format("{}: tensor '{}': expected F32, F16, BF16 or F64, found {}", name(),
                                                tensor.name, data_type_name(tensor.type)));
  }
  if (first > tensor.elements || dst.size() > tensor.elements - first) {
    throw Error(ErrorCode::kInvalidInput, fmt::format("{}: tensor '{}': elements [{}, {}) asked for, it has {}", name(),
                                                      tensor.name, first, first + dst.size(), tensor.elements));
  }
  if (tensor.type == DataType::kF32) {
    return read_elements(tensor, first, dst.size(), std::as_writable_bytes(dst).data());
  }
  // Through a small buffer, which stays in the cache.
  std::array<std::byte, size_t{1} << 16> buffer;
  const size_t chunk = buffer.size() / data_type_size(tensor.type);
  for (size_t done = 0; done < dst.size(); done += chunk) {
    const std::span<float> part = dst.subspan(done, std::min(chunk, dst.size() - done));
    read_elements(tensor, first + done, part.size(), buffer.data());
    convert_to_f32(tensor.type, buffer.data(), part);
  }
}

std::vector<std::byte> WeightFile::read_bytes(const TensorInfo& tensor) const {
  std::vector<std::byte> bytes(static_cast<size_t>(tensor.elements) * data_type_size(tensor.type));
  read_elements(tensor, 0, tensor.elements, bytes.data());
  return bytes;
}

}  // namespace octobert::converter
