#include "tokenizer/text_encoder.h"

#include <algorithm>

#include "octobert/error.h"
#include "tokenizer/unicode_tables.h"
#include "tokenizer/utf8.h"

namespace octobert {
namespace {

// Scratch above this is given back after the call. Texts of 512 tokens need some tens of kilobytes.
constexpr size_t kScratchKept = size_t{4} << 20;

const uint8_t* data(std::string_view text) { return reinterpret_cast<const uint8_t*>(text.data()); }

// The place of byte offset `to`, from a known place; offsets can go back where parts overlap.
Place move_to(const uint8_t* text, Place from, uint32_t to) {
  if (to >= from.byte) {
    from.code_point += static_cast<uint32_t>(utf8::count_code_points(text + from.byte, text + to));
  } else {
    from.code_point -= static_cast<uint32_t>(utf8::count_code_points(text + to, text + from.byte));
  }
  from.byte = to;
  return from;
}

// Repaired and normalized text can be longer than the caller's, whose size has been checked.
void check_offsets(size_t size) {
  if (size >= UINT32_MAX) {
    throw Error(ErrorCode::kInvalidInput, "text: " + std::to_string(size) +
                                              " bytes after normalization, at most "
                                              "2^32 - 2 are possible");
  }
}

template <typename T>
void release(T& container) {
  T().swap(container);
}

// Replaces each maximal invalid subpart by U+FFFD.
void repair(std::string_view text, size_t first_invalid, std::string& repaired, std::vector<uint32_t>& patches) {
  repaired.clear();
  patches.clear();
  size_t at = 0;
  for (size_t bad = first_invalid; bad < text.size(); bad = utf8::find_invalid_utf8(text, at)) {
    repaired.append(text, at, bad - at);
    repaired += "\xEF\xBF\xBD";
    at = bad + utf8::invalid_subpart_size(text, bad);
    patches.push_back(static_cast<uint32_t>(repaired.size()));
    patches.push_back(static_cast<uint32_t>(at));
  }
  repaired.append(text, at);
}

// Offset in the caller's text of an offset (at a character's edge) in the repaired one.
uint32_t original_offset(uint32_t offset, const std::vector<uint32_t>& patches) {
  size_t low = 0, high = patches.size() / 2;  // the last patch that ends at or before `offset`
  while (low < high) {
    const size_t middle = (low + high) / 2;
    if (patches[2 * middle] <= offset) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low == 0 ? offset : patches[2 * low - 1] + (offset - patches[2 * low - 2]);
}

}  // namespace

void EncodeScratch::release_if_large() {
  for (TokenBuffer& buffer : tokens) {
    if (buffer.capacity_bytes() > kScratchKept) buffer = TokenBuffer();
  }
  if (word.places.capacity() * sizeof(Place) > kScratchKept) word = OpenWord();
  if (run.capacity_bytes() > kScratchKept) run = CombiningRun();
  if (normalized.places.capacity() * sizeof(Place) > kScratchKept) normalized = NormalizedText();
  if (raw_parts.capacity() * sizeof(Part) > kScratchKept) release(raw_parts);
  if (normalized_parts.capacity() * sizeof(Part) > kScratchKept) release(normalized_parts);
  if (repaired.capacity() > kScratchKept) release(repaired);
  if (patches.capacity() * sizeof(uint32_t) > kScratchKept) release(patches);
  for (std::vector<Span>& r : ranges) {
    if (r.capacity() * sizeof(Span) > kScratchKept) release(r);
  }
  if (picks.capacity() * sizeof(uint32_t) > kScratchKept) release(picks);
}

TextEncoder::TextEncoder(const FrozenView& frozen)
    : model_(frozen),
      options_{frozen.has(frozen::kCleanText), frozen.has(frozen::kHandleChineseChars),
               frozen.has(frozen::kStripAccents), frozen.has(frozen::kLowercase)},
      has_raw_(frozen.has_raw_patterns),
      has_normalized_(frozen.has_normalized_patterns),
      always_escape_(frozen.has(frozen::kEscapeSpecials)) {
  if (has_raw_) raw_ = AddedTokenMatcher(frozen.raw_patterns, frozen.added);
  if (has_normalized_) normalized_ = AddedTokenMatcher(frozen.normalized_patterns, frozen.added);
  fill_ascii();
}

void TextEncoder::fill_ascii() {
  ascii_.fill(Ascii::kOther);
  TokenBuffer one;
  OpenWord word;
  for (uint32_t c = 1; c < 128; ++c) {
    const unicode::CharRecord& record = unicode::char_record(c);
    if (options_.clean_text && (record.flags & unicode::kRemoved)) continue;
    if (record.flags & unicode::kWhitespace) {
      ascii_[c] = Ascii::kSpace;
    } else if (record.flags & unicode::kPunctuation) {
      ascii_[c] = Ascii::kPunctuation;
      const auto byte = static_cast<uint8_t>(c);
      one.clear();
      WordSplitter(model_, &byte, word, 0, one)(c, record, Place{});
      punctuation_id_[c] = one.tokens()[0].id;
    } else {
      ascii_[c] = Ascii::kWord;
      letter_[c] = static_cast<uint8_t>(options_.lowercase ? c + static_cast<uint32_t>(record.lower) : c);
    }
  }
}

void TextEncoder::encode(std::string_view text, const TokenizeOptions& options, int64_t word, EncodeScratch& scratch,
                         TokenBuffer& out) const {
  const bool escape = always_escape_ || options.special_tokens_in_text == SpecialTokensInText::kEscape;
  const size_t invalid = utf8::find_invalid_utf8(text);
  if (invalid == text.size()) return encode_valid(text, escape, word, scratch, out);
  if (options.invalid_utf8 == InvalidUtf8::kError) {
    throw Error(ErrorCode::kInvalidInput, "text: invalid UTF-8 at byte " + std::to_string(invalid));
  }
  repair(text, invalid, scratch.repaired, scratch.patches);
  check_offsets(scratch.repaired.size());
  const size_t before = out.size();
  encode_valid(scratch.repaired, escape, word, scratch, out);
  for (Token& token : out.tokens().subspan(before)) {
    token.begin.byte = original_offset(token.begin.byte, scratch.patches);
    token.end.byte = original_offset(token.end.byte, scratch.patches);
  }
}

void TextEncoder::encode_valid(std::string_view text, bool escape, int64_t fixed_word, EncodeScratch& scratch,
                               TokenBuffer& out) const {
  const size_t before = out.size();
  scratch.word.clear();  // a call that threw may have left something
  scratch.run.clear();
  std::vector<Part>& parts = scratch.raw_parts;
  parts.clear();
  if (has_raw_) {
    raw_.split(text, escape, parts);
  } else if (!text.empty()) {
    parts.push_back({Part::kText, 0, static_cast<uint32_t>(text.size())});
  }
  Place at;
  uint32_t word = 0;
  for (const Part& part : parts) {
    at = move_to(data(text), at, part.begin);
    if (part.id != Part::kText) {
      out.reserve_more(1);
      out.push({part.id, word++, at, move_to(data(text), at, part.end)});
    } else if (has_normalized_) {
      word = encode_normalized(text, at, part.end, escape, word, scratch, out);
    } else {
      word = encode_streaming(text, at, part.end, word, scratch, out);
    }
  }
  if (fixed_word >= 0) {
    for (Token& token : out.tokens().subspan(before)) token.word = static_cast<uint32_t>(fixed_word);
  }
}

// Words of ASCII alone, of which no neighbour changes anything. Returns where the general way has to go on: the
// beginning of the word with the first other character, or the end. `continuations` are the bytes before that begin no
// code point.
const uint8_t* TextEncoder::encode_ascii(const uint8_t* at, const uint8_t* end, const uint8_t* text,
                                         uint32_t continuations, uint32_t& word, TokenBuffer& out) const {
  const auto place = [&](const uint8_t* p) {
    const auto byte = static_cast<uint32_t>(p - text);
    return Place{byte, byte - continuations};
  };
  while (at != end) {
    const Ascii kind = ascii_[*at];
    if (kind == Ascii::kSpace) {
      ++at;
    } else if (kind == Ascii::kPunctuation) {
      out.reserve_more(1);
      out.push({punctuation_id_[*at], word++, place(at), place(at + 1)});
      ++at;
    } else if (kind == Ascii::kWord) {
      const uint8_t* past = at;
      const Trie::Match match = model_.longest(at, end, letter_, past);
      if (past != end && ascii_[*past] == Ascii::kOther) return at;
      model_.encode_letters(at, past, match, word++, letter_, place, out);
      at = past;
    } else {
      return at;
    }
  }
  return at;
}

// Characters one by one through the normalizer, straight into words; words of ASCII by the shorter way.
uint32_t TextEncoder::encode_streaming(std::string_view text, Place at, size_t end, uint32_t word,
                                       EncodeScratch& scratch, TokenBuffer& out) const {
  const uint8_t* bytes = data(text);
  WordSplitter splitter(model_, bytes, scratch.word, word, out);
  Normalizer normalizer(options_, scratch.run, splitter);
  while (true) {
    word = splitter.word();
    const auto ascii_end = static_cast<uint32_t>(
        encode_ascii(bytes + at.byte, bytes + end, bytes, at.byte - at.code_point, word, out) - bytes);
    splitter.set_word(word);
    at = {ascii_end, ascii_end - (at.byte - at.code_point)};
    if (at.byte == end) return word;
    // Up to white space or punctuation of ASCII, after which nothing is left open.
    bool open = true;
    while (open && at.byte < end) {
      const uint8_t lead = bytes[at.byte];
      const uint32_t size = utf8::sequence_size(lead);
      normalizer.put(utf8::decode(bytes + at.byte, size), at);
      at.byte += size;
      ++at.code_point;
      open = ascii_[lead] == Ascii::kWord || ascii_[lead] == Ascii::kOther;
    }
    if (open) {
      normalizer.finish();
      splitter.finish_word();
    }
  }
}

// Added tokens that are matched in the normalized text need all of it before it is split into words.
uint32_t TextEncoder::encode_normalized(std::string_view text, Place at, size_t end, bool escape, uint32_t word,
                                        EncodeScratch& scratch, TokenBuffer& out) const {
  NormalizedText& normalized = scratch.normalized;
  normalize(text.substr(at.byte, end - at.byte), at, options_, scratch.run, normalized);
  check_offsets(normalized.bytes.size());
  const std::string_view view(reinterpret_cast<const char*>(normalized.bytes.data()), normalized.bytes.size());
  normalized_.split(view, escape, scratch.normalized_parts);
  WordSplitter splitter(model_, data(text), scratch.word, word, out);
  for (const Part& part : scratch.normalized_parts) {
    if (part.id != Part::kText) {
      out.reserve_more(1);
      out.push(
          {part.id, splitter.word(), normalized.places[part.begin], splitter.end_of(normalized.places[part.end - 1])});
      splitter.set_word(splitter.word() + 1);
      continue;
    }
    for (size_t i = part.begin; i < part.end;) {
      const uint32_t size = utf8::sequence_size(normalized.bytes[i]);
      const uint32_t cp = utf8::decode(normalized.bytes.data() + i, size);
      splitter(cp, unicode::char_record(cp), normalized.places[i]);
      i += size;
    }
    splitter.finish_word();
  }
  return splitter.word();
}

}  // namespace octobert
