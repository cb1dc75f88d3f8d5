// The JSON header of a safetensors file: syntax by nlohmann's SAX parser, which reports a key before its value is
// stored and so shows duplicates; then sizes and extents.
#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <utility>

#include "converter/safetensors.h"
#include "octobert/error.h"

namespace octobert::converter {
namespace {

using nlohmann::json;

[[noreturn]] void fail_tensor(const std::string& source, std::string_view tensor, const std::string& problem) {
  throw Error(ErrorCode::kFormat, fmt::format("{}: tensor '{}': {}", source, tensor, problem));
}

std::optional<DataType> parse_data_type(std::string_view name) {
  for (int i = 0; i <= static_cast<int>(DataType::kBool); ++i) {
    if (name == data_type_name(static_cast<DataType>(i))) return static_cast<DataType>(i);
  }
  return std::nullopt;
}

// {"name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, ..., "__metadata__": {"key": "value", ...}}
class HeaderHandler : public nlohmann::json_sax<json> {
 public:
  explicit HeaderHandler(const std::string& source) : source_(source) {}
  SafetensorsHeader take() { return std::move(header_); }

  bool start_object(size_t /*elements*/) override {
    if (depth_ == 2 || in_array_) unexpected("an object");
    ++depth_;
    return true;
  }

  bool end_object() override {
    if (depth_ == 2 && !in_metadata_) finish_tensor();
    --depth_;
    return true;
  }

  bool key(string_t& name) override {
    if (depth_ == 1) {
      if (!names_.insert(name).second) fail(fmt::format("key '{}' appears twice", name));
      in_metadata_ = name == "__metadata__";
      tensor_ = TensorInfo();
      tensor_.name = name;
      fields_.clear();
    } else if (!fields_.insert(name).second) {
      fail_tensor(source_, tensor_.name, fmt::format("key '{}' appears twice", name));
    }
    field_ = name;
    if (depth_ == 2 && !in_metadata_ && field_ != "dtype" && field_ != "shape" && field_ != "data_offsets") {
      fail_tensor(source_, tensor_.name, fmt::format("unknown field '{}'", name));
    }
    return true;
  }

  bool string(string_t& value) override {
    if (depth_ != 2 || in_array_) unexpected("a string");
    if (in_metadata_) {
      header_.metadata.emplace(field_, value);
      return true;
    }
    if (field_ != "dtype") unexpected("a string");
    const std::optional<DataType> type = parse_data_type(value);
    if (!type) {
      throw Error(
          ErrorCode::kUnsupported,
          fmt::format("{}: tensor '{}': data type '{}' is not supported: expected F64, F32, F16, BF16, I64, I32, "
                      "I16, I8, U8 or BOOL",
                      source_, tensor_.name, value));
    }
    tensor_.type = *type;
    return true;
  }

  bool start_array(size_t /*elements*/) override {
    if (depth_ != 2 || in_metadata_ || in_array_ || field_ == "dtype") unexpected("an array");
    in_array_ = true;
    numbers_.clear();
    return true;
  }

  bool end_array() override {
    in_array_ = false;
    if (field_ == "shape") {
      tensor_.shape = numbers_;
    } else {
      if (numbers_.size() != 2) {
        fail_tensor(source_, tensor_.name, fmt::format("data_offsets: expected 2 numbers, found {}", numbers_.size()));
      }
      tensor_.begin = numbers_[0];
      tensor_.end = numbers_[1];
    }
    return true;
  }

  bool number_unsigned(number_unsigned_t value) override {
    if (!in_array_) unexpected("a number");
    numbers_.push_back(value);
    return true;
  }

  bool null() override { unexpected("null"); }
  bool boolean(bool /*value*/) override { unexpected("a boolean"); }
  bool number_integer(number_integer_t /*value*/) override { unexpected("a negative number"); }
  bool number_float(number_float_t /*value*/, const string_t& text) override { unexpected(text); }
  bool binary(binary_t& /*value*/) override { unexpected("binary data"); }
  bool parse_error(size_t /*position*/, const std::string& /*token*/, const nlohmann::detail::exception& e) override {
    fail(fmt::format("not valid JSON: {}", e.what()));
  }

