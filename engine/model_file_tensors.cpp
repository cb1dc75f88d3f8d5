// The tables that describe the computation: products and tensors; and the full check of what they describe.
#include <algorithm>
#include <cstring>
#include <limits>
#include <numeric>
#include <tuple>
#include <utility>

#include "engine/model_file.h"
#include "engine/strings.h"
#include "kernels/layout.h"
#include "octobert/error.h"

namespace octobert {

using format::DType;
using format::ProductEntry;
using format::Scheme;
using format::SectionEntry;
using format::SectionType;
using format::TensorEntry;

namespace {

// a * b, or the largest value if that does not fit: no file is that long.
uint64_t saturating_product(uint64_t a, uint64_t b) {
  uint64_t product;
  return __builtin_mul_overflow(a, b, &product) ? std::numeric_limits<uint64_t>::max() : product;
}

uint64_t round_up(uint64_t value, uint64_t multiple) {
  const uint64_t rest = value % multiple;
  if (rest == 0) return value;
  return value > std::numeric_limits<uint64_t>::max() - multiple ? std::numeric_limits<uint64_t>::max()
                                                                 : value + (multiple - rest);
}

// Whether this build knows what the data of such an entry look like.
bool is_known(const TensorEntry& tensor) {
  if (tensor.layout == static_cast<uint32_t>(Layout::kRowMajor)) {
    return tensor.dtype <= static_cast<uint32_t>(DType::kI32);
  }
  if (tensor.layout == static_cast<uint32_t>(Layout::kN16K4)) return tensor.dtype == static_cast<uint32_t>(DType::kI8);
  if (tensor.layout == static_cast<uint32_t>(Layout::kN16K8)) {
    return tensor.dtype == static_cast<uint32_t>(DType::kI4) || tensor.dtype == static_cast<uint32_t>(DType::kU4);
  }
  return tensor.layout == static_cast<uint32_t>(Layout::kN16K1) && tensor.dtype == static_cast<uint32_t>(DType::kF32);
}

// Bytes of the data of an entry that is_known(), saturated.
uint64_t tensor_bytes(const TensorEntry& tensor) {
  uint64_t n = tensor.dims[0];
  uint64_t k = tensor.dims[1];
  if (tensor.layout != static_cast<uint32_t>(Layout::kRowMajor)) n = round_up(n, kPanelWidth);
  if (tensor.layout == static_cast<uint32_t>(Layout::kN16K4)) k = round_up(k, kGroupDepth);
  if (tensor.layout == static_cast<uint32_t>(Layout::kN16K8)) {
    return saturating_product(n, round_up(k, kGroupDepth4) / 2);  // 16 n: even
  }
  const uint64_t element = tensor.dtype == static_cast<uint32_t>(DType::kI8) ? 1 : 4;
  return saturating_product(saturating_product(n, k), element);
}

// Sums over k of the rows of a kN16K4 panel.
void panel_sums(const int8_t* panel, size_t k, int32_t* sums) {
  std::fill_n(sums, kPanelWidth, 0);
  for (size_t group = 0; group < group_count(k); ++group) {
    for (size_t i = 0; i < kPanelWidth * kGroupDepth; ++i) sums[i / kGroupDepth] += *panel++;
  }
}

// Activation bytes past K are of any value: the weights there must be zero for the result to be defined.
bool input_padding_is_zero(const int8_t* panel, size_t k) {
  const int8_t* last_group = panel + (group_count(k) - 1) * kPanelWidth * kGroupDepth;
  for (size_t i = 0; i < kPanelWidth * kGroupDepth; ++i) {
    if ((group_count(k) - 1) * kGroupDepth + i % kGroupDepth >= k && last_group[i] != 0) return false;
  }
  return true;
}

}  // namespace

void ModelFile::read_products() {
  const auto bytes = required_section(SectionType::kProducts);
  const uint64_t expected = (6 * uint64_t{config_.layer_count} + 1) * sizeof(ProductEntry);
  if (bytes.size() != expected) {
    fail("section 'products' has " + std::to_string(bytes.size()) + " bytes, expected " + std::to_string(expected) +
         " for config: layer_count " + std::to_string(config_.layer_count));
  }
  products_.resize(bytes.size() / sizeof(ProductEntry));
  std::memcpy(products_.data(), bytes.data(), bytes.size());
  for (size_t i = 0; i < products_.size(); ++i) {
    const ProductEntry& product = products_[i];
    if (product.scheme > static_cast<uint32_t>(Scheme::kCodebook)) {
      throw Error(ErrorCode::kUnsupported, source_ + ": product " + std::to_string(i) + " has scheme " +
                                               std::to_string(product.scheme) +
                                               ", which this build of octobert does not know; update octobert");
    }
    const bool grouped = product.scheme == static_cast<uint32_t>(Scheme::kWeightOnlyInt4);
    if (grouped && (product.group_size == 0 || product.group_size > kMaxReductionDepth ||
                    product.group_size % kGroupDepth4 != 0)) {
      fail("product " + std::to_string(i) + ": group_size is " + std::to_string(product.group_size) +
           ", expected a multiple of 8 up to " + std::to_string(kMaxReductionDepth));
    }
    if ((!grouped && product.group_size != 0) || product.reserved[0] != 0 || product.reserved[1] != 0) {
      fail("product " + std::to_string(i) + ": reserved fields are not zero");
    }
  }
}

void ModelFile::read_tensors() {
  const auto bytes = required_section(SectionType::kTensors);
  if (bytes.size() % sizeof(TensorEntry) != 0) {
    fail("section 'tensors' has " + std::to_string(bytes.size()) + " bytes, expected a multiple of " +
         std::to_string(sizeof(TensorEntry)));
  }
  if (bytes.size() / sizeof(TensorEntry) > std::numeric_limits<uint32_t>::max()) fail("section 'tensors' is too long");
  tensors_.resize(bytes.size() / sizeof(TensorEntry));
  if (!tensors_.empty()) std::memcpy(tensors_.data(), bytes.data(), bytes.size());
  for (const TensorEntry& tensor : tensors_) check_tensor(tensor);
  check_tensor_overlaps();

  tensors_by_name_.resize(tensors_.size());
  std::iota(tensors_by_name_.begin(), tensors_by_name_.end(), 0u);
  const auto name = [&](uint32_t i) { return std::string_view(tensors_[i].name); };
  std::sort(tensors_by_name_.begin(), tensors_by_name_.end(),
            [&](uint32_t a, uint32_t b) { return name(a) < name(b); });
  const auto twin = std::adjacent_find(tensors_by_name_.begin(), tensors_by_name_.end(),
                                       [&](uint32_t a, uint32_t b) { return name(a) == name(b); });
  if (twin != tensors_by_name_.end()) fail("two tensors named '" + std::string(name(*twin)) + "'");
}

void ModelFile::check_tensor(const TensorEntry& tensor) const {
  const auto index = static_cast<size_t>(&tensor - tensors_.data());
  if (!is_clean_name(tensor.name, sizeof tensor.name)) {
    fail("tensor " + std::to_string(index) + ": name is not printable ASCII, NUL-padded");
  }
  const std::string field = "tensor '" + std::string(tensor.name) + "': ";
  if (tensor.section >= sections_.size() ||
      sections_[tensor.section].type != static_cast<uint32_t>(SectionType::kWeights)) {
    fail(field + "section " + std::to_string(tensor.section) + " is not one of weights");
  }
  const SectionEntry& section = sections_[tensor.section];
  if (tensor.offset % format::kAlignment != 0) {
    fail(field + "is not aligned: offset " + std::to_string(tensor.offset));
  }
  if (tensor.offset > section.size || tensor.size > section.size - tensor.offset) {
    fail(field + "lies outside its section '" + section.name + "': offset " + std::to_string(tensor.offset) +
         ", size " + std::to_string(tensor.size) + ", section size " + std::to_string(section.size));
  }
  if (tensor.rank < 1 || tensor.rank > 2 || (tensor.rank == 1 && tensor.dims[1] != 1)) {
    fail(field + "rank " + std::to_string(tensor.rank) + " and dims[1] " + std::to_string(tensor.dims[1]) +
         ", expected rank 1 with dims[1] 1, or rank 2");
  }
  if (tensor.dims[0] == 0 || tensor.dims[1] == 0) fail(field + "has a dimension of 0");
  // An entry of a kind that this build does not know can't be used (make_bert_model refuses it if it should be).
  if (is_known(tensor) && tensor.size != tensor_bytes(tensor)) {
    fail(field + "size " + std::to_string(tensor.size) + ", expected " + std::to_string(tensor_bytes(tensor)) +
         " bytes for dims " + std::to_string(tensor.dims[0]) + " x " + std::to_string(tensor.dims[1]));
  }
}

void ModelFile::check_tensor_overlaps() const {
  std::vector<const TensorEntry*> order;
  order.reserve(tensors_.size());
  for (const TensorEntry& tensor : tensors_) order.push_back(&tensor);
  const auto key = [](const TensorEntry* t) { return std::tuple(t->section, t->offset, t->size); };
  std::sort(order.begin(), order.end(), [&](const TensorEntry* a, const TensorEntry* b) { return key(a) < key(b); });
  for (size_t i = 1; i < order.size(); ++i) {
    const TensorEntry &a = *order[i - 1], &b = *order[i];
    if (a.section == b.section && b.offset < a.offset + a.size) {
      fail("tensor '" + std::string(b.name) + "' overlaps tensor '" + a.name + "'");
    }
  }
}

std::optional<Tensor> ModelFile::find_tensor(std::string_view name) const {
  const auto it =
      std::lower_bound(tensors_by_name_.begin(), tensors_by_name_.end(), name,
                       [&](uint32_t i, std::string_view n) { return std::string_view(tensors_[i].name) < n; });
  if (it == tensors_by_name_.end() || std::string_view(tensors_[*it].name) != name) return std::nullopt;
  const TensorEntry& tensor = tensors_[*it];
  return Tensor{&tensor, section_bytes(sections_[tensor.section]).subspan(tensor.offset, tensor.size)};
}

void ModelFile::verify() const {
  for (const SectionEntry& section : sections_) {
    if (!checksum_matches(section)) fail("section '" + std::string(section.name) + "' is damaged: wrong checksum");
  }
  verify_padding();
  verify_sums();
}

void ModelFile::verify_padding() const {
  std::vector<std::pair<uint64_t, uint64_t>> used;  // [begin, end), in order
  used.emplace_back(0, sizeof(format::FileHeader) + sections_.size() * sizeof(SectionEntry));
  for (const SectionEntry& section : sections_) used.emplace_back(section.offset, section.offset + section.size);
  used.emplace_back(size(), size());
  std::sort(used.begin(), used.end());
  for (size_t i = 1; i < used.size(); ++i) {
    const auto gap = file_.bytes().subspan(used[i - 1].second, used[i].first - used[i - 1].second);
    if (std::any_of(gap.begin(), gap.end(), [](std::byte b) { return b != std::byte{0}; })) {
      fail("damaged: bytes between sections are not zero, after offset " + std::to_string(used[i - 1].second));
    }
  }
}

void ModelFile::verify_sums() const {
  for (const TensorEntry& tensor : tensors_) {
    const std::string name = tensor.name;
    if (!name.ends_with(".weight") || tensor.layout != static_cast<uint32_t>(Layout::kN16K4) || !is_known(tensor)) {
      continue;
    }
    const auto sums = find_tensor(name.substr(0, name.size() - std::strlen("weight")) + "sum");
    const size_t n = tensor.dims[0], k = tensor.dims[1];
    if (!sums || sums->entry->dtype != static_cast<uint32_t>(DType::kI32) ||
        sums->bytes.size() != padded_outputs(n) * sizeof(int32_t) || k > kMaxReductionDepth) {
      continue;  // not used as a product's sums: make_bert_model says what those must be
    }
    const auto* weights = reinterpret_cast<const int8_t*>(find_tensor(name)->bytes.data());
    for (size_t panel = 0; panel < panel_count(n); ++panel) {
      const int8_t* data = weights + panel * packed_s8_panel_bytes(k);
      if (!input_padding_is_zero(data, k)) fail("tensor '" + name + "' has padding that is not zero");
      int32_t expected[kPanelWidth];
      panel_sums(data, k, expected);
      if (std::memcmp(expected, sums->bytes.data() + panel * sizeof expected, sizeof expected) != 0) {
        fail("tensor '" + std::string(sums->entry->name) + "' does not hold the sums of its weights, panel " +
             std::to_string(panel));
      }
    }
  }
}

}  // namespace octobert
