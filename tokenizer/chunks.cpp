#include "tokenizer/chunks.h"

#include <algorithm>
#include <string>

#include "octobert/error.h"

namespace octobert {
namespace {

// Tokens over all chunks of one call, about two gigabytes. 10 MB of text have at most 10 M tokens; more comes
// only from strides near the chunk's length and from pairs, where chunks multiply.
constexpr uint64_t kMaxOutputTokens = uint64_t{1} << 26;

size_t template_tokens(std::span<const frozen::TemplatePiece> pieces) {
  return static_cast<size_t>(
      std::count_if(pieces.begin(), pieces.end(), [](const auto& piece) { return piece.kind == frozen::kToken; }));
}

// How many tokens of each text a chunk can hold; `limited` false: all.
struct Room {
  bool limited = false;
  size_t tokens[2] = {0, 0};
};

// Room for a pair under `limit` tokens in all: the longer text gives way first, then both alike.
void share_room(size_t limit, const size_t (&sizes)[2], Room& room) {
  const size_t shorter = std::min(sizes[0], sizes[1]);
  size_t n1 = shorter;
  size_t n2 = n1 > limit ? n1 : std::max(n1, limit - n1);
  if (n1 + n2 > limit) {
    n1 = limit / 2;
    n2 = n1 + limit % 2;
  }
  const bool first_is_longer = sizes[0] > sizes[1];
  room.tokens[0] = first_is_longer ? n2 : n1;
  room.tokens[1] = first_is_longer ? n1 : n2;
}

Room find_room(const FrozenView& frozen, bool is_pair, const TokenizeOptions& options, const size_t (&sizes)[2]) {
  Room room;
  if (options.max_length == 0) return room;
  const size_t single_added = template_tokens(frozen.single);
  if (options.max_length >= single_added && options.max_length - single_added < options.stride) {
    throw Error(ErrorCode::kInvalidInput, "stride: " + std::to_string(options.stride) +
                                              " tokens, but a chunk of max_length " +
                                              std::to_string(options.max_length) + " has room for " +
                                              std::to_string(options.max_length - single_added) + " tokens of text");
  }
  size_t limit = options.max_length;
  if (options.add_special_tokens) {
    const size_t added = is_pair ? template_tokens(frozen.pair) : single_added;
    if (limit < added) return room;
    limit -= added;
  }
  if (limit == 0) {
    room.limited = true;
    return room;
  }
  if (sizes[0] + sizes[1] <= limit) return room;
  room.limited = true;
  if (is_pair) {
    share_room(limit, sizes, room);
  } else {
    room.tokens[0] = limit;
  }
  return room;
}

// The chunks of one text as ranges of its tokens, the main one first.
void cut(size_t size, bool limited, size_t room, const TokenizeOptions& options, bool from_left,
         std::vector<Span>& ranges) {
  ranges.clear();
  const auto count = static_cast<uint32_t>(size);
  if (!limited || room >= size) {
    ranges.push_back({0, count});
    return;
  }
  if (room == 0) {  // the main chunk is empty, and all of the text overflows
    ranges.push_back({0, 0});
    if (options.overflow) ranges.push_back({0, count});
    return;
  }
  if (options.stride >= room) {
    throw Error(ErrorCode::kInvalidInput, "stride: " + std::to_string(options.stride) +
                                              " tokens, but the chunks of this text have room for " +
                                              std::to_string(room) + " of its tokens");
  }
  const auto length = static_cast<uint32_t>(room);
  const auto step = static_cast<uint32_t>(room - options.stride);
  for (uint32_t at = 0;; at += step) {  // `at` is distance from the edge that is kept
    const uint32_t far = count - at <= length ? count : at + length;
    ranges.push_back(from_left ? Span{count - far, count - at} : Span{at, far});
    if (far == count || !options.overflow) break;
  }
}

class Writer {
 public:
  Writer(std::span<const frozen::TemplatePiece> pieces, bool add_special, EncodeScratch& scratch)
      : pieces_(pieces), add_special_(add_special), scratch_(scratch) {}

  // The chunk of range `pick[s]` of each text s.
  void write(const uint32_t (&pick)[2], Encoding& out) const {
    out.resize(size_of(pick));
    size_t at = 0;
    for (const frozen::TemplatePiece& piece : pieces_) {
      if (piece.kind == frozen::kToken) {
        if (add_special_) write_special(piece, at++, out);
        continue;
      }
      const size_t text = piece.kind == frozen::kSequenceB ? 1 : 0;
      const Span range = scratch_.ranges[text][pick[text]];
      // The reference gives the template's type to the main chunk only; overflowing ones keep their text's number.
      const auto type = static_cast<int32_t>(pick[text] == 0 ? piece.type_id : text);
      write_tokens(scratch_.tokens[text].tokens().subspan(range.begin, range.end - range.begin), type, text, at, out);
      at += range.end - range.begin;
    }
  }

