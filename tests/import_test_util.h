// Checkpoints that other tools quantized (scripts/goldens/make_quantized_checkpoints.py), and what the tools chose.
#ifndef OCTOBERT_TESTS_IMPORT_TEST_UTIL_H_
#define OCTOBERT_TESTS_IMPORT_TEST_UTIL_H_

#include <cstddef>
#include <cstring>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <vector>

#include "converter/convert.h"
#include "converter/safetensors.h"
#include "engine/engine_access.h"
#include "octobert/converter.h"
#include "octobert/engine.h"

namespace octobert::test {

inline std::filesystem::path quantized_data(const std::string& form) {
  return std::filesystem::path(OCTOBERT_SOURCE_DIR) / "tests/data/quantized" / form;
}

template <typename T>
std::vector<T> values(const converter::SafetensorsFile& file, const std::string& name) {
  const converter::TensorInfo* info = file.find(name);
  if (!info) throw std::logic_error("no " + name);
  const std::vector<std::byte> bytes = file.read_bytes(*info);
  std::vector<T> result(bytes.size() / sizeof(T));
  std::memcpy(result.data(), bytes.data(), bytes.size());
  return result;
}

inline ConvertOptions options_for(const std::string& scheme) {
  ConvertOptions options;
  options.scheme = scheme;
  options.threads = 1;
  return options;
}

// The checkpoint of a form, converted.
struct Converted {
  Converted(const std::string& form, const std::string& scheme)
      : bytes(converter::convert_to_memory(quantized_data(form), options_for(scheme))),
        engine(Engine::open_memory(bytes, {.threads = 1})) {}
  const EncoderLayer& layer(size_t index) const { return EngineAccess::model(engine).layers[index]; }

  std::vector<std::byte> bytes;
  Engine engine;
};

}  // namespace octobert::test

#endif  // OCTOBERT_TESTS_IMPORT_TEST_UTIL_H_
