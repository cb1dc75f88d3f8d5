// A frozen tokenizer, checked: what its tables mean, ready for use in place.
#ifndef OCTOBERT_TOKENIZER_FROZEN_VIEW_H_
#define OCTOBERT_TOKENIZER_FROZEN_VIEW_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "tokenizer/frozen.h"
#include "tokenizer/trie.h"

namespace octobert {

// Views into the caller's bytes, every one of them validated:
// - extents lie inside the section and are aligned; token strings are in order;
// - trie units lead to units, their values are ids (or indices in `added`); vocabulary values are below vocab_size;
// - template pieces have a known kind; there is one A in `single`, no B, and at least one of each in `pair`.
struct FrozenView {
  const frozen::WordPieceHeader* header = nullptr;
  std::span<const uint32_t> token_ends;
  std::string_view token_bytes;
  std::string_view prefix;          // "##"
  std::string_view decoder_prefix;  // "##"
  Trie vocabulary;
  std::span<const frozen::AddedToken> added;
  Trie raw_patterns;
  Trie normalized_patterns;
  bool has_raw_patterns = false;
  bool has_normalized_patterns = false;
  std::span<const frozen::TemplatePiece> single;
  std::span<const frozen::TemplatePiece> pair;

  bool has(frozen::Flags flag) const { return (header->flags & flag) != 0; }
  std::string_view token(uint32_t id) const;  // "" if there is none
};

// Throws Error(kFormat) naming `source` and the field, Error(kUnsupported) for another version, kind or Unicode tables.
FrozenView read_frozen(std::span<const std::byte> bytes, const std::string& source);

}  // namespace octobert

#endif  // OCTOBERT_TOKENIZER_FROZEN_VIEW_H_
