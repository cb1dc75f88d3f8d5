// BertPreTokenizer on a stream of normalized characters: words end at white space, punctuation is a word of its own.
#ifndef OCTOBERT_TOKENIZER_WORD_SPLITTER_H_
#define OCTOBERT_TOKENIZER_WORD_SPLITTER_H_

#include <cstdint>
#include <vector>

#include "tokenizer/token_buffer.h"
#include "tokenizer/unicode_tables.h"
#include "tokenizer/utf8.h"
#include "tokenizer/wordpiece.h"

namespace octobert {

// The word that is being read. Of a word that is too long only the extent is kept.
struct OpenWord {
  std::vector<uint8_t> bytes;
  std::vector<Place> places;  // of the source character of each byte
  uint64_t chars = 0;
  Place first, last;  // source characters

  void clear() {
    bytes.clear();
    places.clear();
    chars = 0;
  }
};

// A sink of Normalizer.
class WordSplitter {
 public:
  // source: the text that places refer to. Words are numbered from `word`.
  WordSplitter(const WordPiece& model, const uint8_t* source, OpenWord& open, uint32_t word, TokenBuffer& out)
      : model_(model), source_(source), open_(open), word_(word), out_(out) {}

  void operator()(uint32_t cp, const unicode::CharRecord& record, Place source) {
    if (record.flags & unicode::kWhitespace) {
      finish_word();
    } else if (record.flags & unicode::kPunctuation) {
      finish_word();
      append(cp, source);
      finish_word();
    } else {
      append(cp, source);
    }
  }

  void finish_word() {
    if (open_.chars == 0) return;
    if (open_.chars > model_.max_chars()) {
      out_.reserve_more(1);
      out_.push({model_.unk_id(), word_, open_.first, end_of(open_.last)});
    } else {
      const uint8_t* word = open_.bytes.data();
      model_.encode(word, word + open_.bytes.size(), word_, Places{*this, word}, out_);
    }
    ++word_;
    open_.clear();
  }

  uint32_t word() const { return word_; }
  void set_word(uint32_t word) { word_ = word; }

  // Past the source character at `place`.
  Place end_of(Place place) const {
    return {place.byte + utf8::sequence_size(source_[place.byte]), place.code_point + 1};
  }

 private:
  struct Places {
    const WordSplitter& splitter;
    const uint8_t* word;
    Place begin(const uint8_t* first) const { return splitter.open_.places[static_cast<size_t>(first - word)]; }
    Place end(const uint8_t* past) const {
      return splitter.end_of(splitter.open_.places[static_cast<size_t>(past - word) - 1]);
    }
  };

  void append(uint32_t cp, Place source) {
    if (open_.chars == 0) open_.first = source;
    open_.last = source;
    if (++open_.chars > model_.max_chars()) return;
    // Written in place: this is the inner loop of text that is not ASCII.
    const size_t at = open_.bytes.size();
    open_.bytes.resize(at + 4);
    open_.places.resize(at + 4, source);
    const size_t size = at + utf8::encode(cp, open_.bytes.data() + at);
    open_.bytes.resize(size);
    open_.places.resize(size);
  }

  const WordPiece& model_;
  const uint8_t* source_;
  OpenWord& open_;
  uint32_t word_;
  TokenBuffer& out_;
};

}  // namespace octobert

#endif  // OCTOBERT_TOKENIZER_WORD_SPLITTER_H_
