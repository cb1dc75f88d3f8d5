// Text and options on a tokenizer that has everything: all normalizer options by turns, added tokens of every kind.
// Input: four bytes of options, then the text (a pair's two texts are split at the first newline).
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "octobert/error.h"
#include "tests/tokenizer_test_util.h"
#include "tokenizer/utf8.h"

namespace {

using octobert::Encoding;
using octobert::converter::AddedTokenSpec;
using octobert::converter::TokenizerSpec;

TokenizerSpec make_spec(uint8_t options) {
  TokenizerSpec spec;
  spec.normalizer = {(options & 1) != 0, (options & 2) != 0, (options & 4) != 0, (options & 8) != 0};
  uint32_t id = 0;
  for (const char* token :
       {"[UNK]", "[CLS]", "[SEP]", "a", "##a", "ab", "##b", "\u00e9", "##\u0301", "\u4e2d", "1", "##12"}) {
    spec.vocabulary.emplace_back(token, id++);
  }
  std::sort(spec.vocabulary.begin(), spec.vocabulary.end());
  octobert::converter::add_token({"[SEP]", 0, false, false, false, false, true}, spec);
  if (options & 16 && !(options & 32))
    octobert::converter::add_token({"a_", 0, true, false, false, false, false}, spec);
  if (options & 16) {
    octobert::converter::add_token({"<l>", 0, false, true, false, false, false}, spec);
    octobert::converter::add_token({"  ", 0, false, true, true, false, false}, spec);
  }
  if (options & 32) {
    octobert::converter::add_token({"\u00c9B", 0, true, true, true, true, true}, spec);
    octobert::converter::add_token({"\u4e2d", 0, false, false, true, true, false}, spec);
  }
  spec.truncate_left = (options & 64) != 0;
  spec.max_word_chars = (options & 128) ? 5 : 100;
  using octobert::frozen::TemplatePiece;
  spec.single = {
      {octobert::frozen::kToken, 1, 0}, {octobert::frozen::kSequenceA, 0, 0}, {octobert::frozen::kToken, 2, 0}};
  spec.pair = spec.single;
  spec.pair.push_back({octobert::frozen::kSequenceB, 0, 1});
  return spec;
}

void require(bool condition) {
  if (!condition) std::abort();
}

// What must hold for every text: equal lengths, offsets inside the text and on its characters, ids in range.
void check(const Encoding& e, const octobert::Tokenizer& tokenizer, std::string_view first, std::string_view second) {
  const size_t n = e.size();
  require(e.type_ids.size() == n && e.special.size() == n && e.words.size() == n && e.sequences.size() == n &&
          e.codepoints.size() == n && e.bytes.size() == n);
  for (size_t i = 0; i < n; ++i) {
    require(e.ids[i] >= 0 && static_cast<size_t>(e.ids[i]) < tokenizer.vocab_size());
    const std::string_view text = e.sequences[i] ? second : first;
    require(e.bytes[i].begin <= e.bytes[i].end && e.bytes[i].end <= text.size());
    require(e.codepoints[i].begin <= e.codepoints[i].end && e.codepoints[i].end <= e.bytes[i].end);
    require(e.special[i] ? e.words[i] == -1 && e.bytes[i].end == 0
                         : e.words[i] >= 0 && e.bytes[i].begin < e.bytes[i].end);
  }
}

// Where a text may be cut, its parts give the same tokens.
void check_cuts(const octobert::Tokenizer& tokenizer, std::string_view text, octobert::TokenizeOptions options) {
  options.add_special_tokens = false;
  options.max_length = 0;
  if (octobert::utf8::find_invalid_utf8(text) != text.size()) return;
  static octobert::Encodings whole, part;
  tokenizer.encode(text, options, whole);
  const auto* bytes = reinterpret_cast<const uint8_t*>(text.data());
  const auto at = [&](size_t i) { return octobert::utf8::decode(bytes + i, octobert::utf8::sequence_size(bytes[i])); };
  size_t begin = 0, tokens = 0;
  for (size_t i = 0, next; i < text.size(); i = next) {
    next = i + octobert::utf8::sequence_size(bytes[i]);
    if (next < text.size() && !tokenizer.can_cut_between(at(i), at(next))) continue;
    tokenizer.encode(text.substr(begin, next - begin), options, part);
    const Encoding &all = whole.chunks[0], &some = part.chunks[0];
    require(tokens + some.size() <= all.size());
    for (size_t k = 0; k < some.size(); ++k, ++tokens) {
      require(some.ids[k] == all.ids[tokens] && some.bytes[k].begin + begin == all.bytes[tokens].begin &&
              some.bytes[k].end + begin == all.bytes[tokens].end);
    }
    begin = next;
  }
  require(tokens == whole.chunks[0].size());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 4) return 0;
  static std::map<uint8_t, std::unique_ptr<octobert::test::FrozenTokenizer>> tokenizers;
  auto& frozen = tokenizers[data[0]];
  if (!frozen) frozen = std::make_unique<octobert::test::FrozenTokenizer>(make_spec(data[0]));
  octobert::TokenizeOptions options;
  options.add_special_tokens = (data[1] & 1) != 0;
  options.overflow = (data[1] & 2) != 0;
  if (data[1] & 4) options.special_tokens_in_text = octobert::SpecialTokensInText::kEscape;
  if (data[1] & 8) options.invalid_utf8 = octobert::InvalidUtf8::kError;
  options.max_length = data[2] % 32;
  options.stride = data[3] % 16;
  const std::string_view text(reinterpret_cast<const char*>(data) + 4, size - 4);
  const size_t split = std::min(text.find('\n'), text.size());
  const std::string_view first = text.substr(0, split), second = split < text.size() ? text.substr(split + 1) : "";
  static octobert::Encodings out;
  try {
    const bool pair = (data[1] & 16) != 0 && text.size() < 2000;  // chunks of a pair multiply
    if (pair) {
      frozen->tokenizer.encode_pair(first, second, options, out);
    } else {
      frozen->tokenizer.encode(text, options, out);
    }
    check_cuts(frozen->tokenizer, text, options);
    for (size_t i = 0; i < out.count; ++i) {
      check(out.chunks[i], frozen->tokenizer, pair ? first : text, pair ? second : "");
    }
  } catch (const octobert::Error& e) {
    require(e.code() == octobert::ErrorCode::kInvalidInput);
  }
  return 0;
}
