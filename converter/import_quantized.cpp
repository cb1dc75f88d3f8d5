#include "converter/import_quantized.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <stdexcept>

#include "kernels/numerics.h"
#include "octobert/error.h"

namespace octobert::converter {
namespace {

using nlohmann::json;
using Part = QuantizerPart;

struct Suffix {
  std::string_view text;
  std::string_view in_its_place;  // what the module's name gets instead
  QuantizerPart part;
};

// The first that fits. Sources of the names: compressed-tensors and this project's training/ (weight_scale, ...);
// PyTorch eager mode, QAT (fake_quant, activation_post_process) and converted (scale, zero_point);
// NVIDIA pytorch-quantization (leading underscore) and ModelOpt.
constexpr Suffix kSuffixes[] = {
    {".weight_scale", "", Part::kWeightScale},
    {".weight_zero_point", "", Part::kWeightZeroPoint},
    {".weight_amax", "", Part::kWeightAmax},
    {".input_scale", "", Part::kInputScale},
    {".input_zero_point", "", Part::kInputZeroPoint},
    {".output_scale", "", Part::kOutputScale},
    {".output_zero_point", "", Part::kOutputZeroPoint},

    {".weight_fake_quant.scale", "", Part::kWeightScale},
    {".weight_fake_quant.zero_point", "", Part::kWeightZeroPoint},
    {".weight_fake_quant.fake_quant_enabled", "", Part::kUnused},
    {".weight_fake_quant.observer_enabled", "", Part::kUnused},
    {".activation_post_process.eps", "", Part::kUnused},  // observers: before those below, whose ends they share
    {".activation_post_process.min_val", "", Part::kUnused},
    {".activation_post_process.max_val", "", Part::kUnused},
    {".activation_post_process.fake_quant_enabled", "", Part::kUnused},
    {".activation_post_process.observer_enabled", "", Part::kUnused},
    {".activation_post_process.scale", "", Part::kOutputScale},
    {".activation_post_process.zero_point", "", Part::kOutputZeroPointUnsigned},
    {".scale", "", Part::kOutputScale},
    {".zero_point", "", Part::kOutputZeroPointUnsigned},

    {"._weight_quantizer._amax", "", Part::kWeightAmax},
    {".weight_quantizer._amax", "", Part::kWeightAmax},
    {"._input_quantizer._amax", "", Part::kInputAmax},
    {".input_quantizer._amax", "", Part::kInputAmax},
    {"._input_quantizer._pre_quant_scale", "", Part::kPreQuantScale},
    {".input_quantizer._pre_quant_scale", "", Part::kPreQuantScale},
    // What attention's products read, by the layer that makes it.
    {".matmul_q_input_quantizer._amax", ".query", Part::kOutputAmax},
    {".matmul_k_input_quantizer._amax", ".key", Part::kOutputAmax},
    {".matmul_v_input_quantizer._amax", ".value", Part::kOutputAmax},
    {".q_bmm_quantizer._amax", ".query", Part::kOutputAmax},
    {".k_bmm_quantizer._amax", ".key", Part::kOutputAmax},
    {".v_bmm_quantizer._amax", ".value", Part::kOutputAmax},
    // Probabilities are on 255 levels of their own here, sums and GELU in floats.
    {".matmul_a_input_quantizer._amax", "", Part::kUnused},
    {".softmax_quantizer._amax", "", Part::kUnused},
    {".add_local_input_quantizer._amax", "", Part::kUnused},
    {".add_residual_input_quantizer._amax", "", Part::kUnused},
    {".intermediate_act_fn_input_quantizer._amax", "", Part::kUnused},
    {"_aftergemm_quantizer._amax", "", Part::kUnused},
    {".output_quantizer._amax", "", Part::kUnused},
};

struct OtherTool {
  std::string_view sign;  // anywhere in a tensor's name
  std::string_view tool;
};
constexpr OtherTool kOtherTools[] = {
    {"__nncf_hooks.", "NNCF"},
    {"_nncf.", "NNCF"},
    {"nncf_module.", "NNCF"},
    {".pre_ops.", "NNCF"},
    {".tensor_quant.", "Brevitas"},
    {".weight_quant.", "Brevitas"},
    {".input_quant.", "Brevitas"},
    {".act_quant.", "Brevitas"},
    {"_quantized_scale", "ONNX"},
    {"_QuantizeLinear", "ONNX"},
    {"._weight_quantizer.clip.", "pytorch-quantization with learned clips"},
    {"._input_quantizer.clip.", "pytorch-quantization with learned clips"},
    {".weight_packed", "compressed-tensors with packed weights"},
    {".weight_g_idx", "compressed-tensors with reordered weights"},
    {".qweight", "GPTQ or AWQ"},
    {".qzeros", "GPTQ or AWQ"},
};

std::string excerpt(const json& value) { return value.dump().substr(0, 80); }

[[noreturn]] void refuse(const std::string& source, const std::string& key, const json& found,
                         std::string_view expected) {
  throw Error(ErrorCode::kUnsupported, fmt::format("{}: quantization_config: {}: {} is not supported by this version "
                                                   "(expected {})",
                                                   source, key, excerpt(found), expected));
}

// A field of a quantization scheme, null if it is not there.
const json& field(const json& object, const char* key) {
  static const json kNull;
  const auto found = object.find(key);
  return found == object.end() ? kNull : *found;
}

void check_tensor_scheme(const json& scheme, const std::string& key, bool weights, const std::string& source) {
  if (!scheme.is_object()) refuse(source, key, scheme, "an object");
  const auto require = [&](const char* name, std::initializer_list<json> allowed, std::string_view expected) {
    const json& value = field(scheme, name);
    if (std::find(allowed.begin(), allowed.end(), value) == allowed.end()) {
      refuse(source, key + "." + name, value, expected);
    }
  };
  require("num_bits", {8}, "8");
  require("type", {"int"}, "int");
  if (weights) {
    require("symmetric", {true, nullptr}, "true: weights have no zero point");
    require("strategy", {"channel", "tensor"}, "channel or tensor");
  } else {
    require("strategy", {"token", "tensor"}, "token or tensor");
  }
}

}  // namespace

std::optional<QuantizerTensor> quantizer_tensor(std::string_view plain_name, const std::string& source) {
  for (const OtherTool& other : kOtherTools) {
    if (plain_name.find(other.sign) == std::string_view::npos) continue;
    throw Error(ErrorCode::kUnsupported,
                fmt::format("{}: tensor '{}' is a quantizer of {}, which is not supported by this version (supported: "
                            "compressed-tensors with int8, pytorch-quantization, ModelOpt, PyTorch eager mode, and "
                            "this project's training). The float model can be converted",
                            source, plain_name, other.tool));
  }
  for (const Suffix& suffix : kSuffixes) {
    if (!plain_name.ends_with(suffix.text)) continue;
    std::string module(plain_name.substr(0, plain_name.size() - suffix.text.size()));
    return QuantizerTensor{module + std::string(suffix.in_its_place), suffix.part};
  }
  return std::nullopt;
}

void check_quantization_config(const json& config, const std::string& source) {
  if (!config.is_object()) refuse(source, "its value", config, "an object");
  const json& method = field(config, "quant_method");
  if (method != "compressed-tensors") refuse(source, "quant_method", method, "compressed-tensors");
  const json& format = field(config, "format");
  if (format != "int-quantized" && format != "naive-quantized") {
    refuse(source, "format", format, "int-quantized or naive-quantized");
  }
  const json& groups = field(config, "config_groups");
  if (!groups.is_object() || groups.empty()) refuse(source, "config_groups", groups, "groups of quantized layers");
  for (const auto& [name, group] : groups.items()) {
    const std::string key = "config_groups." + name;
    if (!group.is_object()) refuse(source, key, group, "an object");
    check_tensor_scheme(field(group, "weights"), key + ".weights", true, source);
    if (const json& inputs = field(group, "input_activations"); !inputs.is_null()) {
      check_tensor_scheme(inputs, key + ".input_activations", false, source);
    }
    if (const json& outputs = field(group, "output_activations"); !outputs.is_null()) {
      refuse(source, key + ".output_activations", outputs, "null");
    }
  }
  if (const json& cache = field(config, "kv_cache_scheme"); !cache.is_null()) {
    refuse(source, "kv_cache_scheme", cache, "null");
  }
}

void ImportedQuantization::add(const std::string& module, QuantizerPart part, const WeightFile& file,
                               const TensorInfo& info) {
  Source& place = modules_[module][static_cast<size_t>(part)];
  if (place.info) {
    throw Error(ErrorCode::kFormat,
                fmt::format("{}: tensors '{}' and '{}' say the same", file.name(), place.info->name, info.name));
  }
  place = {&file, &info};
}

const ImportedQuantization::Source* ImportedQuantization::find(std::string_view module, QuantizerPart part) const {
  const auto found = modules_.find(std::string(module));
  if (found == modules_.end()) return nullptr;
  const Source& source = found->second[static_cast<size_t>(part)];
  return source.info ? &source : nullptr;
}

bool ImportedQuantization::has_scale(std::string_view module) const {
  return find(module, Part::kWeightScale) || find(module, Part::kWeightAmax);
}

namespace {

[[noreturn]] void fail(const WeightFile& file, const TensorInfo& info, const std::string& problem) {
  throw Error(ErrorCode::kFormat, fmt::format("{}: tensor '{}': {}", file.name(), info.name, problem));
}

// The values of a vector over `count` channels, in any of the shapes that such vectors are stored in; one value for
// all is repeated.
std::vector<float> read_channels(const WeightFile& file, const TensorInfo& info, uint64_t count) {
  if (!is_floating(info.type)) fail(file, info, fmt::format("expected floats, found {}", data_type_name(info.type)));
  if (info.elements != 1 && info.elements != count) {
    fail(file, info, fmt::format("expected 1 or {} values, found shape {}", count, shape_text(info.shape)));
  }
  std::vector<float> values(static_cast<size_t>(info.elements));
  file.read(info, 0, values);
  values.resize(static_cast<size_t>(count), values.front());
  return values;
}

void require_positive(const WeightFile& file, const TensorInfo& info, std::span<const float> values) {
  const auto bad = std::find_if(values.begin(), values.end(),
                                [](float v) { return !(v > 0) || !std::isfinite(v) || !std::isfinite(1 / v); });
  if (bad == values.end()) return;
  fail(file, info,
       fmt::format("value {} at [{}]: expected finite, above 0, and so its inverse", *bad, bad - values.begin()));
}

std::vector<int64_t> read_integers(const WeightFile& file, const TensorInfo& info) {
  const std::vector<std::byte> bytes = file.read_bytes(info);
  std::vector<int64_t> values(static_cast<size_t>(info.elements));
  const auto convert = [&]<typename T>(T value) {
    for (size_t i = 0; i < values.size(); ++i) {
      std::memcpy(&value, bytes.data() + i * sizeof(T), sizeof(T));
      values[i] = static_cast<int64_t>(value);  // NOLINT(bugprone-signed-char-misuse): an int8 is a number here
    }
  };
  switch (info.type) {
    case DataType::kI64:
      convert(int64_t{});
      break;
    case DataType::kI32:
      convert(int32_t{});
      break;
    case DataType::kI16:
      convert(int16_t{});
      break;
    case DataType::kI8:
      convert(int8_t{});
      break;
    case DataType::kU8:
      convert(uint8_t{});
      break;
    default:
      fail(file, info, fmt::format("expected integers, found {}", data_type_name(info.type)));
  }
  return values;
}

// round_to_i8 of docs/NUMERICS.md.
int8_t round_to_i8(float x) {
  x = x > -127.0f ? x : -127.0f;
  x = x < 127.0f ? x : 127.0f;
  constexpr float kUnitUlp = 12582912.0f;  // 1.5 * 2^23: see converter/quantize.cpp
  return static_cast<int8_t>(std::bit_cast<uint32_t>(x + kUnitUlp));
}

}  // namespace

void ImportedQuantization::weight_scale(const std::string& module, uint64_t rows, uint64_t first,
                                        std::span<float> scale) const {
  if (const Source* zero = find(module, Part::kWeightZeroPoint)) {
    const std::vector<int64_t> points = read_integers(*zero->file, *zero->info);
    if (std::any_of(points.begin(), points.end(), [](int64_t point) { return point != 0; })) {
      throw Error(ErrorCode::kUnsupported,
                  fmt::format("{}: tensor '{}': weights with a zero point other than 0 are not "
                              "supported by this version",
                              zero->file->name(), zero->info->name));
    }
  }
  const Source* stored = find(module, Part::kWeightScale);
  const Source* source = stored ? stored : find(module, Part::kWeightAmax);
  if (!source) throw std::logic_error(module + ": has_scale() was not asked");
  const std::vector<float> all = read_channels(*source->file, *source->info, rows);
  std::copy_n(all.begin() + static_cast<ptrdiff_t>(first), scale.size(), scale.begin());
  if (stored) {
    require_positive(*source->file, *source->info, scale);
    return;
  }
  for (float& value : scale) {
    if (!(value >= 0) || !std::isfinite(value)) {
      fail(*source->file, *source->info, fmt::format("value {}: expected finite and not negative", value));
    }
    value = value < numerics::kTinyAbsMax ? 1.0f : value / 127.0f;
  }
}

void ImportedQuantization::quantize_rows(const std::string& module, uint64_t rows, uint64_t first,
                                         std::span<const float> w, std::span<int8_t> q, std::span<float> scale) const {
  weight_scale(module, rows, first, scale);
  std::vector<float> amax;
  if (!find(module, Part::kWeightScale)) {
    const Source* source = find(module, Part::kWeightAmax);
    amax = read_channels(*source->file, *source->info, rows);
  }
  const size_t columns = w.size() / scale.size();
  for (size_t i = 0; i < scale.size(); ++i) {
    float inverse = 1.0f / scale[i];
    if (!amax.empty()) {
      const float largest = amax[static_cast<size_t>(first) + i];
      inverse = largest < numerics::kTinyAbsMax ? 0.0f : 127.0f / largest;
    }
    for (size_t k = 0; k < columns; ++k) q[i * columns + k] = round_to_i8(w[i * columns + k] * inverse);
  }
}

std::vector<float> ImportedQuantization::pre_quant_scale(const std::string& module, uint64_t columns) const {
  const Source* source = find(module, Part::kPreQuantScale);
  if (!source) return {};
  std::vector<float> scale = read_channels(*source->file, *source->info, columns);
  require_positive(*source->file, *source->info, scale);
  return scale;
}

float ImportedQuantization::read_scalar(const Source& source) const {
  const float value = read_channels(*source.file, *source.info, 1).front();
  require_positive(*source.file, *source.info, std::span(&value, 1));
  return value;
}

int32_t ImportedQuantization::read_zero_point(const Source& source) const {
  const std::vector<int64_t> values = read_integers(*source.file, *source.info);
  if (values.size() != 1 || values[0] < -128 || values[0] > 255) {
    fail(*source.file, *source.info, "expected one zero point from -128 to 255");
  }
  return static_cast<int32_t>(values[0]);
}

std::optional<ImportedRange> ImportedQuantization::range(const std::string& module, QuantizerPart scale,
                                                         QuantizerPart zero_point, QuantizerPart amax) const {
  if (const Source* source = find(module, scale)) {
    const Source* zero = find(module, zero_point);
    return ImportedRange{read_scalar(*source), zero ? read_zero_point(*zero) : 0};
  }
  if (const Source* source = find(module, amax)) return ImportedRange{read_scalar(*source) / 127.0f, 0};
  return std::nullopt;
}

std::optional<ImportedRange> ImportedQuantization::input(const std::string& module) const {
  return range(module, Part::kInputScale, Part::kInputZeroPoint, Part::kInputAmax);
}

std::optional<ImportedRange> ImportedQuantization::output(const std::string& module) const {
  std::optional<ImportedRange> result = range(module, Part::kOutputScale, Part::kOutputZeroPoint, Part::kOutputAmax);
  const Source* zero = find(module, Part::kOutputZeroPointUnsigned);
  if (result && zero) result->zero_point = read_zero_point(*zero) - 128;
  return result;
}

std::vector<float> ImportedQuantization::output_scales(const std::string& module, uint64_t count) const {
  for (const Part part : {Part::kOutputZeroPoint, Part::kOutputZeroPointUnsigned}) {
    const Source* zero = find(module, part);
    const int32_t centre = part == Part::kOutputZeroPoint ? 0 : 128;
    if (zero && read_zero_point(*zero) != centre) return {};
  }
  const Source* scale = find(module, Part::kOutputScale);
  const Source* source = scale ? scale : find(module, Part::kOutputAmax);
  if (!source) return {};
  std::vector<float> values = read_channels(*source->file, *source->info, count);
  require_positive(*source->file, *source->info, values);
  for (float& value : values) value = scale ? value : value / 127.0f;
  return values;
}

size_t replace_minus_128(std::span<int8_t> q) {
  const auto count = static_cast<size_t>(std::count(q.begin(), q.end(), int8_t{-128}));
  std::replace(q.begin(), q.end(), int8_t{-128}, int8_t{-127});
  return count;
}

}  // namespace octobert::converter
