// A packed file in memory that can be tampered with.
#ifndef OCTOBERT_TESTS_PACKED_IMAGE_H_
#define OCTOBERT_TESTS_PACKED_IMAGE_H_

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <stdexcept>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/checksum.h"
#include "engine/format.h"

namespace octobert::test {

// Believes the image it is made from; what is done to it afterwards need not be sensible.
class PackedImage {
 public:
  explicit PackedImage(std::vector<std::byte> bytes) : bytes_(std::move(bytes)) {}

  std::vector<std::byte>& bytes() { return bytes_; }
  std::span<const std::byte> view() const { return bytes_; }
  format::FileHeader& header() { return at<format::FileHeader>(0); }
  std::span<format::SectionEntry> sections() {
    return {&at<format::SectionEntry>(sizeof(format::FileHeader)), header().section_count};
  }
  format::SectionEntry& section(std::string_view name) {
    for (auto& s : sections()) {
      if (name == s.name) return s;
    }
    throw std::runtime_error("no such section");
  }
  // The first value of a section's body.
  template <class T>
  T& body(std::string_view name) {
    return at<T>(section(name).offset);
  }
  std::span<format::TensorEntry> tensors() {
    const auto& s = section("tensors");
    return {&at<format::TensorEntry>(s.offset), s.size / sizeof(format::TensorEntry)};
  }
  format::TensorEntry& tensor(std::string_view name) {
    for (auto& t : tensors()) {
      if (name == t.name) return t;
    }
    throw std::runtime_error("no such tensor");
  }
  template <class T>
  T* data(const format::TensorEntry& tensor) {
    return &at<T>(sections()[tensor.section].offset + tensor.offset);
  }

  // Makes every checksum right that can be: of sections inside the file, of the table, of the header.
  void fix_checksums() {
    if (bytes_.size() < sizeof(format::FileHeader)) return;
    const uint64_t room = (bytes_.size() - sizeof(format::FileHeader)) / sizeof(format::SectionEntry);
    if (header().section_count <= room) {
      for (auto& s : sections()) {
        if (s.offset <= bytes_.size() && s.size <= bytes_.size() - s.offset) {
          s.checksum = checksum(view().subspan(s.offset, s.size));
        }
      }
      header().table_checksum = checksum(std::as_bytes(sections()));
    }
    header().header_checksum = checksum(view().first(offsetof(format::FileHeader, header_checksum)));
  }

 private:
  template <class T>
  T& at(size_t offset) {
    return *reinterpret_cast<T*>(bytes_.data() + offset);
  }
  std::vector<std::byte> bytes_;
};

}  // namespace octobert::test

#endif  // OCTOBERT_TESTS_PACKED_IMAGE_H_
