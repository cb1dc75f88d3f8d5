#include "tokenizer/normalize.h"

#include <algorithm>

namespace octobert {
namespace {

// Unicode 15, 3.12 "Conjoining Jamo Behavior".
constexpr uint32_t kSyllableBase = 0xAC00, kLeadBase = 0x1100, kVowelBase = 0x1161, kTrailBase = 0x11A7;
constexpr uint32_t kVowelCount = 21, kTrailCount = 28;

// Up to here insertion sort: runs are nearly always of one to three.
constexpr size_t kInsertionSortMax = 24;

}  // namespace

std::span<const uint32_t> decomposition(uint32_t cp, const unicode::CharRecord& record, uint32_t (&hangul)[3]) {
  if (record.decomposition_size != 0) {
    return {unicode::kPool + record.decomposition_offset, record.decomposition_size};
  }
  const uint32_t syllable = cp - kSyllableBase;
  hangul[0] = kLeadBase + syllable / (kVowelCount * kTrailCount);
  hangul[1] = kVowelBase + syllable / kTrailCount % kVowelCount;
  hangul[2] = kTrailBase + syllable % kTrailCount;
  return {hangul, syllable % kTrailCount == 0 ? size_t{2} : size_t{3}};
}

void CombiningRun::clear() {
  items_.clear();
  sources_.clear();
  in_order_ = true;
}

void CombiningRun::add(const Item& item, Place source) {
  if (!items_.empty() && items_.back().combining_class > item.combining_class) in_order_ = false;
  items_.push_back(item);
  if (!item.inserted) sources_.push_back(source);
}

void CombiningRun::sort() {
  if (in_order_) return;
  if (items_.size() <= kInsertionSortMax) {
    for (size_t i = 1; i < items_.size(); ++i) {
      const Item item = items_[i];
      size_t j = i;
      for (; j > 0 && items_[j - 1].combining_class > item.combining_class; --j) items_[j] = items_[j - 1];
      items_[j] = item;
    }
    return;
  }
  // Counting sort: linear, for texts of combining marks alone.
  size_t starts[257] = {};
  for (const Item& item : items_) ++starts[item.combining_class + 1];
  for (size_t i = 1; i < 257; ++i) starts[i] += starts[i - 1];
  sorted_.resize(items_.size());
  for (const Item& item : items_) sorted_[starts[item.combining_class]++] = item;
  items_.swap(sorted_);
}

size_t CombiningRun::capacity_bytes() const {
  return (items_.capacity() + sorted_.capacity()) * sizeof(Item) + sources_.capacity() * sizeof(Place);
}

void normalize(std::string_view text, Place at, const NormalizerOptions& options, CombiningRun& run,
               NormalizedText& out) {
  out.clear();
  Normalizer normalizer(options, run, out);
  const auto* bytes = reinterpret_cast<const uint8_t*>(text.data());
  for (size_t i = 0; i < text.size();) {
    const uint32_t size = utf8::sequence_size(bytes[i]);
    normalizer.put(utf8::decode(bytes + i, size), at);
    i += size;
    at.byte += size;
    ++at.code_point;
  }
  normalizer.finish();
}

std::string normalize(std::string_view text, const NormalizerOptions& options) {
  CombiningRun run;
  NormalizedText normalized;
  normalize(text, Place{}, options, run, normalized);
  return {normalized.bytes.begin(), normalized.bytes.end()};
}

}  // namespace octobert
