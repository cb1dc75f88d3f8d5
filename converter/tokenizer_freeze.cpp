// TokenizerSpec -> the bytes of tokenizer/frozen.h.
#include <algorithm>
#include <cstring>
#include <span>

#include "converter/tokenizer_import.h"
#include "converter/trie_builder.h"
#include "octobert/error.h"
#include "tokenizer/unicode_tables.h"

namespace octobert::converter {
namespace {

class Section {
 public:
  Section() : bytes_(sizeof(frozen::WordPieceHeader)) {}

  template <typename T>
  frozen::Extent add(std::span<const T> values) {
    bytes_.resize((bytes_.size() + frozen::kAlignment - 1) / frozen::kAlignment * frozen::kAlignment);
    const size_t offset = bytes_.size();
    if (values.size_bytes() > UINT32_MAX - offset) {
      throw Error(ErrorCode::kUnsupported, "tokenizer: its frozen form would be larger than 4 GiB");
    }
    bytes_.resize(offset + values.size_bytes());
    if (!values.empty()) std::memcpy(bytes_.data() + offset, values.data(), values.size_bytes());
    return {static_cast<uint32_t>(offset), static_cast<uint32_t>(values.size())};
  }
  template <typename T>
  frozen::Extent add(const std::vector<T>& values) {
    return add(std::span<const T>(values));
  }
  frozen::Extent add(const std::string& text) { return add(std::span<const char>(text)); }

  std::vector<std::byte> finish(frozen::WordPieceHeader& header) {
    bytes_.resize((bytes_.size() + frozen::kAlignment - 1) / frozen::kAlignment * frozen::kAlignment);
    header.prefix = {frozen::kVersion, static_cast<uint32_t>(frozen::Kind::kWordPiece), bytes_.size(),
                     unicode::kUnicodeTablesVersion, 0};
    std::memcpy(bytes_.data(), &header, sizeof(header));
    return std::move(bytes_);
  }

 private:
  std::vector<std::byte> bytes_;
};

std::string pattern_of(const AddedTokenSpec& token, const NormalizerOptions& options) {
  return token.normalized ? normalize(token.content, options) : token.content;
}

// The string of each id: an added token's goes before the vocabulary's, and is normalized if it is matched so.
std::vector<std::string> token_strings(const TokenizerSpec& spec) {
  uint32_t size = 0;
  for (const auto& [token, id] : spec.vocabulary) size = std::max(size, id + 1);
  for (const AddedTokenSpec& token : spec.added) size = std::max(size, token.id + 1);
  std::vector<std::string> strings(size);
  for (const auto& [token, id] : spec.vocabulary) strings[id] = token;
  for (const AddedTokenSpec& token : spec.added) strings[token.id] = pattern_of(token, spec.normalizer);
  return strings;
}

void add_strings(const TokenizerSpec& spec, Section& section, frozen::WordPieceHeader& header) {
  std::vector<uint32_t> ends;
  std::string bytes;
  for (const std::string& token : token_strings(spec)) {
    bytes += token;
    if (bytes.size() > INT32_MAX)
      throw Error(ErrorCode::kUnsupported, "tokenizer: the vocabulary's strings exceed 2 GiB");
    ends.push_back(static_cast<uint32_t>(bytes.size()));
  }
  if (ends.size() > frozen::kMaxVocabulary) {
    throw Error(ErrorCode::kUnsupported, "tokenizer: more than " + std::to_string(frozen::kMaxVocabulary) + " ids");
  }
  header.vocab_size = static_cast<uint32_t>(ends.size());
  header.token_ends = section.add(ends);
  header.token_bytes = section.add(bytes);
}

// Patterns that occur twice (two tokens that normalize alike) go to the lowest id: the reference's choice changes from
// one run to the next.
frozen::Extent add_patterns(const TokenizerSpec& spec, bool normalized, Section& section) {
  std::vector<std::pair<std::string, uint32_t>> entries;
  for (uint32_t i = 0; i < spec.added.size(); ++i) {
    const AddedTokenSpec& token = spec.added[i];
    if (token.normalized != normalized) continue;
    entries.emplace_back(pattern_of(token, spec.normalizer), i);
    if (entries.back().first.size() > frozen::kMaxPatternBytes) {
      throw Error(ErrorCode::kUnsupported, "tokenizer: added token " + std::to_string(token.id) + " is longer than " +
                                               std::to_string(frozen::kMaxPatternBytes) + " bytes");
    }
  }
  if (entries.empty()) return section.add(std::span<const frozen::TrieUnit>());
  std::sort(entries.begin(), entries.end());
  entries.erase(
      std::unique(entries.begin(), entries.end(), [](const auto& a, const auto& b) { return a.first == b.first; }),
      entries.end());
  return section.add(build_trie(std::move(entries)));
}

uint32_t flags_of(const TokenizerSpec& spec) {
  const auto bit = [](bool on, uint32_t flag) { return on ? flag : 0; };
  return bit(spec.normalizer.clean_text, frozen::kCleanText) |
         bit(spec.normalizer.handle_chinese_chars, frozen::kHandleChineseChars) |
         bit(spec.normalizer.strip_accents, frozen::kStripAccents) |
         bit(spec.normalizer.lowercase, frozen::kLowercase) | bit(spec.truncate_left, frozen::kTruncateLeft) |
         bit(spec.escape_specials, frozen::kEscapeSpecials) | bit(spec.decoder.wordpiece, frozen::kDecodeWordPiece) |
         bit(spec.decoder.cleanup, frozen::kDecodeCleanup);
}

std::vector<frozen::AddedToken> added_tokens(const TokenizerSpec& spec) {
  if (spec.added.size() > frozen::kMaxAdded) {
    throw Error(ErrorCode::kUnsupported, "tokenizer: more than " + std::to_string(frozen::kMaxAdded) + " added tokens");
  }
  std::vector<frozen::AddedToken> added;
  for (const AddedTokenSpec& token : spec.added) {
    const uint32_t flags = (token.single_word ? frozen::kSingleWord : 0u) | (token.lstrip ? frozen::kLstrip : 0u) |
                           (token.rstrip ? frozen::kRstrip : 0u) | (token.special ? frozen::kSpecial : 0u);
    added.push_back({token.id, flags});
  }
  return added;
}

// The model's own: an added token of that name does not count.
uint32_t unk_id_of(const TokenizerSpec& spec) {
  for (const auto& [token, id] : spec.vocabulary) {
    if (token == spec.unk_token) return id;
  }
  throw Error(ErrorCode::kFormat, "tokenizer: the unknown token '" + spec.unk_token + "' is not in the vocabulary");
}

}  // namespace

std::vector<std::byte> freeze(const TokenizerSpec& spec) {
  Section section;
  frozen::WordPieceHeader header{};
  header.flags = flags_of(spec);
  add_strings(spec, section, header);
  header.prefix_bytes = section.add(spec.continuing_prefix);
  header.decoder_prefix = section.add(spec.decoder.prefix);
  header.vocabulary = section.add(build_trie(spec.vocabulary));
  header.added = section.add(added_tokens(spec));
  header.raw_patterns = add_patterns(spec, false, section);
  header.normalized_patterns = add_patterns(spec, true, section);
  header.single = section.add(spec.single);
  header.pair = section.add(spec.pair);
  header.unk_id = unk_id_of(spec);
  header.max_word_chars = static_cast<uint32_t>(std::min<uint64_t>(spec.max_word_chars, UINT32_MAX));
  header.model_max_length = spec.model_max_length;
  return section.finish(header);
}

}  // namespace octobert::converter
