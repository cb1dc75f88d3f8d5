// A packed file, opened and checked. docs/FORMAT.md is the format; what is wrong with a file is said by name.
//
// The file is hostile until checked: nothing that an access depends on is believed. Opening checks everything about
// the structure, and reads no byte of the weights.
#ifndef OCTOBERT_ENGINE_MODEL_FILE_H_
#define OCTOBERT_ENGINE_MODEL_FILE_H_

#include <cstddef>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/format.h"
#include "engine/mapped_file.h"

namespace octobert {

struct ModelFileOptions {
  bool verify_all = false;            // verify() at once
  bool load_into_memory = false;      // read instead of map
  bool allow_other_numerics = false;  // accept a file of another numerics version
};

// A tensor of the file: its entry, which is consistent in itself if its dtype and layout are known to this build,
// and its bytes, which lie inside their section.
struct Tensor {
  const format::TensorEntry* entry;
  std::span<const std::byte> bytes;
};

// Immutable. Views that it hands out live as long as it does (moving it does not disturb them).
class ModelFile {
 public:
  // Throws Error(kIo) if the file can't be read, Error(kFormat) if it is not a well-formed packed file,
  // Error(kUnsupported) if it is one that this build can't use: a newer version, an unknown required section, other
  // arithmetic.
  static ModelFile open(const std::filesystem::path& path, const ModelFileOptions& options = {});
  // `source` stands for the file's name in messages. The bytes must outlive the ModelFile (see MappedFile::external).
  static ModelFile open_memory(std::span<const std::byte> bytes, const ModelFileOptions& options = {},
                               std::string source = "model in memory");

  const std::string& source() const { return source_; }
  size_t size() const { return file_.bytes().size(); }
  uint32_t format_version() const { return header_.format_version; }
  uint32_t numerics_version() const { return header_.numerics_version; }

  const format::ModelConfig& config() const { return config_; }
  std::span<const std::string_view> labels() const { return labels_; }          // config().label_count
  std::span<const format::ProductEntry> products() const { return products_; }  // 6 layer_count + 1
  std::span<const std::byte> tokenizer_section() const { return tokenizer_; }

  // As they are in the file, unknown optional ones included.
  std::span<const format::SectionEntry> sections() const { return sections_; }
  std::span<const std::byte> section_bytes(const format::SectionEntry& section) const;
  // The section of a type that occurs at most once, its checksum checked; none if the file has none.
  // Throws Error(kFormat).
  std::optional<std::span<const std::byte>> find_section(format::SectionType type) const;
  // The strings of such a section; empty if the file has none. Throws Error(kFormat).
  std::vector<std::string_view> strings(format::SectionType type) const;

  std::span<const format::TensorEntry> tensors() const { return tensors_; }  // in the file's order
  std::optional<Tensor> find_tensor(std::string_view name) const;

  // Whether the stored checksum is that of the bytes.
  bool checksum_matches(const format::SectionEntry& section) const;
  // Reads the whole file: every section's checksum, zeros between the sections, and that each ".sum" tensor holds its
  // weights' sums. Throws Error(kFormat) naming the first section or tensor that fails.
  void verify() const;

  // "FILE: section 'NAME'", for messages.
  std::string where(const format::SectionEntry& section) const;

 private:
  ModelFile(MappedFile file, std::string source) : source_(std::move(source)), file_(std::move(file)) {}
  void check(const ModelFileOptions& options);
  void check_header();
  void check_table();
  void check_overlaps() const;
  void check_section_types();
  void check_numerics(bool allow_other) const;
  void read_config();
  void read_labels();
  void read_products();
  void read_tensors();
  void check_tensor(const format::TensorEntry& tensor) const;
  void check_tensor_overlaps() const;
  std::span<const std::byte> required_section(format::SectionType type) const;
  const format::SectionEntry* find_entry(format::SectionType type) const;
  void verify_padding() const;
  void verify_sums() const;
  [[noreturn]] void fail(const std::string& what) const;

  std::string source_;
  MappedFile file_;
  // Copies, not views: a file that is overwritten in place can't make them inconsistent after they were checked.
  format::FileHeader header_{};
  format::ModelConfig config_{};
  std::vector<format::SectionEntry> sections_;
  std::vector<format::ProductEntry> products_;
  std::vector<format::TensorEntry> tensors_;
  std::vector<uint32_t> tensors_by_name_;  // indices, sorted
  std::vector<std::string_view> labels_;
  std::span<const std::byte> tokenizer_;
};

}  // namespace octobert

#endif  // OCTOBERT_ENGINE_MODEL_FILE_H_
