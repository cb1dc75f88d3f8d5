#include "octobert/tokenizer.h"

#include <array>
#include <string>

#include "octobert/error.h"
#include "tokenizer/chunks.h"
#include "tokenizer/decode.h"
#include "tokenizer/frozen_view.h"
#include "tokenizer/text_encoder.h"
#include "tokenizer/unicode_tables.h"

namespace octobert {
namespace {

// One a thread: calls on the same thread come one after the other, and a warm one allocates nothing.
EncodeScratch& thread_scratch() {
  thread_local EncodeScratch scratch;
  return scratch;
}

// Offsets are 32 bits; the largest value is free for "none".
void check_text_size(size_t size) {
  if (size >= UINT32_MAX) {
    throw Error(ErrorCode::kInvalidInput, "text: " + std::to_string(size) + " bytes, at most 2^32 - 2 are possible");
  }
}

// Where a text can be cut: behind what ends a word, before what changes nothing that stands before it. Only added
// tokens look beyond words.
struct Cuts {
  bool possible = false;
  bool behind_word_characters = false;  // CJK characters, "_"; not if an added token is a single word
  std::array<bool, 128> held{};         // ASCII characters that added tokens hold
  bool holds_others = false;
};

Cuts find_cuts(const FrozenView& frozen) {
  Cuts cuts;
  cuts.possible = !frozen.has_normalized_patterns;
  cuts.behind_word_characters = true;
  for (const frozen::AddedToken& token : frozen.added) {
    const std::string_view content = frozen.token(token.id);
    if (content.empty() || (token.flags & (frozen::kLstrip | frozen::kRstrip))) cuts.possible = false;
    if (token.flags & frozen::kSingleWord) cuts.behind_word_characters = false;
    for (const char c : content) {
      const auto byte = static_cast<uint8_t>(c);
      (byte < 128 ? cuts.held[byte] : cuts.holds_others) = true;
    }
  }
  return cuts;
}

}  // namespace

void Encoding::clear() { resize(0); }

void Encoding::resize(size_t size) {
  ids.resize(size);
  type_ids.resize(size);
  special.resize(size);
  words.resize(size);
  sequences.resize(size);
  codepoints.resize(size);
  bytes.resize(size);
}

struct Tokenizer::Impl {
  FrozenView frozen;
  TextEncoder encoder;
  size_t special_count;
  Cuts cuts;

  void finish(bool is_pair, const TokenizeOptions& options, EncodeScratch& scratch, Encodings& out) const {
    make_chunks(frozen, is_pair, options, scratch, out);
    scratch.release_if_large();
  }
};

Tokenizer::Tokenizer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;
Tokenizer::~Tokenizer() = default;

Tokenizer Tokenizer::from_frozen(std::span<const std::byte> bytes, const std::string& source) {
  auto impl = std::make_unique<Impl>();
  impl->frozen = read_frozen(bytes, source);
  impl->encoder = TextEncoder(impl->frozen);
  impl->special_count = impl->frozen.single.size() - 1;  // every piece but the text
  impl->cuts = find_cuts(impl->frozen);
  return Tokenizer(std::move(impl));
}

void Tokenizer::encode(std::string_view text, const TokenizeOptions& options, Encodings& out) const {
  check_text_size(text.size());
  EncodeScratch& scratch = thread_scratch();
  scratch.tokens[0].clear();
  impl_->encoder.encode(text, options, -1, scratch, scratch.tokens[0]);
  impl_->finish(false, options, scratch, out);
}

void Tokenizer::encode_pair(std::string_view a, std::string_view b, const TokenizeOptions& options,
                            Encodings& out) const {
  check_text_size(a.size());
  check_text_size(b.size());
  EncodeScratch& scratch = thread_scratch();
  scratch.tokens[0].clear();
  scratch.tokens[1].clear();
  impl_->encoder.encode(a, options, -1, scratch, scratch.tokens[0]);
  impl_->encoder.encode(b, options, -1, scratch, scratch.tokens[1]);
  impl_->finish(true, options, scratch, out);
}

void Tokenizer::encode_words(std::span<const std::string_view> words, const TokenizeOptions& options,
                             Encodings& out) const {
  if (words.size() > INT32_MAX) throw Error(ErrorCode::kInvalidInput, "words: more than 2^31 - 1");
  EncodeScratch& scratch = thread_scratch();
  scratch.tokens[0].clear();
  for (size_t i = 0; i < words.size(); ++i) {
    check_text_size(words[i].size());
    try {
      impl_->encoder.encode(words[i], options, static_cast<int64_t>(i), scratch, scratch.tokens[0]);
    } catch (const Error& error) {
      throw Error(error.code(), "word " + std::to_string(i) + ": " + error.what());
    }
  }
  impl_->finish(false, options, scratch, out);
}

size_t Tokenizer::vocab_size() const { return impl_->frozen.header->vocab_size; }
size_t Tokenizer::special_count() const { return impl_->special_count; }
size_t Tokenizer::model_max_length() const { return impl_->frozen.header->model_max_length; }
int32_t Tokenizer::unk_id() const { return static_cast<int32_t>(impl_->frozen.header->unk_id); }
std::string_view Tokenizer::continuing_prefix() const { return impl_->frozen.prefix; }

bool Tokenizer::can_cut_between(uint32_t before, uint32_t after) const {
  const Cuts& cuts = impl_->cuts;
  if (!cuts.possible || before >= unicode::kCodePoints || after >= unicode::kCodePoints) return false;
  if (before < 128 ? cuts.held[before] : cuts.holds_others) return false;
  const uint16_t end = unicode::char_record(before).flags;
  const bool is_cjk_word = (end & unicode::kCjk) && impl_->frozen.has(frozen::kHandleChineseChars);
  if (!is_cjk_word && !(end & (unicode::kWhitespace | unicode::kPunctuation))) return false;
  if ((end & unicode::kRemoved) || ((end & unicode::kWordChar) && !cuts.behind_word_characters)) return false;
  const unicode::CharRecord& begin = unicode::char_record(after);
  constexpr uint16_t kNotFirst = unicode::kRemoved | unicode::kMarkNonspacing | unicode::kDecomposes;
  return begin.combining_class == 0 && !(begin.flags & kNotFirst);
}

std::string_view Tokenizer::token(int32_t id) const {
  return id < 0 ? std::string_view() : impl_->frozen.token(static_cast<uint32_t>(id));
}

void Tokenizer::decode(std::span<const std::string_view> tokens, std::string& out) const {
  const FrozenView& frozen = impl_->frozen;
  thread_local std::string scratch;
  out.clear();
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (frozen.has(frozen::kDecodeWordPiece)) {
      decode_wordpiece(tokens[i], i == 0, frozen.decoder_prefix, frozen.has(frozen::kDecodeCleanup), scratch, out);
    } else {
      if (i != 0) out += ' ';
      out += tokens[i];
    }
  }
}

}  // namespace octobert
