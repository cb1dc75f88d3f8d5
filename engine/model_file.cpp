#include "engine/model_file.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <utility>

#include "engine/checksum.h"
#include "engine/strings.h"
#include "kernels/kernels.h"
#include "kernels/numerics.h"
#include "octobert/error.h"

namespace octobert {

using format::FileHeader;
using format::SectionEntry;
using format::SectionType;

namespace {

const char* type_name(SectionType type) {
  constexpr std::array kNames = {"",         "config",  "labels",     "tokenizer",    "tensors",
                                 "products", "weights", "provenance", "test vectors", "quantization report"};
  return kNames.at(static_cast<size_t>(type));
}

bool is_known(uint32_t type) {
  return type >= static_cast<uint32_t>(SectionType::kConfig) &&
         type <= static_cast<uint32_t>(SectionType::kQuantReport);
}

std::string hex(uint64_t value) {
  std::string digits(16, '0');
  for (size_t i = 16; i-- > 0; value >>= 4) digits[i] = "0123456789abcdef"[value & 15];
  return digits;
}

// Copies an array of T that fills `bytes`.
template <class T>
std::vector<T> copy_array(std::span<const std::byte> bytes) {
  std::vector<T> values(bytes.size() / sizeof(T));
  if (!values.empty()) std::memcpy(values.data(), bytes.data(), values.size() * sizeof(T));
  return values;
}

}  // namespace

ModelFile ModelFile::open(const std::filesystem::path& path, const ModelFileOptions& options) {
  ModelFile file(options.load_into_memory ? MappedFile::read(path) : MappedFile::map(path), path.string());
  file.check(options);
  return file;
}

ModelFile ModelFile::open_memory(std::span<const std::byte> bytes, const ModelFileOptions& options,
                                 std::string source) {
  ModelFile file(MappedFile::external(bytes), std::move(source));
  file.check(options);
  return file;
}

void ModelFile::fail(const std::string& what) const { throw Error(ErrorCode::kFormat, source_ + ": " + what); }

std::string ModelFile::where(const SectionEntry& section) const { return source_ + ": section '" + section.name + "'"; }

void ModelFile::check(const ModelFileOptions& options) {
  check_header();
  check_table();
  check_overlaps();
  check_section_types();
  check_numerics(options.allow_other_numerics);
  read_config();
  read_labels();
  read_products();
  tokenizer_ = required_section(SectionType::kTokenizer);
  read_tensors();
  if (options.verify_all) verify();
}

void ModelFile::check_header() {
  const auto bytes = file_.bytes();
  if (bytes.size() < sizeof(FileHeader)) {
    fail("too short for a packed model: " + std::to_string(bytes.size()) + " bytes, the header alone has " +
         std::to_string(sizeof(FileHeader)));
  }
  std::memcpy(&header_, bytes.data(), sizeof header_);
  if (std::memcmp(header_.magic, format::kMagic, sizeof format::kMagic) != 0) {
    fail("not a packed octobert model: it does not begin with OCTOBERT");
  }
  // Before anything else that a later version may have changed.
  if (header_.format_version > format::kFormatVersion) {
    throw Error(ErrorCode::kUnsupported, source_ + ": format version " + std::to_string(header_.format_version) +
                                             " is newer than this build of octobert, which reads up to version " +
                                             std::to_string(format::kFormatVersion) + "; update octobert");
  }
  if (header_.format_version == 0) fail("format version 0, expected 1");
  if (const uint64_t found = checksum(bytes.first(offsetof(FileHeader, header_checksum)));
      found != header_.header_checksum) {
    fail("header is damaged: checksum " + hex(found) + ", expected " + hex(header_.header_checksum));
  }
  if (header_.header_size != sizeof(FileHeader)) {
    fail("header_size " + std::to_string(header_.header_size) + ", expected " + std::to_string(sizeof(FileHeader)));
  }
  if (std::any_of(std::begin(header_.reserved), std::end(header_.reserved), [](uint8_t b) { return b != 0; })) {
    fail("header is damaged: reserved bytes are not zero");
  }
  if (header_.file_size != bytes.size()) {
    fail("file_size in the header is " + std::to_string(header_.file_size) + " bytes, the file has " +
         std::to_string(bytes.size()) + (bytes.size() < header_.file_size ? ": it is cut off" : ""));
  }
}

void ModelFile::check_table() {
  const uint32_t count = header_.section_count;
  if (count > format::kMaxSections || count > (size() - sizeof(FileHeader)) / sizeof(SectionEntry)) {
    fail("section_count " + std::to_string(count) + " is more than the file can hold");
  }
  const auto table = file_.bytes().subspan(sizeof(FileHeader), count * sizeof(SectionEntry));
  if (const uint64_t found = checksum(table); found != header_.table_checksum) {
    fail("section table is damaged: checksum " + hex(found) + ", expected " + hex(header_.table_checksum));
  }
  sections_ = copy_array<SectionEntry>(table);
  for (size_t i = 0; i < sections_.size(); ++i) {
    const SectionEntry& section = sections_[i];
    const std::string field = "section " + std::to_string(i) + ": ";
    if (!is_clean_name(section.name, sizeof section.name)) fail(field + "name is not printable ASCII, NUL-padded");
    if ((section.flags & ~format::kSectionRequired) != 0) {
      fail(field + "unknown flags " + hex(section.flags) + " on '" + section.name + "'");
    }
    if (section.offset % format::kAlignment != 0) {
      fail(field + "'" + section.name + "' is not aligned: offset " + std::to_string(section.offset));
    }
    if (section.offset > size() || section.size > size() - section.offset) {
      fail(field + "'" + section.name + "' lies outside the file: offset " + std::to_string(section.offset) +
           ", size " + std::to_string(section.size) + ", file size " + std::to_string(size()));
    }
  }
}

void ModelFile::check_overlaps() const {
  std::vector<const SectionEntry*> order;
  order.reserve(sections_.size());
  for (const SectionEntry& section : sections_) order.push_back(&section);
  std::sort(order.begin(), order.end(), [](const SectionEntry* a, const SectionEntry* b) {
    return std::pair(a->offset, a->size) < std::pair(b->offset, b->size);
  });
  uint64_t end = sizeof(FileHeader) + sections_.size() * sizeof(SectionEntry);
  std::string previous = "section table";
  for (const SectionEntry* section : order) {
    if (section->offset < end) fail("section '" + std::string(section->name) + "' overlaps " + previous);
    end = section->offset + section->size;
    previous = "section '" + std::string(section->name) + "'";
  }
}

void ModelFile::check_section_types() {
  for (const SectionEntry& section : sections_) {
    if (!is_known(section.type)) {
      if ((section.flags & format::kSectionRequired) == 0) continue;
      throw Error(ErrorCode::kUnsupported, where(section) + " has type " + std::to_string(section.type) +
                                               ", which this build of octobert does not know and the model needs; "
                                               "update octobert");
    }
    const auto type = static_cast<SectionType>(section.type);
    if (type != SectionType::kWeights && find_entry(type) != &section) {
      fail("two sections of type " + std::string(type_name(type)) + ": '" + find_entry(type)->name + "' and '" +
           section.name + "'");
    }
  }
}

void ModelFile::check_numerics(bool allow_other) const {
  if (header_.numerics_version == numerics::kNumericsVersion || allow_other) return;
  throw Error(ErrorCode::kUnsupported, source_ + ": made for version " + std::to_string(header_.numerics_version) +
                                           " of the arithmetic, this build of octobert computes by version " +
                                           std::to_string(numerics::kNumericsVersion) +
                                           ": convert again (or allow other numerics)");
}

const SectionEntry* ModelFile::find_entry(SectionType type) const {
  const auto it = std::find_if(sections_.begin(), sections_.end(),
                               [&](const SectionEntry& s) { return s.type == static_cast<uint32_t>(type); });
  return it == sections_.end() ? nullptr : &*it;
}

std::span<const std::byte> ModelFile::section_bytes(const SectionEntry& section) const {
  return file_.bytes().subspan(section.offset, section.size);
}

bool ModelFile::checksum_matches(const SectionEntry& section) const {
  return checksum(section_bytes(section)) == section.checksum;
}

std::optional<std::span<const std::byte>> ModelFile::find_section(SectionType type) const {
  const SectionEntry* section = find_entry(type);
  if (section == nullptr) return std::nullopt;
  const auto bytes = section_bytes(*section);
  if (const uint64_t found = checksum(bytes); found != section->checksum) {
    fail("section '" + std::string(section->name) + "' is damaged: checksum " + hex(found) + ", expected " +
         hex(section->checksum));
  }
  return bytes;
}

std::span<const std::byte> ModelFile::required_section(SectionType type) const {
  const auto bytes = find_section(type);
  if (!bytes) fail("no section of type " + std::string(type_name(type)));
  return *bytes;
}

std::vector<std::string_view> ModelFile::strings(SectionType type) const {
  const auto bytes = find_section(type);
  if (!bytes) return {};
  return decode_strings(*bytes, where(*find_entry(type)));
}

void ModelFile::read_config() {
  const auto bytes = required_section(SectionType::kConfig);
  if (bytes.size() != sizeof config_) {
    fail("section 'config' has " + std::to_string(bytes.size()) + " bytes, expected " + std::to_string(sizeof config_));
  }
  std::memcpy(&config_, bytes.data(), sizeof config_);
  if (config_.family != 0) {
    throw Error(ErrorCode::kUnsupported,
                source_ + ": model family " + std::to_string(config_.family) + ", this build knows 0 (BERT) only");
  }
  const auto range = [&](const char* field, uint32_t value, uint32_t low, uint32_t high) {
    if (value >= low && value <= high) return;
    fail("config: " + std::string(field) + " " + std::to_string(value) + ", expected " + std::to_string(low) + " to " +
         std::to_string(high));
  };
  // Products sum over hidden_size and intermediate_size inputs, and attention over max_positions keys.
  constexpr uint32_t kMaxDepth = kMaxReductionDepth;
  constexpr uint32_t kMaxIndex = std::numeric_limits<int32_t>::max();
  range("hidden_size", config_.hidden_size, 1, kMaxDepth);
  range("head_count", config_.head_count, 1, config_.hidden_size);
  range("intermediate_size", config_.intermediate_size, 1, kMaxDepth);
  range("vocab_size", config_.vocab_size, 1, kMaxIndex);
  range("max_positions", config_.max_positions, 1, kMaxDepth);
  range("type_count", config_.type_count, 1, kMaxIndex);
  range("label_count", config_.label_count, 1, kMaxDepth);
  range("activation", config_.activation, static_cast<uint32_t>(Activation::kGelu),
        static_cast<uint32_t>(Activation::kRelu));
  if (config_.hidden_size % config_.head_count != 0) {
    fail("config: hidden_size " + std::to_string(config_.hidden_size) + " is not a multiple of head_count " +
         std::to_string(config_.head_count));
  }
  if (!std::isfinite(config_.layer_norm_eps) || config_.layer_norm_eps < 0) {
    fail("config: layer_norm_eps is not a finite number from 0 on");
  }
  if (std::any_of(std::begin(config_.reserved), std::end(config_.reserved), [](uint8_t b) { return b != 0; })) {
    fail("config: reserved bytes are not zero");
  }
}

void ModelFile::read_labels() {
  const auto bytes = required_section(SectionType::kLabels);
  labels_ = decode_strings(bytes, where(*find_entry(SectionType::kLabels)));
  if (labels_.size() != config_.label_count) {
    fail("section 'labels' has " + std::to_string(labels_.size()) + " names, config: label_count says " +
         std::to_string(config_.label_count));
  }
}

}  // namespace octobert
