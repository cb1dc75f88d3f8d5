// Added tokens in a text: leftmost-longest matches of their strings, with the reference's flags.
#ifndef OCTOBERT_TOKENIZER_ADDED_TOKENS_H_
#define OCTOBERT_TOKENIZER_ADDED_TOKENS_H_

#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "tokenizer/frozen.h"
#include "tokenizer/trie.h"

namespace octobert {

// A part of a text: an added token, or what lies between two. Parts can overlap (a token that takes the white
// space after it, before one whose own string begins with white space), as in the reference.
struct Part {
  static constexpr uint32_t kText = UINT32_MAX;
  uint32_t id = kText;  // of the added token, or kText
  uint32_t begin = 0, end = 0;
};

class AddedTokenMatcher {
 public:
  AddedTokenMatcher() = default;
  AddedTokenMatcher(const Trie& patterns, std::span<const frozen::AddedToken> tokens);

  // Splits `text` (valid UTF-8). Empty parts are left out. `escape`: special tokens are ordinary text.
  void split(std::string_view text, bool escape, std::vector<Part>& parts) const;

 private:
  // The next place at or after `from` where a pattern can begin; text.size() if there is none.
  size_t next_candidate(std::string_view text, size_t from) const;
  struct Scan;  // one pass over a text
  Trie::Match match_at(std::string_view text, size_t at) const;

  Trie patterns_;
  std::span<const frozen::AddedToken> tokens_;
  std::array<bool, 256> starts_{};  // bytes that some pattern begins with
  int only_start_ = -1;             // the byte that every pattern begins with, if there is one
  bool matches_empty_ = false;      // some token normalizes to nothing: it matches between any two characters
};

}  // namespace octobert

#endif  // OCTOBERT_TOKENIZER_ADDED_TOKENS_H_
