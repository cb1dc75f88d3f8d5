// The frozen form of a tokenizer: the bytes of a packed file's tokenizer section, used in place.
//
// Little-endian, structures without padding. The section begins with a Prefix; `kind` says what follows. All
// offsets count bytes from the section's first byte (which is 8-byte aligned in memory), and every table begins at a
// multiple of 8. Whoever reads the section checks every extent, every trie unit and every index before the
// first use (tokenizer/frozen_view.h), so that no content can lead out of bounds.
//
// The tables of Unicode properties are compiled into the library, not stored: `unicode_tables` names their
// version, and a library with another version refuses the section. What the bytes describe is therefore fixed.
#ifndef OCTOBERT_TOKENIZER_FROZEN_H_
#define OCTOBERT_TOKENIZER_FROZEN_H_

#include <cstdint>

namespace octobert::frozen {

inline constexpr uint32_t kVersion = 1;
inline constexpr uint32_t kAlignment = 8;

enum class Kind : uint32_t {
  kWordPiece = 1,  // BertNormalizer, BertPreTokenizer, WordPiece: a WordPieceHeader
};

struct Prefix {
  uint32_t version;         // kVersion
  uint32_t kind;            // Kind
  uint64_t size;            // of the whole section, bytes
  uint32_t unicode_tables;  // unicode::kUnicodeTablesVersion
  uint32_t reserved;        // zero
};
static_assert(sizeof(Prefix) == 24);

struct Extent {
  uint32_t offset;  // bytes from the section's start, multiple of kAlignment
  uint32_t count;   // elements
};

// WordPieceHeader::flags
enum Flags : uint32_t {
  kCleanText = 1,
  kHandleChineseChars = 2,
  kStripAccents = 4,  // as resolved: null means as kLowercase
  kLowercase = 8,
  kTruncateLeft = 16,     // chunks are counted from the end of the text
  kEscapeSpecials = 32,   // special tokens in the text are always ordinary characters
  kDecodeWordPiece = 64,  // decode() is the WordPiece decoder; else tokens are joined by spaces
  kDecodeCleanup = 128,   // and cleans up spaces before punctuation
  kKnownFlags = 255,
};

// AddedToken::flags
enum AddedFlags : uint32_t {
  kSingleWord = 1,  // matches only where no \w touches it
  kLstrip = 2,      // takes white space before it
  kRstrip = 4,      // takes white space after it
  kSpecial = 8,     // not matched when special tokens are escaped
  kKnownAddedFlags = 15,
};

struct AddedToken {
  uint32_t id;
  uint32_t flags;  // AddedFlags
};

// One piece of a template. Special tokens of several ids are several pieces.
struct TemplatePiece {
  uint32_t kind;  // PieceKind
  uint32_t id;    // kToken: the id that is inserted
  uint32_t type_id;
};
enum PieceKind : uint32_t { kToken = 0, kSequenceA = 1, kSequenceB = 2 };

// A double-array trie over bytes. Unit 0 is the root, units 1 to 255 are unused. The child of a unit u by byte c is
// unit v = (u.link >> kBaseShift) + c if (v.link & kLabelMask) == (kUsed | c); every unit with children
// has a base of its own, so the label alone proves the parent. A unit without children has base 0.
// (link >> kBaseShift) + 255 is below the number of units for every unit.
struct TrieUnit {
  uint32_t link;   // base << kBaseShift | kUsed | label
  uint32_t value;  // 0: no string ends here; else 1 + its value
};
inline constexpr uint32_t kBaseShift = 9;
inline constexpr uint32_t kUsed = 256;
inline constexpr uint32_t kLabelMask = 511;
inline constexpr uint32_t kMaxTrieUnits = 1u << (32 - kBaseShift);

struct WordPieceHeader {
  Prefix prefix;
  uint32_t flags;       // Flags
  uint32_t vocab_size;  // ids are below this
  uint32_t unk_id;
  uint32_t max_word_chars;     // a word of more code points is one [UNK]
  uint64_t model_max_length;   // tokens, specials included; 0 if the checkpoint sets none
  Extent token_ends;           // uint32_t[vocab_size]: end of id i's string in token_bytes; "" for ids that don't exist
  Extent token_bytes;          // char[]: UTF-8
  Extent prefix_bytes;         // char[]: continuing_subword_prefix, "##"
  Extent decoder_prefix;       // char[]: the decoder's own prefix
  Extent vocabulary;           // TrieUnit[]: strings of the vocabulary -> id
  Extent added;                // AddedToken[]
  Extent raw_patterns;         // TrieUnit[]: strings looked for in the text as it is -> index in `added`
  Extent normalized_patterns;  // TrieUnit[]: strings looked for in the normalized text -> index in `added`
  Extent single;               // TemplatePiece[]: [CLS] A [SEP]
  Extent pair;                 // TemplatePiece[]: [CLS] A [SEP] B [SEP]
};
static_assert(sizeof(WordPieceHeader) == 128);

// Bounds that keep hostile files cheap: no tokenizer comes near.
inline constexpr uint32_t kMaxVocabulary = 1u << 24;
inline constexpr uint32_t kMaxAdded = 1u << 20;
inline constexpr uint32_t kMaxPieces = 64;          // of a template
inline constexpr uint32_t kMaxPatternBytes = 1024;  // of one added token: matching looks at most this far ahead

}  // namespace octobert::frozen

#endif  // OCTOBERT_TOKENIZER_FROZEN_H_
