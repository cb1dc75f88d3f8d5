// Writes packed files: the twin of engine/model_file.h. Streaming: sections and tensors go out as they come, in the
// order of the calls, and only the tables are kept. The same calls give the same bytes on every machine.
#ifndef OCTOBERT_CONVERTER_MODEL_WRITER_H_
#define OCTOBERT_CONVERTER_MODEL_WRITER_H_

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/format.h"
#include "engine/model.h"
#include "kernels/layout.h"

namespace octobert {

// A text with what the model answers, replayed by `octobert verify`.
struct TestVector {
  std::string text;
  std::vector<int32_t> ids;
  std::vector<float> logits;  // [ids.size()][label_count]
};

// Bodies of the sections that are not weights.
std::vector<std::byte> encode_strings(std::span<const std::string> strings);
std::vector<std::byte> encode_test_vectors(std::span<const TestVector> vectors, uint32_t label_count);

class ModelWriter {
 public:
  // Into a file: a temporary file in the same folder (".NAME.PID-N.tmp") until finish() renames it. `max_sections` is
  // the room that the section table gets at the start of the file, the tensor table's own section included.
  ModelWriter(const std::filesystem::path& path, uint32_t max_sections);
  // Into memory: take() after finish().
  explicit ModelWriter(uint32_t max_sections);
  // Without finish() nothing is left, neither under the final name nor beside it.
  ~ModelWriter();
  ModelWriter(const ModelWriter&) = delete;
  ModelWriter& operator=(const ModelWriter&) = delete;

  // A whole section of any type but kTensors (which finish() writes) and kWeights. name: at most 31 bytes.
  void add_section(format::SectionType type, std::string_view name, std::span<const std::byte> bytes, bool required);

  // Weights: a section is open from begin_weights() to the next section; tensors go into it. The sizes of the data
  // follow from dtype, layout and dims and must be given exactly (dims[1] = 1 for rank 1).
  void begin_weights(std::string_view name);
  void add_tensor(std::string_view name, format::DType dtype, Layout layout, std::span<const uint64_t> dims,
                  std::span<const std::byte> bytes);
  // The tensors of a product, "NAME.weight", ".bias" and those that its scheme has besides (engine/format.h).
  void add_linear(const std::string& name, const Linear& linear);
  // Weight sections of their own: "embeddings", "layer.N", "classifier".
  void add_embeddings(const format::ModelConfig& config, const Embeddings& embeddings);
  void add_layer(const format::ModelConfig& config, uint32_t index, const EncoderLayer& layer);
  void add_classifier(const Linear& classifier);

  // Writes the tensor table and the header; a file is synced to disk and gets its name. Throws Error(kIo).
  void finish();

  uint64_t size() const;          // bytes so far, padding included
  std::vector<std::byte> take();  // the finished file, if written into memory

 private:
  class Sink;
  ModelWriter(std::unique_ptr<Sink> sink, uint32_t max_sections);
  void open_section(format::SectionType type, std::string_view name, bool required);
  void close_section();
  void append(std::span<const std::byte> bytes);
  void align();
  void add_input(const std::string& name, const Linear& linear);
  void add_norm(const std::string& name, const format::ModelConfig& config, const LayerNormWeights& norm);
  void add_floats(const std::string& name, std::initializer_list<uint64_t> dims, const float* data);
  void add_integers(const std::string& name, const int32_t* data, uint64_t count);

  std::unique_ptr<Sink> sink_;
  uint32_t max_sections_;
  uint64_t position_ = 0;
  bool section_is_open_ = false;
  std::vector<format::SectionEntry> sections_;
  std::vector<format::TensorEntry> tensors_;
  struct Hash;
  std::unique_ptr<Hash> hash_;  // of the open section
};

}  // namespace octobert

#endif  // OCTOBERT_CONVERTER_MODEL_WRITER_H_
