// BertNormalizer: clean_text, spaces around Chinese characters, strip_accents (NFD without Mn), lowercase, one
// source character at a time, each resulting character with the place of the source character it stands for.
#ifndef OCTOBERT_TOKENIZER_NORMALIZE_H_
#define OCTOBERT_TOKENIZER_NORMALIZE_H_

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/token_buffer.h"
#include "tokenizer/unicode_tables.h"
#include "tokenizer/utf8.h"

namespace octobert {

struct NormalizerOptions {
  bool clean_text = true;
  bool handle_chinese_chars = true;
  bool strip_accents = true;  // null in a tokenizer.json means: as lowercase
  bool lowercase = true;
};

// The canonical decomposition of a code point with kDecomposes: its code points, which stay valid until the next call
// with the same `hangul`.
std::span<const uint32_t> decomposition(uint32_t cp, const unicode::CharRecord& record, uint32_t (&hangul)[3]);

// A run of combining characters waits here until its end is known, because NFD orders it by combining class.
class CombiningRun {
 public:
  struct Item {
    uint32_t code_point;
    uint8_t combining_class;
    bool inserted;  // not the first code point of its source character's decomposition
    bool dropped;   // category Mn
  };

  bool empty() const { return items_.empty(); }
  void clear();
  // `source` is where an item that is not inserted comes from.
  void add(const Item& item, Place source);
  // In canonical order (stable).
  void sort();
  std::span<const Item> items() const { return items_; }
  std::span<const Place> sources() const { return sources_; }
  size_t capacity_bytes() const;

 private:
  std::vector<Item> items_, sorted_;
  std::vector<Place> sources_;
  bool in_order_ = true;
};

// Sink: void operator()(uint32_t code_point, const unicode::CharRecord&, Place source).
template <typename Sink>
class Normalizer {
 public:
  Normalizer(const NormalizerOptions& options, CombiningRun& run, Sink& sink)
      : options_(options), run_(run), sink_(sink) {}

  // The next character of the source.
  void put(uint32_t cp, Place source) {
    const unicode::CharRecord* record = &unicode::char_record(cp);
    if (options_.clean_text) {
      if (record->flags & unicode::kRemoved) return;
      if (record->flags & unicode::kWhitespace) {
        cp = ' ';
        record = &unicode::char_record(' ');
      }
    }
    if (options_.handle_chinese_chars && (record->flags & unicode::kCjk)) {
      const unicode::CharRecord& space = unicode::char_record(' ');
      strip(' ', space, source);
      strip(cp, *record, source);
      strip(' ', space, source);
    } else {
      strip(cp, *record, source);
    }
  }

  // The end of the text (or of the piece between two added tokens).
  void finish() {
    if (!run_.empty()) flush_run();
  }

 private:
  void strip(uint32_t cp, const unicode::CharRecord& record, Place source) {
    if (!options_.strip_accents) return lower(cp, record, source);
    if (record.combining_class == 0 && !(record.flags & unicode::kDecomposes)) {
      if (!run_.empty()) flush_run();
      current_ = source;
      if (!(record.flags & unicode::kMarkNonspacing)) lower(cp, record, source);
      return;
    }
    decompose(cp, record, source);
  }

  void decompose(uint32_t cp, const unicode::CharRecord& record, Place source) {
    uint32_t hangul[3];
    const uint32_t self[1] = {cp};
    const std::span<const uint32_t> parts =
        record.flags & unicode::kDecomposes ? decomposition(cp, record, hangul) : std::span<const uint32_t>(self);
    for (size_t i = 0; i < parts.size(); ++i) {
      const unicode::CharRecord& part = unicode::char_record(parts[i]);
      const bool dropped = (part.flags & unicode::kMarkNonspacing) != 0;
      if (part.combining_class != 0) {
        run_.add({parts[i], part.combining_class, i > 0, dropped}, source);
        continue;
      }
      if (!run_.empty()) flush_run();
      if (i == 0) current_ = source;
      if (!dropped) lower(parts[i], part, current_);
    }
  }

  // The reference gives the k-th character of the ordered run that stands for a source character of its own the
  // place of the k-th such source character, whichever character that was before ordering.
  void flush_run() {
    run_.sort();
    size_t next = 0;
    for (const CombiningRun::Item& item : run_.items()) {
      if (!item.inserted) current_ = run_.sources()[next++];
      if (!item.dropped) lower(item.code_point, unicode::char_record(item.code_point), current_);
    }
    run_.clear();
  }

  void lower(uint32_t cp, const unicode::CharRecord& record, Place source) {
    if (!options_.lowercase || !(record.flags & unicode::kLowers)) return sink_(cp, record, source);
    if (!(record.flags & unicode::kLowersToMany)) {
      const auto lowered = static_cast<uint32_t>(static_cast<int32_t>(cp) + record.lower);
      return sink_(lowered, unicode::char_record(lowered), source);
    }
    const uint32_t* parts = unicode::kPool + record.lower;
    for (uint32_t i = 1; i <= parts[0]; ++i) sink_(parts[i], unicode::char_record(parts[i]), source);
  }

  const NormalizerOptions options_;
  CombiningRun& run_;
  Sink& sink_;
  Place current_;  // of the last source character that a character of its own stood for
};

// A text after normalization: UTF-8, and for each byte the place of the source character it stands for.
struct NormalizedText {
  std::vector<uint8_t> bytes;
  std::vector<Place> places;

  void clear() {
    bytes.clear();
    places.clear();
  }
  void operator()(uint32_t cp, const unicode::CharRecord&, Place source) {
    uint8_t utf8[4];
    const uint32_t size = utf8::encode(cp, utf8);
    bytes.insert(bytes.end(), utf8, utf8 + size);
    places.insert(places.end(), size, source);
  }
};

// text: valid UTF-8. Places are counted from `at`.
void normalize(std::string_view text, Place at, const NormalizerOptions& options, CombiningRun& run,
               NormalizedText& out);

// The normalized string alone: what patterns of normalized added tokens are frozen as.
std::string normalize(std::string_view text, const NormalizerOptions& options);

}  // namespace octobert

#endif  // OCTOBERT_TOKENIZER_NORMALIZE_H_
