#include "converter/model_writer.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <optional>
#include <utility>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "converter/output_file.h"
#include "kernels/layout.h"
#include "kernels/numerics.h"
#include "octobert/error.h"

namespace octobert {

using format::DType;
using format::FileHeader;
using format::Scheme;
using format::SectionEntry;
using format::SectionType;
using format::TensorEntry;

namespace {

template <class T>
std::span<const std::byte> bytes_of(const T* data, size_t count) {
  return std::as_bytes(std::span(data, count));
}

void append_u32(std::vector<std::byte>& out, uint64_t value) {
  if (value > std::numeric_limits<uint32_t>::max()) {
    throw Error(ErrorCode::kUnsupported, "packed file: a text of " + std::to_string(value) + " bytes is too long");
  }
  const auto v = static_cast<uint32_t>(value);
  const auto bytes = bytes_of(&v, 1);
  out.insert(out.end(), bytes.begin(), bytes.end());
}

void append_bytes(std::vector<std::byte>& out, std::span<const std::byte> bytes) {
  out.insert(out.end(), bytes.begin(), bytes.end());
}

void copy_name(std::string_view name, char* destination, size_t capacity) {
  if (name.empty() || name.size() >= capacity) {
    throw Error(ErrorCode::kUnsupported, "packed file: name '" + std::string(name) + "' has " +
                                             std::to_string(name.size()) + " bytes, expected 1 to " +
                                             std::to_string(capacity - 1));
  }
  std::memcpy(destination, name.data(), name.size());
}

}  // namespace

std::vector<std::byte> encode_strings(std::span<const std::string> strings) {
  std::vector<std::byte> out;
  append_u32(out, strings.size());
  uint64_t end = 0;
  for (const std::string& s : strings) append_u32(out, end += s.size());
  for (const std::string& s : strings) append_bytes(out, bytes_of(s.data(), s.size()));
  return out;
}

std::vector<std::byte> encode_test_vectors(std::span<const TestVector> vectors, uint32_t label_count) {
  std::vector<std::byte> out;
  append_u32(out, vectors.size());
  for (const TestVector& vector : vectors) {
    append_u32(out, vector.text.size());
    append_u32(out, vector.ids.size());
    append_u32(out, label_count);
    append_bytes(out, bytes_of(vector.text.data(), vector.text.size()));
    out.resize((out.size() + 3) / 4 * 4);
    append_bytes(out, bytes_of(vector.ids.data(), vector.ids.size()));
    append_bytes(out, bytes_of(vector.logits.data(), vector.ids.size() * label_count));
  }
  return out;
}

// Where the bytes go: a file or memory.
class ModelWriter::Sink {
 public:
  Sink() = default;
  explicit Sink(const std::filesystem::path& path) { file_.emplace(path); }

  void append(std::span<const std::byte> bytes) {
    if (file_) return file_->append(bytes);
    append_bytes(memory_, bytes);
  }
  void finish(std::span<const std::byte> start) {
    if (!file_) {
      std::copy(start.begin(), start.end(), memory_.begin());
      return;
    }
    file_->overwrite_start(start);
    file_->commit();
  }
  std::vector<std::byte> take() { return std::move(memory_); }

