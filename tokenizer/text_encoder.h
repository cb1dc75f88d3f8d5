// One text -> tokens: added tokens, normalization, words, pieces. Everything before truncation and template.
#ifndef OCTOBERT_TOKENIZER_TEXT_ENCODER_H_
#define OCTOBERT_TOKENIZER_TEXT_ENCODER_H_

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "octobert/tokenizer.h"
#include "tokenizer/added_tokens.h"
#include "tokenizer/frozen_view.h"
#include "tokenizer/normalize.h"
#include "tokenizer/token_buffer.h"
#include "tokenizer/word_splitter.h"
#include "tokenizer/wordpiece.h"

namespace octobert {

// Memory of one encode at a time, reused by the next.
struct EncodeScratch {
  TokenBuffer tokens[2];  // of the first and the second text
  OpenWord word;
  CombiningRun run;
  NormalizedText normalized;
  std::vector<Part> raw_parts, normalized_parts;
  std::string repaired;
  std::vector<uint32_t> patches;  // pairs: offset in `repaired`, offset in the text, past each replacement
  std::vector<Span> ranges[2];
  std::vector<uint32_t> picks;

  // What a text of some megabytes has left behind is given back, so that a long-lived thread stays small.
  void release_if_large();
};

// Immutable after construction: tables derived from the frozen form.
class TextEncoder {
 public:
  TextEncoder() = default;
  explicit TextEncoder(const FrozenView& frozen);

  // Appends the tokens of `text` to `out`. word >= 0: the index that all of them get; else words are counted.
  // Throws Error(kInvalidInput) for invalid UTF-8 if the options say so.
  void encode(std::string_view text, const TokenizeOptions& options, int64_t word, EncodeScratch& scratch,
              TokenBuffer& out) const;

 private:
  // What an ASCII character does where no other character has a say in it.
  enum class Ascii : uint8_t {
    kWord,         // part of a word
    kSpace,        // white space
    kPunctuation,  // a word of its own
    kOther,        // not ASCII, dropped by clean_text, or NUL: the general way
  };

  void fill_ascii();
  void encode_valid(std::string_view text, bool escape, int64_t word, EncodeScratch& scratch, TokenBuffer& out) const;
  uint32_t encode_streaming(std::string_view text, Place at, size_t end, uint32_t word, EncodeScratch& scratch,
                            TokenBuffer& out) const;
  const uint8_t* encode_ascii(const uint8_t* at, const uint8_t* end, const uint8_t* text, uint32_t continuations,
                              uint32_t& word, TokenBuffer& out) const;
  uint32_t encode_normalized(std::string_view text, Place at, size_t end, bool escape, uint32_t word,
                             EncodeScratch& scratch, TokenBuffer& out) const;

  WordPiece model_;
  NormalizerOptions options_;
  AddedTokenMatcher raw_, normalized_;
  bool has_raw_ = false, has_normalized_ = false, always_escape_ = false;
  std::array<Ascii, 256> ascii_{};
  std::array<uint8_t, 256> letter_{};           // normalized character of kWord; 0 for the others
  std::array<uint32_t, 128> punctuation_id_{};  // of kPunctuation
};

}  // namespace octobert

#endif  // OCTOBERT_TOKENIZER_TEXT_ENCODER_H_
