#include "tests/tiny_checkpoint.h"

#include <bit>
#include <cstring>
#include <stdexcept>

#include "tests/temporary_folder.h"

namespace octobert::test {
namespace {

using converter::DataType;

constexpr uint64_t kHidden = 12, kInner = 20, kLayers = 2, kLabels = 3, kPositions = 32;

template <typename T>
void append(std::vector<std::byte>& bytes, T value) {
  const auto begin = bytes.size();
  bytes.resize(begin + sizeof(T));
  std::memcpy(bytes.data() + begin, &value, sizeof(T));
}

// value is a multiple of 1/64 below 1/2 in magnitude: exact in every type of floats.
void append_as(DataType type, float value, std::vector<std::byte>& bytes) {
  const auto bits = std::bit_cast<uint32_t>(value);
  switch (type) {
    case DataType::kF64:
      return append(bytes, static_cast<double>(value));
    case DataType::kF32:
      return append(bytes, value);
    case DataType::kBF16:
      return append(bytes, static_cast<uint16_t>(bits >> 16));
    case DataType::kF16:
      if (value == 0) return append(bytes, uint16_t{0});
      return append(bytes, static_cast<uint16_t>((bits >> 16 & 0x8000u) | (((bits >> 23 & 0xffu) - 112) << 10) |
                                                 (bits >> 13 & 0x3ffu)));
    default:
      bytes.resize(bytes.size() + converter::data_type_size(type));
  }
}

}  // namespace

TinyCheckpoint::TinyCheckpoint(uint32_t seed) : state_(seed) {
  vocabulary = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"};
  for (char c = 'a'; c <= 'z'; ++c) {
    vocabulary.emplace_back(1, c);
    vocabulary.push_back(std::string("##") + c);
  }
  for (const char* word : {"the", "in", "marta", "lisbon", "yes", ",", ".", ":", "-"}) vocabulary.emplace_back(word);
  config = {{"architectures", {"BertForTokenClassification"}},
            {"model_type", "bert"},
            {"vocab_size", vocabulary.size()},
            {"hidden_size", kHidden},
            {"num_hidden_layers", kLayers},
            {"num_attention_heads", 3},
            {"intermediate_size", kInner},
            {"max_position_embeddings", kPositions},
            {"type_vocab_size", 2},
            {"hidden_act", "gelu"},
            {"layer_norm_eps", 1e-12},
            {"id2label", {{"0", "O"}, {"1", "B-PER"}, {"2", "I-PER"}}}};
  const auto linear = [this](const std::string& name, uint64_t n, uint64_t k) {
    add(name + ".weight", {n, k});
    add(name + ".bias", {n});
  };
  add("bert.embeddings.word_embeddings.weight", {vocabulary.size(), kHidden});
  add("bert.embeddings.position_embeddings.weight", {kPositions, kHidden});
  add("bert.embeddings.token_type_embeddings.weight", {2, kHidden});
  add("bert.embeddings.LayerNorm.weight", {kHidden});
  add("bert.embeddings.LayerNorm.bias", {kHidden});
  for (uint64_t i = 0; i < kLayers; ++i) {
    const std::string layer = "bert.encoder.layer." + std::to_string(i);
    for (const char* part : {"query", "key", "value"}) linear(layer + ".attention.self." + part, kHidden, kHidden);
    linear(layer + ".attention.output.dense", kHidden, kHidden);
    linear(layer + ".intermediate.dense", kInner, kHidden);
    linear(layer + ".output.dense", kHidden, kInner);
    for (const char* norm : {".attention.output.LayerNorm", ".output.LayerNorm"}) {
      add(layer + norm + ".weight", {kHidden});
      add(layer + norm + ".bias", {kHidden});
    }
  }
  linear("classifier", kLabels, kHidden);
}

void TinyCheckpoint::add(const std::string& name, std::vector<uint64_t> shape, DataType type) {
  TinyTensor tensor{type, std::move(shape), {}};
  uint64_t count = 1;
  for (const uint64_t dimension : tensor.shape) count *= dimension;
  for (uint64_t i = 0; i < count; ++i) {
    state_ = state_ * 1664525u + 1013904223u;  // Numerical Recipes' generator
    append_as(type, static_cast<float>(static_cast<int>(state_ >> 26) - 32) / 64.0f, tensor.bytes);
  }
  tensors[name] = std::move(tensor);
}

void TinyCheckpoint::rename(const std::string& old_name, const std::string& new_name) {
  auto node = tensors.extract(old_name);
  if (!node) throw std::logic_error("no tensor " + old_name);
  node.key() = new_name;
  tensors.insert(std::move(node));
}

void TinyCheckpoint::convert_to(DataType type) {
  for (auto& [name, tensor] : tensors) {
    std::vector<std::byte> bytes;
    for (size_t i = 0; i < tensor.bytes.size(); i += sizeof(float)) {
      float value = 0;
      std::memcpy(&value, tensor.bytes.data() + i, sizeof(value));
      append_as(type, value, bytes);
    }
    tensor = {type, tensor.shape, std::move(bytes)};
  }
}

void TinyCheckpoint::set(const std::string& name, size_t index, float value) {
  std::memcpy(tensors.at(name).bytes.data() + index * sizeof(float), &value, sizeof(value));
}

std::vector<std::string> TinyCheckpoint::names() const {
  std::vector<std::string> names;
  for (const auto& [name, tensor] : tensors) names.push_back(name);
  return names;
}

void TinyCheckpoint::write(const std::filesystem::path& folder) const {
  std::filesystem::create_directories(folder);
  write_config(folder);
  write_vocabulary(folder);
  write_tensors(folder / "model.safetensors", names());
}

void TinyCheckpoint::write_config(const std::filesystem::path& folder) const {
  write_file(folder / "config.json", config.dump(1));
}

void TinyCheckpoint::write_vocabulary(const std::filesystem::path& folder) const {
  std::string lines;
  for (const std::string& token : vocabulary) lines += token + "\n";
  write_file(folder / "vocab.txt", lines);
}

void TinyCheckpoint::write_tensors(const std::filesystem::path& file, const std::vector<std::string>& names) const {
  std::vector<converter::TensorToWrite> list;
  for (const std::string& name : names) {
    const TinyTensor& tensor = tensors.at(name);
    list.push_back({name, tensor.type, tensor.shape, tensor.bytes});
  }
  converter::write_safetensors(file, list);
}

}  // namespace octobert::test