 private:
  std::optional<OutputFile> file_;
  std::vector<std::byte> memory_;
};

struct ModelWriter::Hash {
  XXH3_state_t state;
};

ModelWriter::ModelWriter(const std::filesystem::path& path, uint32_t max_sections)
    : ModelWriter(std::make_unique<Sink>(path), max_sections) {}
ModelWriter::ModelWriter(uint32_t max_sections) : ModelWriter(std::make_unique<Sink>(), max_sections) {}

ModelWriter::ModelWriter(std::unique_ptr<Sink> sink, uint32_t max_sections)
    : sink_(std::move(sink)), max_sections_(max_sections), hash_(std::make_unique<Hash>()) {
  const std::vector<std::byte> room(sizeof(FileHeader) + max_sections * sizeof(SectionEntry));
  append(room);
}

ModelWriter::~ModelWriter() = default;

uint64_t ModelWriter::size() const { return position_; }
std::vector<std::byte> ModelWriter::take() { return sink_->take(); }

void ModelWriter::append(std::span<const std::byte> bytes) {
  sink_->append(bytes);
  position_ += bytes.size();
  if (section_is_open_) XXH3_64bits_update(&hash_->state, bytes.data(), bytes.size());
}

void ModelWriter::align() {
  static constexpr std::array<std::byte, format::kAlignment> kZeros{};
  append(std::span(kZeros).first((format::kAlignment - position_ % format::kAlignment) % format::kAlignment));
}

void ModelWriter::open_section(SectionType type, std::string_view name, bool required) {
  close_section();
  if (sections_.size() == max_sections_) {
    throw Error(ErrorCode::kUnsupported, "packed file: more than the announced " + std::to_string(max_sections_) +
                                             " sections, at '" + std::string(name) + "'");
  }
  align();
  SectionEntry entry{};
  entry.type = static_cast<uint32_t>(type);
  entry.flags = required ? format::kSectionRequired : 0;
  entry.offset = position_;
  copy_name(name, entry.name, sizeof entry.name);
  sections_.push_back(entry);
  section_is_open_ = true;
  XXH3_64bits_reset(&hash_->state);
}

void ModelWriter::close_section() {
  if (!section_is_open_) return;
  section_is_open_ = false;
  sections_.back().size = position_ - sections_.back().offset;
  sections_.back().checksum = XXH3_64bits_digest(&hash_->state);
}

void ModelWriter::add_section(SectionType type, std::string_view name, std::span<const std::byte> bytes,
                              bool required) {
  open_section(type, name, required);
  append(bytes);
  close_section();
}

void ModelWriter::begin_weights(std::string_view name) { open_section(SectionType::kWeights, name, true); }

void ModelWriter::add_tensor(std::string_view name, DType dtype, Layout layout, std::span<const uint64_t> dims,
                             std::span<const std::byte> bytes) {
  align();
  TensorEntry entry{};
  copy_name(name, entry.name, sizeof entry.name);
  entry.dtype = static_cast<uint32_t>(dtype);
  entry.layout = static_cast<uint32_t>(layout);
  entry.section = static_cast<uint32_t>(sections_.size() - 1);
  entry.rank = static_cast<uint32_t>(dims.size());
  entry.dims[0] = dims[0];
  entry.dims[1] = dims.size() > 1 ? dims[1] : 1;
  entry.offset = position_ - sections_.back().offset;
  entry.size = bytes.size();
  tensors_.push_back(entry);
  append(bytes);
}

void ModelWriter::add_floats(const std::string& name, std::initializer_list<uint64_t> dims, const float* data) {
  uint64_t count = 1;
  for (const uint64_t d : dims) count *= d;
  add_tensor(name, DType::kF32, Layout::kRowMajor, dims, bytes_of(data, count));
}

void ModelWriter::add_integers(const std::string& name, const int32_t* data, uint64_t count) {
  const std::array<uint64_t, 1> dims{count};
  add_tensor(name, DType::kI32, Layout::kRowMajor, dims, bytes_of(data, count));
}

void ModelWriter::add_linear(const std::string& name, const Linear& linear) {
  const auto n = static_cast<size_t>(linear.n), k = static_cast<size_t>(linear.k);
  const std::array<uint64_t, 2> dims{n, k};
  const std::string weight = name + ".weight";
  switch (linear.scheme) {
    case Scheme::kFloat:
      add_tensor(weight, DType::kF32, Layout::kN16K1, dims, bytes_of(linear.weight_f32, packed_f32_floats(n, k)));
      break;
    case Scheme::kWeightOnlyInt4: {
      const size_t groups = (k + static_cast<size_t>(linear.group_size) - 1) / static_cast<size_t>(linear.group_size);
      add_tensor(weight, DType::kI4, Layout::kN16K8, dims, bytes_of(linear.weight_4bit, packed_4bit_bytes(n, k)));
      add_floats(name + ".group_scale", {groups, padded_outputs(n)}, linear.group_scale);
      break;
    }
    case Scheme::kCodebook:
      add_tensor(weight, DType::kU4, Layout::kN16K8, dims, bytes_of(linear.weight_4bit, packed_4bit_bytes(n, k)));
      add_floats(name + ".scale", {padded_outputs(n)}, linear.scale);
      add_floats(name + ".codebook", {16}, linear.codebook);
      break;
    default:
      add_tensor(weight, DType::kI8, Layout::kN16K4, dims, bytes_of(linear.weight_s8, packed_s8_bytes(n, k)));
      add_floats(name + ".scale", {padded_outputs(n)}, linear.scale);
      add_integers(name + ".sum", linear.sum, padded_outputs(n));
      add_input(name, linear);
  }
  add_floats(name + ".bias", {padded_outputs(n)}, linear.bias);
}

void ModelWriter::add_input(const std::string& name, const Linear& linear) {
  const uint64_t k = padded_outputs(static_cast<size_t>(linear.k)), parts = static_cast<uint64_t>(linear.input_parts);
  if (linear.input_inv != nullptr) {
    const std::string inv = name + ".input_inv";
    parts == 1 ? add_floats(inv, {k}, linear.input_inv) : add_floats(inv, {parts, k}, linear.input_inv);
  }
  if (linear.scheme == Scheme::kStatic) add_integers(name + ".input_zero", linear.input_zero.data(), parts);
}

void ModelWriter::add_norm(const std::string& name, const format::ModelConfig& config, const LayerNormWeights& norm) {
  add_floats(name + ".gamma", {config.hidden_size}, norm.gamma);
  add_floats(name + ".beta", {config.hidden_size}, norm.beta);
}

void ModelWriter::add_embeddings(const format::ModelConfig& config, const Embeddings& embeddings) {
  const uint64_t d = config.hidden_size, v = config.vocab_size;
  begin_weights("embeddings");
  if (embeddings.word_s8 != nullptr) {
    const std::array<uint64_t, 2> dims{v, d};
    add_tensor("embeddings.word", DType::kI8, Layout::kRowMajor, dims, bytes_of(embeddings.word_s8, v * d));
    add_floats("embeddings.word.scale", {v}, embeddings.word_scale);
  } else {
    add_floats("embeddings.word", {v, d}, embeddings.word_f32);
  }
  add_floats("embeddings.position", {config.max_positions, d}, embeddings.position);
  add_floats("embeddings.type", {config.type_count, d}, embeddings.type);
  add_norm("embeddings.norm", config, embeddings.norm);
}

void ModelWriter::add_layer(const format::ModelConfig& config, uint32_t index, const EncoderLayer& layer) {
  const std::string name = "layer." + std::to_string(index);
  begin_weights(name);
  add_linear(name + ".qkv", layer.qkv);
  if (layer.attention == Scheme::kStatic) {
    add_floats(name + ".qkv.output_inv", {padded_outputs(3 * size_t{config.hidden_size})}, layer.qkv_output_inv);
    add_floats(name + ".scores.factor", {config.head_count}, layer.scores_factor);
    add_floats(name + ".context.value_scale", {config.hidden_size}, layer.value_scale);
  }
  add_linear(name + ".attention_output", layer.attention_output);
  add_norm(name + ".attention_norm", config, layer.attention_norm);
  add_linear(name + ".ffn1", layer.ffn1);
  add_linear(name + ".ffn2", layer.ffn2);
  add_norm(name + ".ffn_norm", config, layer.ffn_norm);
}

void ModelWriter::add_classifier(const Linear& classifier) {
  begin_weights("classifier");
  add_linear("classifier", classifier);
}

void ModelWriter::finish() {
  add_section(SectionType::kTensors, "tensors", bytes_of(tensors_.data(), tensors_.size()), true);
  const auto table = bytes_of(sections_.data(), sections_.size());
  FileHeader header{};
  std::memcpy(header.magic, format::kMagic, sizeof header.magic);
  header.format_version = format::kFormatVersion;
  header.numerics_version = numerics::kNumericsVersion;
  header.section_count = static_cast<uint32_t>(sections_.size());
  header.header_size = sizeof header;
  header.file_size = position_;
  header.table_checksum = XXH3_64bits(table.data(), table.size());
  header.header_checksum = XXH3_64bits(&header, offsetof(FileHeader, header_checksum));
  std::vector<std::byte> start;
  append_bytes(start, bytes_of(&header, 1));
  append_bytes(start, table);
  sink_->finish(start);
}

}  // namespace octobert
