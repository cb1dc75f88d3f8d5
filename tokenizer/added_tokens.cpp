#include "tokenizer/added_tokens.h"

#include <algorithm>
#include <cstring>

#include "tokenizer/unicode_tables.h"
#include "tokenizer/utf8.h"

namespace octobert {
namespace {

const uint8_t* data(std::string_view text) { return reinterpret_cast<const uint8_t*>(text.data()); }

uint16_t flags_at(std::string_view text, size_t at) {
  const uint8_t* p = data(text) + at;
  return unicode::char_record(utf8::decode(p, utf8::sequence_size(*p))).flags;
}

// at > 0; first byte of the character that ends there.
size_t previous(std::string_view text, size_t at) {
  do --at;
  while (at > 0 && utf8::is_continuation(data(text)[at]));
  return at;
}

bool is_boundary(std::string_view text, size_t at) {
  return at == text.size() || !utf8::is_continuation(data(text)[at]);
}

bool word_touches(std::string_view text, size_t begin, size_t end) {
  return (begin > 0 && (flags_at(text, previous(text, begin)) & unicode::kWordChar)) ||
         (end < text.size() && (flags_at(text, end) & unicode::kWordChar));
}

}  // namespace

AddedTokenMatcher::AddedTokenMatcher(const Trie& patterns, std::span<const frozen::AddedToken> tokens)
    : patterns_(patterns), tokens_(tokens), matches_empty_(patterns.value(Trie::kRoot) != 0) {
  size_t count = 0;
  for (uint32_t byte = 0; byte < 256; ++byte) {
    starts_[byte] = patterns.child(Trie::kRoot, static_cast<uint8_t>(byte)) != Trie::kNone;
    if (starts_[byte]) {
      ++count;
      only_start_ = static_cast<int>(byte);
    }
  }
  if (count != 1) only_start_ = -1;
}

size_t AddedTokenMatcher::next_candidate(std::string_view text, size_t from) const {
  if (matches_empty_ || from >= text.size()) return from;
  if (only_start_ >= 0) {
    const void* found = std::memchr(text.data() + from, only_start_, text.size() - from);
    return found ? static_cast<size_t>(static_cast<const char*>(found) - text.data()) : text.size();
  }
  while (from < text.size() && !starts_[data(text)[from]]) ++from;
  return from;
}

Trie::Match AddedTokenMatcher::match_at(std::string_view text, size_t at) const {
  Trie::Match match = patterns_.longest(Trie::kRoot, data(text) + at, data(text) + text.size());
  // Patterns are whole characters; a damaged trie's need not be.
  if (match.value != 0 && is_boundary(text, at) && is_boundary(text, at + match.size)) return match;
  return {0, matches_empty_ && is_boundary(text, at) ? patterns_.value(Trie::kRoot) : 0};
}

struct AddedTokenMatcher::Scan {
  std::string_view text;
  uint32_t cursor = 0;                      // end of the last part
  uint32_t space_begin = 0, space_end = 0;  // white space that rstrip has already walked over

  // Applies single_word, lstrip, rstrip; false if the match is discarded.
  bool accept(const frozen::AddedToken& token, uint32_t& begin, uint32_t& end) {
    if ((token.flags & frozen::kSingleWord) && word_touches(text, begin, end)) return false;
    if (token.flags & frozen::kLstrip) begin = strip_left(begin);
    if (token.flags & frozen::kRstrip) end = strip_right(end);
    return true;
  }
  // White space that the token before has taken is not taken again.
  uint32_t strip_left(uint32_t begin) const {
    size_t at = begin;
    while (at > cursor && (flags_at(text, previous(text, at)) & unicode::kWhitespace)) at = previous(text, at);
    return std::max(static_cast<uint32_t>(at), cursor);
  }
  uint32_t strip_right(uint32_t end) {
    if (end >= space_begin && end < space_end) return space_end;
    space_begin = end;
    while (end < text.size() && (flags_at(text, end) & unicode::kWhitespace)) {
      end += utf8::sequence_size(data(text)[end]);
    }
    space_end = end;
    return end;
  }
};

void AddedTokenMatcher::split(std::string_view text, bool escape, std::vector<Part>& parts) const {
  parts.clear();
  Scan scan{text};
  for (size_t at = next_candidate(text, 0); at < text.size(); at = next_candidate(text, at)) {
    const Trie::Match match = match_at(text, at);
    auto begin = static_cast<uint32_t>(at);
    uint32_t end = begin + match.size;
    at += match.size != 0 ? match.size : utf8::sequence_size(data(text)[at]);
    if (match.value == 0) continue;
    const frozen::AddedToken& token = tokens_[match.value - 1];
    if (escape && (token.flags & frozen::kSpecial)) continue;
    if (!scan.accept(token, begin, end)) continue;
    if (scan.cursor < begin) parts.push_back({Part::kText, scan.cursor, begin});
    if (begin < end) parts.push_back({token.id, begin, end});
    scan.cursor = end;
  }
  const auto size = static_cast<uint32_t>(text.size());
  if (scan.cursor < size) parts.push_back({Part::kText, scan.cursor, size});
}

}  // namespace octobert
