// WordPiece as HuggingFace's fast tokenizers give it (tokenizers 0.23.3), frozen at conversion.
#ifndef OCTOBERT_TOKENIZER_H_
#define OCTOBERT_TOKENIZER_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "octobert/export.h"

namespace octobert {

// Half-open range of a text, in the unit that the field's name says.
struct Span {
  uint32_t begin = 0;
  uint32_t end = 0;
  friend bool operator==(const Span&, const Span&) = default;
};

// A special token typed in the text ("[SEP]"): kept as that token, as the reference does,
// or treated as ordinary characters (for text that is not trusted).
enum class SpecialTokensInText { kKeep, kEscape };

// Invalid UTF-8: U+FFFD for each maximal subpart (WHATWG Encoding, Unicode 3.9 "best practice"),
// offsets still those of the caller's bytes; or Error(kInvalidInput) with the byte offset.
enum class InvalidUtf8 { kReplace, kError };

struct TokenizeOptions {
  bool add_special_tokens = true;  // [CLS] … [SEP]
  size_t max_length = 0;           // tokens in a chunk, specials included; 0: one chunk, nothing cut
  size_t stride = 0;               // tokens that consecutive chunks share
  bool overflow = true;            // false: only the first chunk (the rest is cut)
  SpecialTokensInText special_tokens_in_text = SpecialTokensInText::kKeep;
  InvalidUtf8 invalid_utf8 = InvalidUtf8::kReplace;
};

// Tokens of one chunk, one entry a token in every array.
struct OCTOBERT_API Encoding {
  std::vector<int32_t> ids;
  std::vector<int32_t> type_ids;
  std::vector<uint8_t> special;    // 1 for tokens that the template added
  std::vector<int32_t> words;      // index of the pre-tokenizer's word (or of the caller's); -1 for none
  std::vector<uint8_t> sequences;  // 0 first text, 1 second text of a pair; 0 for specials
  std::vector<Span> codepoints;    // offsets in the token's own text (or caller's word), code points
  std::vector<Span> bytes;         // the same in bytes
  size_t size() const { return ids.size(); }
  void clear();
  void resize(size_t size);  // every array
};

// Chunks of one text; reused from call to call it stops allocating.
struct Encodings {
  std::vector<Encoding> chunks;  // only the first `count` are valid
  size_t count = 0;
  bool truncated = false;  // tokens of the text are in no chunk (max_length with overflow = false)
};

// Immutable; every const method may be called from many threads at once. Calls use scratch memory of their thread
// (at most some megabytes are kept), so that a warm call into reused Encodings allocates nothing.
class OCTOBERT_API Tokenizer {
 public:
  // Reads the frozen form (a packed file's tokenizer section). The bytes must outlive the tokenizer;
  // they are validated here: no content can cause an access out of bounds later.
  // Throws Error(kFormat) naming `source`.
  static Tokenizer from_frozen(std::span<const std::byte> bytes, const std::string& source);

  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;
  ~Tokenizer();

  // text: UTF-8, up to 2^32 - 2 bytes. Empty text gives the specials alone. As in the reference, chunk 0 is the main
  // one and the overflowing ones follow, a max_length of exactly the specials puts the whole text into one
  // overflowing chunk, and one too short even for the specials cuts nothing. Throws Error(kInvalidInput): invalid UTF-8
  // (if asked for), a stride that leaves no progress, more than 2^26 tokens over all chunks.
  void encode(std::string_view text, const TokenizeOptions& options, Encodings& out) const;
  // A pair of texts, truncated `longest_first`.
  void encode_pair(std::string_view a, std::string_view b, const TokenizeOptions& options, Encodings& out) const;
  // Words that the caller has split; `words` and offsets are the caller's word index and offsets inside that word.
  void encode_words(std::span<const std::string_view> words, const TokenizeOptions& options, Encodings& out) const;

  size_t vocab_size() const;        // ids are below this (added tokens included)
  size_t special_count() const;     // tokens that the single-text template adds (2: [CLS], [SEP])
  size_t model_max_length() const;  // from tokenizer_config.json; 0 if it sets none
  int32_t unk_id() const;
  // Whether a long text may be cut between these two code points, and its parts encoded one by one, with the same
  // tokens. False where it is not certain, as with added tokens that can reach across.
  bool can_cut_between(uint32_t before, uint32_t after) const;
  std::string_view token(int32_t id) const;    // "" if the id is not in the vocabulary
  std::string_view continuing_prefix() const;  // "##"
  // HuggingFace's WordPiece decoder (prefix removal, and clean-up of spaces if the tokenizer has it set) on a run
  // of tokens: the `word` field of the reference's pipeline.
  void decode(std::span<const std::string_view> tokens, std::string& out) const;

 private:
  struct Impl;
  explicit Tokenizer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace octobert

#endif  // OCTOBERT_TOKENIZER_H_
