// Walks over the frozen double-array tries (frozen::TrieUnit). Validated units only.
#ifndef OCTOBERT_TOKENIZER_TRIE_H_
#define OCTOBERT_TOKENIZER_TRIE_H_

#include <cstdint>
#include <span>
#include <string_view>

#include "tokenizer/frozen.h"

namespace octobert {

class Trie {
 public:
  static constexpr uint32_t kRoot = 0;
  static constexpr uint32_t kNone = UINT32_MAX;

  Trie() = default;
  explicit Trie(std::span<const frozen::TrieUnit> units) : units_(units.data()) {}

  // The unit reached from `unit` by a byte; kNone if there is none.
  uint32_t child(uint32_t unit, uint8_t byte) const {
    const uint32_t next = (units_[unit].link >> frozen::kBaseShift) + byte;
    return (units_[next].link & frozen::kLabelMask) == (frozen::kUsed | byte) ? next : kNone;
  }

  // 0 if no string ends at `unit`, else 1 + its value.
  uint32_t value(uint32_t unit) const { return units_[unit].value; }

  uint32_t walk(uint32_t unit, std::string_view bytes) const {
    for (const char byte : bytes) {
      unit = child(unit, static_cast<uint8_t>(byte));
      if (unit == kNone) break;
    }
    return unit;
  }

  struct Match {
    uint32_t size = 0;   // bytes
    uint32_t value = 0;  // 0: none; else 1 + value
  };
  // The longest string that [p, end) begins with, of at least one byte, from `unit` on.
  Match longest(uint32_t unit, const uint8_t* p, const uint8_t* end) const {
    Match match;
    for (const uint8_t* at = p; at != end;) {
      unit = child(unit, *at++);
      if (unit == kNone) break;
      if (const uint32_t value = units_[unit].value) match = {static_cast<uint32_t>(at - p), value};
    }
    return match;
  }

 private:
  const frozen::TrieUnit* units_ = nullptr;
};

}  // namespace octobert

#endif  // OCTOBERT_TOKENIZER_TRIE_H_
