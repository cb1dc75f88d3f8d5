// A HuggingFace checkpoint folder: config.json and weights (safetensors or PyTorch's files, whole or in shards), with
// the quantization that it may bring along.
#ifndef OCTOBERT_CONVERTER_CHECKPOINT_H_
#define OCTOBERT_CONVERTER_CHECKPOINT_H_

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "converter/families.h"
#include "converter/import_quantized.h"
#include "converter/weight_file.h"
#include "engine/format.h"

namespace octobert::converter {

// Everything but the weights' values is read and checked by the constructor: after it every tensor that the model
// needs is known to be there, once, with its shape and a type of floats. Immutable; reads are thread-safe.
class Checkpoint {
 public:
  // labels: a file of names that replaces config.json's, or empty.
  // Throws Error(kIo, kFormat, kUnsupported) naming file, field or tensor, what was expected and what was found.
  explicit Checkpoint(const std::filesystem::path& folder, const std::filesystem::path& labels = {});

  const std::filesystem::path& folder() const { return folder_; }
  const format::ModelConfig& config() const { return config_; }  // all but `scheme`
  const std::vector<std::string>& labels() const { return labels_; }
  const std::vector<std::string>& warnings() const { return warnings_; }
  // Names in the folder of config.json and of every file of weights.
  const std::vector<std::string>& files() const { return files_; }
  uint64_t weight_bytes() const { return weight_bytes_; }  // of the files of weights

  // A whole tensor by our name ("layer.0.query.weight", families.cpp) as fp32, row-major: int8 weights times their
  // scale, and a matrix whose input is multiplied first (pre_quant_scale) with its columns multiplied instead, so that
  // the floats are the function that the checkpoint means. Throws Error(kFormat) naming the tensor and the index of a
  // value that is NaN, infinite, or (F64) too large for fp32.
  void read(std::string_view name, std::span<float> dst) const;
  // Rows [first, first + count) of a matrix; dst holds count rows.
  void read_rows(std::string_view name, uint64_t first, uint64_t count, std::span<float> dst) const;

  // Whether the matrix of a module ("layer.0.query", "classifier") has int8 weights, or scales for them, of its own.
  bool has_int8(std::string_view module) const;
  // Those weights: q [rows][columns] in [-127, 127], scale [rows]; of the input times pre_quant_scale, where there is
  // one. Returns how many values were -128 and became -127.
  size_t read_int8(std::string_view module, std::span<int8_t> q, std::span<float> scale) const;
  const ImportedQuantization& quantization() const { return quantization_; }
  // The fixed range of the module's input: its own, or that of the module whose result it reads.
  std::optional<ImportedRange> input_range(std::string_view module) const;

 private:
  struct Source {
    const WeightFile* file;
    const TensorInfo* info;
  };
  void open_weights();
  void open_shards(const std::filesystem::path& index_path);
  void open_file(const std::string& name);
  void map_tensors();
  void map_tensor(const std::unordered_map<std::string_view, std::string_view>& our_names, const WeightFile& file,
                  const TensorInfo& info);
  void add_quantizer(const std::unordered_map<std::string_view, std::string_view>& our_names,
                     const QuantizerTensor& quantizer, const WeightFile& file, const TensorInfo& info);
  static void require_finite(const Source& source, uint64_t first, std::span<const float> values);
  void dequantize(const std::string& module, const Source& source, uint64_t first, std::span<float> dst) const;
  void check_tensor(const ExpectedTensor& expected) const;
  const Source& source(std::string_view name) const;

  std::filesystem::path folder_;
  format::ModelConfig config_ = {};
  std::vector<std::string> labels_, warnings_, files_;
  std::string label_source_;
  const Family* family_ = nullptr;
  uint64_t weight_bytes_ = 0;
  std::vector<std::unique_ptr<WeightFile>> weights_;
  std::unordered_map<std::string, Source> tensors_;  // by our name
  ImportedQuantization quantization_;
};

}  // namespace octobert::converter

#endif  // OCTOBERT_CONVERTER_CHECKPOINT_H_
