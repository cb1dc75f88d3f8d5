#include "converter/checkpoint.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <charconv>
#include <set>
#include <system_error>

#include "converter/checkpoint_config.h"
#include "converter/json.h"
#include "converter/labels.h"
#include "converter/safetensors.h"
#include "converter/torch_file.h"
#include "octobert/error.h"

namespace octobert::converter {
namespace {

constexpr const char* kConfigFile = "config.json";
constexpr const char* kWeightsFile = "model.safetensors";
constexpr const char* kIndexFile = "model.safetensors.index.json";
constexpr const char* kTorchFile = "pytorch_model.bin";
constexpr const char* kTorchIndexFile = "pytorch_model.bin.index.json";
// Scales and ranges of a model that training/ made, beside its float weights.
constexpr const char* kQuantizationFile = "quantization.safetensors";
// Weights in forms that this version does not read.
constexpr const char* kOtherWeights[] = {"tf_model.h5", "model.ckpt.index", "flax_model.msgpack"};

bool is_present(const std::filesystem::path& path) {
  std::error_code error;
  return std::filesystem::exists(path, error);
}

std::filesystem::path checked_folder(const std::filesystem::path& folder) {
  std::error_code error;
  if (!std::filesystem::is_directory(folder, error)) {
    throw Error(ErrorCode::kIo, fmt::format("{}: not a folder: expected one with {} and {}", folder.string(),
                                            kConfigFile, kWeightsFile));
  }
  return folder;
}

// A shard lies in the folder itself: a name that leads elsewhere is refused.
void check_shard_name(const std::string& name, const std::filesystem::path& index_path) {
  const bool plain = !name.empty() && name != "." && name != ".." && name.find_first_of("/\\:") == std::string::npos &&
                     name.find('\0') == std::string::npos && name.find("..") == std::string::npos;
  if (!plain) {
    throw Error(ErrorCode::kFormat,
                fmt::format("{}: weight_map: expected the name of a file in the same folder, found '{}'",
                            index_path.string(), name));
  }
}

using WeightMap = std::unordered_map<std::string, std::string>;  // tensor -> file

WeightMap read_weight_map(const std::filesystem::path& index_path) {
  const nlohmann::json index = read_json_object(index_path);
  const auto found = index.find("weight_map");
  if (found == index.end() || !found->is_object() || found->empty()) {
    throw Error(ErrorCode::kFormat,
                fmt::format("{}: weight_map: expected an object that gives each tensor's file", index_path.string()));
  }
  WeightMap map;
  for (const auto& [tensor, file] : found->items()) {
    if (!file.is_string()) {
      throw Error(ErrorCode::kFormat, fmt::format("{}: weight_map['{}']: expected a file's name, found {}",
                                                  index_path.string(), tensor, file.dump().substr(0, 80)));
    }
    check_shard_name(file.get_ref<const std::string&>(), index_path);
    map.emplace(tensor, file.get<std::string>());
  }
  return map;
}

// The first value that is NaN or infinite, or values.size().
size_t first_non_finite(std::span<const float> values) {
  constexpr uint32_t kExponent = 0x7f800000u;
  constexpr size_t kBlock = 4096;
  for (size_t begin = 0; begin < values.size(); begin += kBlock) {
    const std::span<const float> block = values.subspan(begin, std::min(kBlock, values.size() - begin));
    uint32_t largest = 0;  // a branch-free pass, which compilers vectorise; the exact place only where it matters
    for (const float value : block) largest = std::max(largest, std::bit_cast<uint32_t>(value) & kExponent);
    if (largest != kExponent) continue;
    const auto found = std::find_if(block.begin(), block.end(), [](float value) {
      return (std::bit_cast<uint32_t>(value) & kExponent) == kExponent;
    });
    return begin + static_cast<size_t>(found - block.begin());
  }
  return values.size();
}

[[noreturn]] void refuse_other_weights(const std::filesystem::path& folder) {
  if (is_present(folder / "model.onnx")) {
    throw Error(ErrorCode::kUnsupported,
                fmt::format("{}: ONNX models, quantized (QDQ) or not, are not supported by this version: expected the "
                            "checkpoint that it was made from, with {}",
                            (folder / "model.onnx").string(), kWeightsFile));
  }
  for (const char* other : kOtherWeights) {
    if (!is_present(folder / other)) continue;
    throw Error(ErrorCode::kUnsupported,
                fmt::format("{}: weights in this form are not supported by this version: expected {} (or {}). Load the "
                            "model with transformers and save it with model.save_pretrained(folder)",
                            (folder / other).string(), kWeightsFile, kIndexFile));
  }
  throw Error(ErrorCode::kIo, fmt::format("{}: no weights: expected {}, {} or {}", folder.string(), kWeightsFile,
                                          kIndexFile, kTorchFile));
}

std::string with_weight(std::string_view module) { return std::string(module) + ".weight"; }
// "layer.0.ffn1" of "layer.0.ffn1.weight".
std::string_view module_of(std::string_view tensor) { return tensor.substr(0, tensor.rfind('.')); }

}  // namespace

Checkpoint::Checkpoint(const std::filesystem::path& folder, const std::filesystem::path& labels)
    : folder_(checked_folder(folder)) {
  const std::filesystem::path config_path = folder_ / kConfigFile;
  const nlohmann::json config = read_json_object(config_path);
  files_.emplace_back(kConfigFile);
  family_ = &find_family(config, config_path.string());
  config_ = model_config(config, *family_, config_path.string(), warnings_);
  labels_ = labels.empty() ? labels_of_config(config, config_path.string()) : labels_of_file(labels);
  label_source_ = labels.empty() ? config_path.string() + " (id2label), --labels FILE takes others" : labels.string();
  config_.label_count = static_cast<uint32_t>(labels_.size());
  const std::vector<std::string> about_labels = label_warnings(labels_);
  warnings_.insert(warnings_.end(), about_labels.begin(), about_labels.end());
  open_weights();
  map_tensors();
}

void Checkpoint::open_weights() {
  if (is_present(folder_ / kWeightsFile)) {
    open_file(kWeightsFile);
  } else if (is_present(folder_ / kIndexFile)) {
    open_shards(folder_ / kIndexFile);
  } else if (is_present(folder_ / kTorchFile)) {
    open_file(kTorchFile);
  } else if (is_present(folder_ / kTorchIndexFile)) {
    open_shards(folder_ / kTorchIndexFile);
  } else {
    refuse_other_weights(folder_);
  }
  if (is_present(folder_ / kQuantizationFile)) open_file(kQuantizationFile);
}

void Checkpoint::open_file(const std::string& name) {
  const std::filesystem::path path = folder_ / name;
  if (path.extension() == ".bin") {
    weights_.push_back(std::make_unique<TorchFile>(path));
  } else {
    weights_.push_back(std::make_unique<SafetensorsFile>(path));
  }
  files_.push_back(name);
  weight_bytes_ += weights_.back()->file_bytes();
}

void Checkpoint::open_shards(const std::filesystem::path& index_path) {
  const WeightMap map = read_weight_map(index_path);
  files_.emplace_back(kIndexFile);
  std::set<std::string> names;
  for (const auto& [tensor, file] : map) names.insert(file);
  for (const std::string& name : names) {
    open_file(name);
    const WeightFile& file = *weights_.back();
    for (const TensorInfo& tensor : file.tensors()) {
      const auto listed = map.find(tensor.name);
      // PyTorch's files may hold tensors that their index does not tell of: what a quantized one is taken apart into.
      if (listed == map.end() && name.ends_with(".bin")) continue;
      if (listed == map.end() || listed->second != name) {
        throw Error(ErrorCode::kFormat,
                    fmt::format("{}: tensor '{}': {} says that it is {}", file.name(), tensor.name, index_path.string(),
                                listed == map.end() ? "nowhere" : "in " + listed->second));
      }
    }
  }
  for (const auto& [tensor, name] : map) {
    const auto shard = static_cast<size_t>(std::distance(names.begin(), names.find(name)));
    if (name.ends_with(".bin") || weights_[shard]->find(tensor)) continue;
    throw Error(ErrorCode::kFormat, fmt::format("{}: tensor '{}' is missing, which {} places here",
                                                weights_[shard]->name(), tensor, index_path.string()));
  }
}

void Checkpoint::map_tensors() {
  const std::vector<ExpectedTensor> expected = expected_tensors(*family_, config_);
  std::unordered_map<std::string_view, std::string_view> our_names;
  for (const ExpectedTensor& tensor : expected) our_names.emplace(tensor.theirs, tensor.ours);
  for (const std::unique_ptr<WeightFile>& file : weights_) {
    for (const TensorInfo& info : file->tensors()) map_tensor(our_names, *file, info);
  }
  for (const ExpectedTensor& tensor : expected) check_tensor(tensor);
}

void Checkpoint::map_tensor(const std::unordered_map<std::string_view, std::string_view>& our_names,
                            const WeightFile& file, const TensorInfo& info) {
  const std::string plain = plain_name(*family_, info.name);
  if (is_ignored(*family_, plain)) return;
  const auto ours = our_names.find(plain);
  if (ours == our_names.end()) {
    if (const auto quantizer = quantizer_tensor(plain, file.name())) {
      return add_quantizer(our_names, *quantizer, file, info);
    }
    throw Error(ErrorCode::kFormat,
                fmt::format("{}: tensor '{}' of shape {} is not part of a {} token classifier with {} layers",
                            file.name(), info.name, shape_text(info.shape), family_->model_type, config_.layer_count));
  }
  const auto [place, is_new] = tensors_.emplace(ours->second, Source{&file, &info});
  if (!is_new) {
    throw Error(ErrorCode::kFormat, fmt::format("{}: tensors '{}' and '{}' are both {}", file.name(),
                                                place->second.info->name, info.name, plain));
  }
}

void Checkpoint::add_quantizer(const std::unordered_map<std::string_view, std::string_view>& our_names,
                               const QuantizerTensor& quantizer, const WeightFile& file, const TensorInfo& info) {
  if (quantizer.part == QuantizerPart::kUnused) return;
  const auto ours = our_names.find(with_weight(quantizer.module));
  if (ours == our_names.end()) {  // of a module without weights: an activation function, the model's input
    if (quantizer.part == QuantizerPart::kOutputScale || quantizer.part == QuantizerPart::kOutputZeroPointUnsigned) {
      return;
    }
    throw Error(ErrorCode::kFormat, fmt::format("{}: tensor '{}' quantizes '{}', which the model does not have",
                                                file.name(), info.name, quantizer.module));
  }
  if (ours->second.starts_with("embeddings.") && !ours->second.ends_with("gamma"))
    return;  // tables have our own scales
  const std::string module(module_of(ours->second));
  quantization_.add(module, quantizer.part, file, info);
}

void Checkpoint::check_tensor(const ExpectedTensor& expected) const {
  const auto found = tensors_.find(expected.ours);
  if (found == tensors_.end()) {
    throw Error(ErrorCode::kFormat,
                fmt::format("{}: tensor '{}' is missing: expected F32, F16, BF16 or F64 of shape {}",
                            weights_.size() == 1 ? weights_.front()->name() : folder_.string(), expected.theirs,
                            expected.shape_names));
  }
  const auto& [file, info] = found->second;
  if (info->shape != expected.shape) {
    const bool about_labels = expected.ours.starts_with("classifier");
    throw Error(ErrorCode::kFormat, fmt::format("{}: tensor '{}': expected shape {}, found {}{}", file->name(),
                                                info->name, expected.shape_names, shape_text(info->shape),
                                                about_labels ? "; the labels are those of " + label_source_ : ""));
  }
  if (is_floating(info->type)) return;
  const bool int8_matrix =
      info->type == DataType::kI8 && info->shape.size() == 2 && !expected.ours.starts_with("embed");
  const bool has_scale = quantization_.has_scale(module_of(expected.ours));
  if (!int8_matrix || !has_scale) {
    throw Error(ErrorCode::kFormat,
                fmt::format("{}: tensor '{}': expected F32, F16, BF16 or F64, found {}{}", file->name(), info->name,
                            data_type_name(info->type), int8_matrix ? " without a weight_scale" : ""));
  }
}

const Checkpoint::Source& Checkpoint::source(std::string_view name) const {
  const auto found = tensors_.find(std::string(name));
  if (found == tensors_.end()) {
    throw Error(ErrorCode::kInvalidInput, fmt::format("{}: the model has no tensor '{}'", folder_.string(), name));
  }
  return found->second;
}

void Checkpoint::read(std::string_view name, std::span<float> dst) const {
  read_rows(name, 0, source(name).info->shape.front(), dst);
}

void Checkpoint::read_rows(std::string_view name, uint64_t first, uint64_t count, std::span<float> dst) const {
  const auto& [file, info] = source(name);
  const uint64_t width = info->elements / info->shape.front();
  if (dst.size() != count * width) {
    throw Error(ErrorCode::kInvalidInput, fmt::format("{}: tensor '{}': {} rows have {} values, asked for {}",
                                                      file->name(), info->name, count, count * width, dst.size()));
  }
  const std::string module(module_of(name));
  if (is_floating(info->type)) {
    file->read(*info, first * width, dst);
  } else {
    dequantize(module, source(name), first, dst);
  }
  if (name.ends_with(".weight")) {
    const std::vector<float> pre = quantization_.pre_quant_scale(module, width);
    for (size_t i = 0; !pre.empty() && i < dst.size(); ++i) dst[i] *= pre[i % width];
  }
  require_finite({file, info}, first * width, dst);
}

void Checkpoint::require_finite(const Source& source, uint64_t first, std::span<const float> values) {
  const size_t bad = first_non_finite(values);
  if (bad == values.size()) return;
  const auto& [file, info] = source;
  const uint64_t index = first + bad, width = info->elements / info->shape.front();
  throw Error(
      ErrorCode::kFormat,
      fmt::format("{}: tensor '{}': value {} at [{}] is not finite{}", file->name(), info->name, values[bad],
                  info->shape.size() == 1 ? std::to_string(index) : fmt::format("{}, {}", index / width, index % width),
                  info->type == DataType::kF64 ? " in fp32" : ""));
}

void Checkpoint::dequantize(const std::string& module, const Source& source, uint64_t first,
                            std::span<float> dst) const {
  const uint64_t rows = source.info->shape.front(), width = source.info->elements / rows;
  std::vector<int8_t> q(dst.size());
  std::vector<float> scale(dst.size() / width);
  source.file->read_elements(*source.info, first * width, q.size(), std::as_writable_bytes(std::span(q)).data());
  quantization_.weight_scale(module, rows, first, scale);
  for (size_t i = 0; i < dst.size(); ++i) dst[i] = scale[i / width] * static_cast<float>(q[i]);
}

bool Checkpoint::has_int8(std::string_view module) const {
  return !is_floating(source(with_weight(module)).info->type) || quantization_.has_scale(module);
}

size_t Checkpoint::read_int8(std::string_view module, std::span<int8_t> q, std::span<float> scale) const {
  const auto& [file, info] = source(with_weight(module));
  const std::string name(module);
  if (is_floating(info->type)) {
    std::vector<float> w(q.size());
    file->read(*info, 0, w);
    require_finite({file, info}, 0, w);
    quantization_.quantize_rows(name, info->shape.front(), 0, w, q, scale);
    return 0;
  }
  file->read_elements(*info, 0, q.size(), std::as_writable_bytes(q).data());
  quantization_.weight_scale(name, info->shape.front(), 0, scale);
  return replace_minus_128(q);
}

std::optional<ImportedRange> Checkpoint::input_range(std::string_view module) const {
  if (const auto own = quantization_.input(std::string(module))) return own;
  // The LayerNorm whose result it is.
  if (module == "classifier") return quantization_.output(fmt::format("layer.{}.ffn_norm", config_.layer_count - 1));
  const size_t dot = module.rfind('.');
  const std::string_view layer = module.substr(0, dot), part = module.substr(dot + 1);
  if (part == "ffn1") return quantization_.output(fmt::format("{}.attention_norm", layer));
  if (part != "query" && part != "key" && part != "value") return std::nullopt;
  uint32_t index = 0;
  std::from_chars(layer.data() + layer.rfind('.') + 1, layer.data() + layer.size(), index);
  return quantization_.output(index == 0 ? "embeddings.norm" : fmt::format("layer.{}.ffn_norm", index - 1));
}

}  // namespace octobert::converter
