#include "tokenizer/frozen_view.h"

#include <algorithm>
#include <bit>

#include "octobert/error.h"
#include "tokenizer/unicode_tables.h"

namespace octobert {
namespace {

static_assert(std::endian::native == std::endian::little, "frozen tokenizers are used in place: little-endian only");

class Reader {
 public:
  Reader(std::span<const std::byte> bytes, const std::string& source) : bytes_(bytes), source_(source) {}

  [[noreturn]] void fail(const std::string& what) const {
    throw Error(ErrorCode::kFormat, source_ + ": tokenizer: " + what);
  }
  [[noreturn]] void unsupported(const std::string& what) const {
    throw Error(ErrorCode::kUnsupported, source_ + ": tokenizer: " + what);
  }
  void check(bool condition, const char* what) const {
    if (!condition) fail(what);
  }

  template <typename T>
  std::span<const T> table(const frozen::Extent& extent, const char* name) const {
    const uint64_t size = uint64_t{extent.count} * sizeof(T);
    if (extent.offset % frozen::kAlignment != 0 || extent.offset > bytes_.size() ||
        size > bytes_.size() - extent.offset) {
      fail(std::string(name) + ": " + std::to_string(extent.count) + " elements at offset " +
           std::to_string(extent.offset) + " do not fit in " + std::to_string(bytes_.size()) + " bytes");
    }
    return {reinterpret_cast<const T*>(bytes_.data() + extent.offset), extent.count};
  }
  std::string_view text(const frozen::Extent& extent, const char* name) const {
    const auto chars = table<char>(extent, name);
    return {chars.data(), chars.size()};
  }

  // Every link leads to a unit and every value is below `values`.
  Trie trie(const frozen::Extent& extent, uint32_t values, const char* name) const {
    const auto units = table<frozen::TrieUnit>(extent, name);
    if (units.size() < 256 || units.size() > frozen::kMaxTrieUnits) fail(std::string(name) + ": size");
    uint32_t max_link = 0, max_value = 0;
    for (const frozen::TrieUnit& unit : units) {
      max_link = std::max(max_link, unit.link);
      max_value = std::max(max_value, unit.value);
    }
    if ((max_link >> frozen::kBaseShift) + 255 >= units.size()) fail(std::string(name) + ": a link leads outside");
    if (max_value > values) fail(std::string(name) + ": a value is out of range");
    return Trie(units);
  }

  std::span<const frozen::TemplatePiece> pieces(const frozen::Extent& extent, uint32_t vocab_size, bool is_pair,
                                                const char* name) const {
    const auto pieces = table<frozen::TemplatePiece>(extent, name);
    if (pieces.size() > frozen::kMaxPieces) fail(std::string(name) + ": too many pieces");
    size_t first = 0, second = 0;
    for (const frozen::TemplatePiece& piece : pieces) {
      if (piece.kind > frozen::kSequenceB) fail(std::string(name) + ": unknown kind of piece");
      if (piece.kind == frozen::kToken && piece.id >= vocab_size) fail(std::string(name) + ": id out of range");
      if (piece.type_id > INT32_MAX) fail(std::string(name) + ": type id out of range");
      first += piece.kind == frozen::kSequenceA;
      second += piece.kind == frozen::kSequenceB;
    }
    if (first != 1 || second != (is_pair ? 1 : 0)) fail(std::string(name) + ": each text must be there once");
    return pieces;
  }

 private:
  std::span<const std::byte> bytes_;
  const std::string& source_;
};

void check_prefix(const Reader& reader, const frozen::Prefix& prefix, size_t size) {
  if (prefix.version != frozen::kVersion) {
    reader.unsupported("version " + std::to_string(prefix.version) + ", this library reads version " +
                       std::to_string(frozen::kVersion));
  }
  if (prefix.kind != static_cast<uint32_t>(frozen::Kind::kWordPiece)) {
    reader.unsupported("kind " + std::to_string(prefix.kind) + " is not known to this library");
  }
  if (prefix.unicode_tables != unicode::kUnicodeTablesVersion) {
    reader.unsupported("made for Unicode tables " + std::to_string(prefix.unicode_tables) + ", this library has " +
                       std::to_string(unicode::kUnicodeTablesVersion) + ": convert again");
  }
  reader.check(prefix.size == size, "size differs from the section's");
  reader.check(prefix.reserved == 0, "reserved field is not zero");
}

}  // namespace

std::string_view FrozenView::token(uint32_t id) const {
  if (id >= header->vocab_size) return {};
  const uint32_t begin = id == 0 ? 0 : token_ends[id - 1];
  return token_bytes.substr(begin, token_ends[id] - begin);
}

FrozenView read_frozen(std::span<const std::byte> bytes, const std::string& source) {
  const Reader reader(bytes, source);
  reader.check(bytes.size() >= sizeof(frozen::WordPieceHeader), "shorter than its header");
  reader.check(reinterpret_cast<uintptr_t>(bytes.data()) % frozen::kAlignment == 0, "not aligned to 8 bytes in memory");
  FrozenView view;
  view.header = reinterpret_cast<const frozen::WordPieceHeader*>(bytes.data());
  const frozen::WordPieceHeader& header = *view.header;
  check_prefix(reader, header.prefix, bytes.size());
  reader.check((header.flags & ~uint32_t{frozen::kKnownFlags}) == 0, "unknown flags");
  reader.check(header.vocab_size > 0 && header.vocab_size <= frozen::kMaxVocabulary, "vocab_size out of range");
  reader.check(header.unk_id < header.vocab_size, "unk_id out of range");

  view.token_ends = reader.table<uint32_t>(header.token_ends, "token_ends");
  view.token_bytes = reader.text(header.token_bytes, "token_bytes");
  reader.check(view.token_ends.size() == header.vocab_size, "token_ends: count differs from vocab_size");
  reader.check(std::is_sorted(view.token_ends.begin(), view.token_ends.end()), "token_ends: not in order");
  reader.check(view.token_ends.back() == view.token_bytes.size(), "token_ends: last differs from token_bytes' size");
  view.prefix = reader.text(header.prefix_bytes, "prefix_bytes");
  view.decoder_prefix = reader.text(header.decoder_prefix, "decoder_prefix");
  view.vocabulary = reader.trie(header.vocabulary, header.vocab_size, "vocabulary");

  view.added = reader.table<frozen::AddedToken>(header.added, "added");
  reader.check(view.added.size() <= frozen::kMaxAdded, "added: too many");
  for (const frozen::AddedToken& token : view.added) {
    reader.check(token.id < header.vocab_size, "added: id out of range");
    reader.check((token.flags & ~uint32_t{frozen::kKnownAddedFlags}) == 0, "added: unknown flags");
  }
  const auto added_count = static_cast<uint32_t>(view.added.size());
  view.has_raw_patterns = header.raw_patterns.count != 0;
  view.has_normalized_patterns = header.normalized_patterns.count != 0;
  if (view.has_raw_patterns) view.raw_patterns = reader.trie(header.raw_patterns, added_count, "raw_patterns");
  if (view.has_normalized_patterns) {
    view.normalized_patterns = reader.trie(header.normalized_patterns, added_count, "normalized_patterns");
  }
  view.single = reader.pieces(header.single, header.vocab_size, false, "single");
  view.pair = reader.pieces(header.pair, header.vocab_size, true, "pair");
  return view;
}

}  // namespace octobert
