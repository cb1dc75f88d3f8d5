// Quantization that a checkpoint brings along: int8 weights or scales for them, ranges of activations, by whoever
// trained or quantized it. Scales are read, never recomputed. The forms, and which tensors each stores, are in
// docs/IMPORTS.md; import_quantized.cpp has them as a table of names.
#ifndef OCTOBERT_CONVERTER_IMPORT_QUANTIZED_H_
#define OCTOBERT_CONVERTER_IMPORT_QUANTIZED_H_

#include <array>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "converter/weight_file.h"

namespace octobert::converter {

// What a tensor of a quantizer says about its module.
enum class QuantizerPart {
  kWeightScale,      // [out], [out, 1] or one for all: real = scale * q
  kWeightZeroPoint,  // as weight_scale; only 0 is supported
  kWeightAmax,       // scale = amax / 127
  kInputScale,       // real = scale * (q - zero point)
  kInputZeroPoint,
  kInputAmax,      // scale = amax / 127
  kPreQuantScale,  // [in]: the input is multiplied by it before it is quantized
  kOutputScale,    // of the module's result
  kOutputZeroPoint,
  kOutputZeroPointUnsigned,  // on the scale of uint8: 128 more
  kOutputAmax,
  kCount,
  kUnused,  // known, and not needed
};

struct QuantizerTensor {
  std::string module;  // as the checkpoint calls it, "encoder.layer.0.attention.self.query"
  QuantizerPart part;
};

// The tensor of a quantizer that has this name (without the family's prefixes), or nothing for any other tensor.
// Throws Error(kUnsupported) for names of NNCF's, Brevitas' and ONNX's quantizers, naming `source`.
std::optional<QuantizerTensor> quantizer_tensor(std::string_view plain_name, const std::string& source);

// config.json's quantization_config: compressed-tensors with int8 weights by channel or tensor, symmetric, and
// activations in int8 or float. Throws Error(kUnsupported) naming the field for everything else.
void check_quantization_config(const nlohmann::json& quantization_config, const std::string& source);

// How an activation is quantized: q = round(x * pre / scale) + zero_point, in [-127, 127].
struct ImportedRange {
  float scale = 1;
  int32_t zero_point = 0;
  friend bool operator==(const ImportedRange&, const ImportedRange&) = default;
};

// The quantizers of one checkpoint, by our names of modules ("layer.0.query", "layer.0.attention_norm").
class ImportedQuantization {
 public:
  bool empty() const { return modules_.empty(); }

  // Throws Error(kFormat) if the module has that part already. The file must outlive this object.
  void add(const std::string& module, QuantizerPart part, const WeightFile& file, const TensorInfo& info);

  // Whether the module's weights have a scale of the checkpoint's own.
  bool has_scale(std::string_view module) const;
  // Scales of the rows [first, first + scale.size()) of a matrix of `rows` rows; has_scale() must hold. Throws
  // Error(kFormat) for a shape other than the three, and for a scale that is not finite and positive;
  // Error(kUnsupported) for a zero point.
  void weight_scale(const std::string& module, uint64_t rows, uint64_t first, std::span<float> scale) const;
  // Rows of floats as the checkpoint's scales quantize them: round_to_i8(w * (1 / scale)), with amax "quantize a row"
  // of docs/NUMERICS.md with amax in place of the row's absmax. w, q: [scale.size()][columns].
  void quantize_rows(const std::string& module, uint64_t rows, uint64_t first, std::span<const float> w,
                     std::span<int8_t> q, std::span<float> scale) const;

  // The input's multiplier by channel, [columns], or empty. Throws Error(kFormat) as weight_scale().
  std::vector<float> pre_quant_scale(const std::string& module, uint64_t columns) const;
  // The fixed range that the module's input or result is to have, if the checkpoint has one.
  std::optional<ImportedRange> input(const std::string& module) const;
  std::optional<ImportedRange> output(const std::string& module) const;
  // The module's result with a scale for each of `count` groups of its outputs (or one for all), zero point 0; empty if
  // the checkpoint has no such scales.
  std::vector<float> output_scales(const std::string& module, uint64_t count) const;

 private:
  struct Source {
    const WeightFile* file = nullptr;
    const TensorInfo* info = nullptr;
  };
  using Module = std::array<Source, static_cast<size_t>(QuantizerPart::kCount)>;

  const Source* find(std::string_view module, QuantizerPart part) const;
  float read_scalar(const Source& source) const;
  int32_t read_zero_point(const Source& source) const;
  std::optional<ImportedRange> range(const std::string& module, QuantizerPart scale, QuantizerPart zero_point,
                                     QuantizerPart amax) const;

  std::unordered_map<std::string, Module> modules_;
};

// Int8 values as they are stored: -128 becomes -127, which no product of the engine may hold. Returns how many did.
size_t replace_minus_128(std::span<int8_t> q);

}  // namespace octobert::converter

#endif  // OCTOBERT_CONVERTER_IMPORT_QUANTIZED_H_