  size_t size_of(const uint32_t (&pick)[2]) const {
    size_t size = 0;
    for (const frozen::TemplatePiece& piece : pieces_) {
      if (piece.kind == frozen::kToken) {
        size += add_special_;
      } else {
        const size_t text = piece.kind == frozen::kSequenceB ? 1 : 0;
        const Span range = scratch_.ranges[text][pick[text]];
        size += range.end - range.begin;
      }
    }
    return size;
  }

 private:
  static void write_special(const frozen::TemplatePiece& piece, size_t at, Encoding& out) {
    out.ids[at] = static_cast<int32_t>(piece.id);
    out.type_ids[at] = static_cast<int32_t>(piece.type_id);
    out.special[at] = 1;
    out.words[at] = -1;
    out.sequences[at] = 0;
    out.codepoints[at] = out.bytes[at] = Span{};
  }

  static void write_tokens(std::span<const Token> tokens, int32_t type, size_t text, size_t at, Encoding& out) {
    std::fill_n(out.type_ids.begin() + static_cast<ptrdiff_t>(at), tokens.size(), type);
    std::fill_n(out.special.begin() + static_cast<ptrdiff_t>(at), tokens.size(), uint8_t{0});
    std::fill_n(out.sequences.begin() + static_cast<ptrdiff_t>(at), tokens.size(), static_cast<uint8_t>(text));
    int32_t* ids = out.ids.data() + at;
    int32_t* words = out.words.data() + at;
    Span* codepoints = out.codepoints.data() + at;
    Span* bytes = out.bytes.data() + at;
    for (size_t i = 0; i < tokens.size(); ++i) {
      const Token& token = tokens[i];
      ids[i] = static_cast<int32_t>(token.id);
      words[i] = static_cast<int32_t>(token.word);
      codepoints[i] = {token.begin.code_point, token.end.code_point};
      bytes[i] = {token.begin.byte, token.end.byte};
    }
  }

  std::span<const frozen::TemplatePiece> pieces_;
  bool add_special_;
  EncodeScratch& scratch_;
};

// Which text comes first in the template: its chunks are the outer loop.
size_t first_text(std::span<const frozen::TemplatePiece> pieces) {
  for (const frozen::TemplatePiece& piece : pieces) {
    if (piece.kind != frozen::kToken) return piece.kind == frozen::kSequenceB ? 1 : 0;
  }
  return 0;
}

void check_size(uint64_t chunks, uint64_t longest) {
  if (chunks > kMaxOutputTokens || chunks * longest > kMaxOutputTokens) {
    throw Error(ErrorCode::kInvalidInput, "max_length and stride cut this text into " + std::to_string(chunks) +
                                              " chunks, together more than " + std::to_string(kMaxOutputTokens) +
                                              " tokens");
  }
}

}  // namespace

void make_chunks(const FrozenView& frozen, bool is_pair, const TokenizeOptions& options, EncodeScratch& scratch,
                 Encodings& out) {
  const size_t sizes[2] = {scratch.tokens[0].size(), is_pair ? scratch.tokens[1].size() : 0};
  const Room room = find_room(frozen, is_pair, options, sizes);
  const bool from_left = frozen.has(frozen::kTruncateLeft);
  for (size_t text = 0; text < 2; ++text) {
    cut(sizes[text], room.limited, room.tokens[text], options, from_left, scratch.ranges[text]);
  }
  const auto pieces = is_pair ? frozen.pair : frozen.single;
  const Writer writer(pieces, options.add_special_tokens, scratch);
  const size_t outer = first_text(pieces), inner = 1 - outer;
  const size_t counts[2] = {scratch.ranges[0].size(), scratch.ranges[1].size()};
  const size_t chunks = options.overflow ? counts[0] * counts[1] : 1;
  out.truncated = !options.overflow && room.limited && (room.tokens[0] < sizes[0] || room.tokens[1] < sizes[1]);
  if (chunks > 1) check_size(chunks, room.tokens[0] + room.tokens[1] + pieces.size());
  if (out.chunks.size() < chunks) out.chunks.resize(chunks);
  out.count = 0;
  const auto emit = [&](size_t i, size_t j) {
    uint32_t pick[2];
    pick[outer] = static_cast<uint32_t>(i);
    pick[inner] = static_cast<uint32_t>(j);
    writer.write(pick, out.chunks[out.count++]);
  };
  // The reference's order: the main chunk, all with an overflowing chunk of the outer text, the rest.
  emit(0, 0);
  if (chunks == 1) return;
  for (size_t i = 1; i < counts[outer]; ++i) {
    for (size_t j = 0; j < counts[inner]; ++j) emit(i, j);
  }
  for (size_t j = 1; j < counts[inner]; ++j) emit(0, j);
}

}  // namespace octobert
