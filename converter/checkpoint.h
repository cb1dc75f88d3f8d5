// A HuggingFace checkpoint folder: config.json and safetensors weights, whole or in shards.
#ifndef OCTOBERT_CONVERTER_CHECKPOINT_H_
#define OCTOBERT_CONVERTER_CHECKPOINT_H_

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "converter/families.h"
#include "converter/safetensors.h"
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
  uint64_t weight_bytes() const { return weight_bytes_; }  // of the safetensors files

  // A whole tensor by our name ("layer.0.query.weight", families.cpp) as fp32, row-major. Throws Error(kFormat)
  // naming the tensor and the index of a value that is NaN, infinite, or (F64) too large for fp32.
  void read(std::string_view name, std::span<float> dst) const;
  // Rows [first, first + count) of a matrix; dst holds count rows.
  void read_rows(std::string_view name, uint64_t first, uint64_t count, std::span<float> dst) const;

 private:
  struct Source {
    const SafetensorsFile* file;
    const TensorInfo* info;
  };
  void open_weights();
  void open_shards(const std::filesystem::path& index_path);
  void map_tensors();
  void check_tensor(const ExpectedTensor& expected) const;
  const Source& source(std::string_view name) const;

  std::filesystem::path folder_;
  format::ModelConfig config_ = {};
  std::vector<std::string> labels_, warnings_, files_;
  std::string label_source_;
  const Family* family_ = nullptr;
  uint64_t weight_bytes_ = 0;
  std::vector<SafetensorsFile> weights_;
  std::unordered_map<std::string, Source> tensors_;  // by our name
};

}  // namespace octobert::converter

#endif  // OCTOBERT_CONVERTER_CHECKPOINT_H_
