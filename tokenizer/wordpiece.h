// WordPiece: a word of normalized text -> the longest pieces of the vocabulary, or [UNK] for the whole word.
#ifndef OCTOBERT_TOKENIZER_WORDPIECE_H_
#define OCTOBERT_TOKENIZER_WORDPIECE_H_

#include <array>
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

  // The same for a word of ASCII in the source itself, `letters` giving the normalized form of each byte. First the
  // longest piece at its beginning, which on the way finds the word's end (`past`: the first byte without a letter) ...
  Trie::Match longest(const uint8_t* word, const uint8_t* end, const std::array<uint8_t, 256>& letters,
                      const uint8_t*& past) const {
    const uint8_t* at = word;
    Trie::Match match;
    uint32_t unit = Trie::kRoot;
    for (; at != end; ++at) {
      const uint8_t letter = letters[*at];
      if (letter == 0) break;
      unit = vocabulary_.child(unit, letter);
      if (unit == Trie::kNone) {
        while (at != end && letters[*at] != 0) ++at;
        break;
      }
      if (const uint32_t value = vocabulary_.value(unit)) match = {static_cast<uint32_t>(at + 1 - word), value};
    }
    past = at;
    return match;
  }
  // ... then the rest.
  template <typename PlaceOf>
  void encode_letters(const uint8_t* word, const uint8_t* end, Trie::Match match, uint32_t index,
                      const std::array<uint8_t, 256>& letters, const PlaceOf& place, TokenBuffer& out) const {
    const auto size = static_cast<size_t>(end - word);
    out.reserve_more(size);
    const size_t before = out.size();
    for (const uint8_t* at = word; size <= max_chars_ && match.value != 0;) {
      out.push({match.value - 1, index, place(at), place(at + match.size)});
      at += match.size;
      if (at == end) return;
      match = continuation_ == Trie::kNone ? Trie::Match{} : longest_letters(at, end, letters);
    }
    out.truncate(before);
    out.push({unk_id_, index, place(word), place(end)});
  }

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
  Trie::Match longest_letters(const uint8_t* at, const uint8_t* end, const std::array<uint8_t, 256>& letters) const {
    Trie::Match match;
    uint32_t unit = continuation_;
    for (const uint8_t* p = at; p != end;) {
      unit = vocabulary_.child(unit, letters[*p++]);
      if (unit == Trie::kNone) break;
      if (const uint32_t value = vocabulary_.value(unit)) match = {static_cast<uint32_t>(p - at), value};
    }
    return match;
  }

  Trie vocabulary_;
  uint32_t continuation_ = Trie::kNone;  // where the trie's strings that begin with the prefix go on
  uint32_t unk_id_ = 0;
  uint32_t max_chars_ = 0;
};

}  // namespace octobert

#endif  // OCTOBERT_TOKENIZER_WORDPIECE_H_
