// A small HuggingFace checkpoint folder that a test can spoil in any way before it is written.
#ifndef OCTOBERT_TESTS_TINY_CHECKPOINT_H_
#define OCTOBERT_TESTS_TINY_CHECKPOINT_H_

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "converter/safetensors.h"

namespace octobert::test {

struct TinyTensor {
  converter::DataType type = converter::DataType::kF32;
  std::vector<uint64_t> shape;
  std::vector<std::byte> bytes;
};

class TinyCheckpoint {
 public:
  // 2 layers, 12 wide, 3 heads, 20 inner, 3 labels, 32 positions; weights uniform in [-0.5, 0.5], by `seed`.
  explicit TinyCheckpoint(uint32_t seed = 1);

  nlohmann::json config;
  std::map<std::string, TinyTensor> tensors;
  std::vector<std::string> vocabulary;

  // A tensor of the given type, filled with random values that all types hold.
  void add(const std::string& name, std::vector<uint64_t> shape, converter::DataType type = converter::DataType::kF32);
  void rename(const std::string& old_name, const std::string& new_name);
  // f(name) for each tensor.
  template <typename F>
  void rename_all(const F& f) {
    std::map<std::string, TinyTensor> renamed;
    for (auto& [name, tensor] : tensors) renamed.emplace(f(name), std::move(tensor));
    tensors = std::move(renamed);
  }
  // All floats of fp32 as another type of floats.
  void convert_to(converter::DataType type);
  void set(const std::string& name, size_t index, float value);  // of an fp32 tensor

  // config.json, vocab.txt and model.safetensors.
  void write(const std::filesystem::path& folder) const;
  void write_config(const std::filesystem::path& folder) const;
  void write_vocabulary(const std::filesystem::path& folder) const;
  void write_tensors(const std::filesystem::path& file, const std::vector<std::string>& names) const;
  std::vector<std::string> names() const;

 private:
  uint32_t state_;
};

}  // namespace octobert::test

#endif  // OCTOBERT_TESTS_TINY_CHECKPOINT_H_