 private:
  [[noreturn]] void fail(const std::string& problem) const {
    throw Error(ErrorCode::kFormat, fmt::format("{}: safetensors header: {}", source_, problem));
  }

  [[noreturn]] void unexpected(const std::string& found) const {
    if (depth_ == 0) fail(fmt::format("expected an object, found {}", found));
    if (depth_ == 1) fail_tensor(source_, tensor_.name, fmt::format("expected an object, found {}", found));
    if (in_metadata_) fail(fmt::format("__metadata__ field '{}': expected a string, found {}", field_, found));
    fail_tensor(source_, tensor_.name,
                fmt::format("field '{}': expected {}, found {}", field_,
                            field_ == "dtype" ? "a string" : "an array of non-negative integers below 2^64", found));
  }

  void finish_tensor() {
    for (const char* field : {"dtype", "shape", "data_offsets"}) {
      if (!fields_.contains(field)) fail_tensor(source_, tensor_.name, fmt::format("field '{}' is missing", field));
    }
    header_.tensors.push_back(std::move(tensor_));
  }

  const std::string& source_;
  SafetensorsHeader header_;
  std::set<std::string> names_, fields_;
  TensorInfo tensor_;
  std::string field_;
  std::vector<uint64_t> numbers_;
  int depth_ = 0;  // of objects: 1 the header, 2 a tensor or the metadata
  bool in_metadata_ = false, in_array_ = false;
};

SafetensorsHeader parse_json(std::string_view text, const std::string& source) {
  // The format wants '{' first (no white space before it) and allows spaces after the last '}'.
  if (text.empty() || text.front() != '{') {
    throw Error(ErrorCode::kFormat, fmt::format("{}: safetensors header: expected '{{' as its first byte", source));
  }
  HeaderHandler handler(source);
  json::sax_parse(text, &handler);
  return handler.take();
}

void check_sizes(const TensorInfo& tensor, const std::string& source) {
  uint64_t bytes = data_type_size(tensor.type);
  for (const uint64_t dimension : tensor.shape) {
    if (dimension != 0 && bytes > std::numeric_limits<uint64_t>::max() / dimension)
      fail_tensor(source, tensor.name, fmt::format("shape {} overflows 64 bits", shape_text(tensor.shape)));
    bytes *= dimension;
  }
  if (tensor.end < tensor.begin || tensor.end - tensor.begin != bytes) {
    fail_tensor(source, tensor.name,
                fmt::format("expected {} bytes for {} of shape {}, found data_offsets [{}, {}]", bytes,
                            data_type_name(tensor.type), shape_text(tensor.shape), tensor.begin, tensor.end));
  }
}

// Sorted by offset they must follow each other without hole or overlap, from 0 to the end of the file.
void check_extents(std::span<const TensorInfo> sorted, uint64_t data_bytes, const std::string& source) {
  uint64_t expected = 0;
  for (const TensorInfo& tensor : sorted) {
    if (tensor.begin != expected) {
      fail_tensor(source, tensor.name,
                  fmt::format("data_offsets [{}, {}] {}: expected to begin at {}", tensor.begin, tensor.end,
                              tensor.begin < expected ? "overlap another tensor" : "leave a hole", expected));
    }
    expected = tensor.end;
  }
  if (expected != data_bytes) {
    throw Error(ErrorCode::kFormat,
                fmt::format("{}: the tensors' data_offsets end at {}, but {} bytes follow the header{}", source,
                            expected, data_bytes, expected > data_bytes ? " (the file is truncated)" : ""));
  }
}

}  // namespace

SafetensorsHeader parse_safetensors_header(std::string_view json, uint64_t data_bytes, const std::string& source) {
  SafetensorsHeader header = parse_json(json, source);
  for (TensorInfo& tensor : header.tensors) {
    check_sizes(tensor, source);
    tensor.elements = (tensor.end - tensor.begin) / data_type_size(tensor.type);
  }
  // Empty tensors share their begin with the one after them: they come first.
  std::sort(header.tensors.begin(), header.tensors.end(), [](const TensorInfo& a, const TensorInfo& b) {
    return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
  });
  check_extents(header.tensors, data_bytes, source);
  return header;
}

}  // namespace octobert::converter
