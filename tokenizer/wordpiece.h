// WordPiece: a word of normalized text -> the longest pieces of the vocabulary, or [UNK] for the whole word.
#ifndef OCTOBERT_TOKENIZER_WORDPIECE_H_
#define OCTOBERT_TOKENIZER_WORDPIECE_H_

#include <cstdint>

#include "tokenizer/frozen_view.h"
#include "tokenizer/token_buffer.h"
#include "tokenizer/trie.h"

namespace octobert {

class WordPiece {
 public:
  WordPiece() = default;
  explicit WordPiece(const FrozenView& frozen)
      : vocabulary_(frozen.vocabulary),
        continuation_(vocabulary_.walk(Trie::kRoot, frozen.prefix)),
        unk_id_(frozen.header->unk_id),
        max_chars_(frozen.header->max_word_chars) {}

  uint32_t unk_id() const { return unk_id_; }
  // Code points of a word beyond which it is one [UNK].
  uint32_t max_chars() const { return max_chars_; }

  // Appends the pieces of [word, end), which is not empty and of at most max_chars() code points. `places` gives what
  // a piece stands for: Place begin(const uint8_t* first), Place end(const uint8_t* past_last).
  template <typename Places>
  void encode(const uint8_t* word, const uint8_t* end, uint32_t index, const Places& places, TokenBuffer& out) const {
    const size_t before = out.size();
    out.reserve_more(static_cast<size_t>(end - word));
    uint32_t root = Trie::kRoot;
    for (const uint8_t* at = word; at != end;) {
      const Trie::Match match = root == Trie::kNone ? Trie::Match{} : vocabulary_.longest(root, at, end);
      if (match.value == 0) {
        out.truncate(before);
        out.push({unk_id_, index, places.begin(word), places.end(end)});
        return;
      }
      out.push({match.value - 1, index, places.begin(at), places.end(at + match.size)});
      at += match.size;
      root = continuation_;
    }
  }

 private:
  Trie vocabulary_;
  uint32_t continuation_ = Trie::kNone;  // where the trie's strings that begin with the prefix go on
  uint32_t unk_id_ = 0;
  uint32_t max_chars_ = 0;
};

}  // namespace octobert

#endif  // OCTOBERT_TOKENIZER_WORDPIECE_H_
