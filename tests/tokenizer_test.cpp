// The tokenizer's own promises: what the goldens cannot show, because the reference has no such thing or fails there.
#include "octobert/tokenizer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <random>
#include <string>
#include <thread>

#include "octobert/error.h"
#include "tests/tokenizer_test_util.h"
#include "tokenizer/utf8.h"

namespace octobert {
namespace {

using converter::AddedTokenSpec;
using converter::TokenizerSpec;

constexpr int32_t kUnk = 1, kCls = 2, kSep = 3;

// [PAD] [UNK] [CLS] [SEP] then `words`, ids from 4 on; specials added as in BERT's own tokenizers.
TokenizerSpec small_spec(const std::vector<std::string>& words) {
  TokenizerSpec spec;
  uint32_t id = 0;
  for (const char* token : {"[PAD]", "[UNK]", "[CLS]", "[SEP]"}) {
    spec.vocabulary.emplace_back(token, id);
    spec.added.push_back({token, id++, false, false, false, false, true});
  }
  for (const std::string& word : words) spec.vocabulary.emplace_back(word, id++);
  std::sort(spec.vocabulary.begin(), spec.vocabulary.end());
  spec.single = {{frozen::kToken, kCls, 0}, {frozen::kSequenceA, 0, 0}, {frozen::kToken, kSep, 0}};
  spec.pair = spec.single;
  spec.pair.push_back({frozen::kSequenceB, 0, 1});
  spec.pair.push_back({frozen::kToken, kSep, 1});
  return spec;
}

std::vector<int32_t> ids(const Tokenizer& tokenizer, std::string_view text, const TokenizeOptions& options = {}) {
  Encodings out;
  tokenizer.encode(text, options, out);
  return out.chunks[0].ids;
}

std::string error_of(const Tokenizer& tokenizer, std::string_view text, const TokenizeOptions& options) {
  Encodings out;
  try {
    tokenizer.encode(text, options, out);
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::kInvalidInput);
    return e.what();
  }
  return "";
}

TEST(Tokenizer, ExampleByHand) {
  const test::FrozenTokenizer t(small_spec({"un", "##aff", "##able", "cafe", "!"}));
  Encodings out;
  t.tokenizer.encode("Unaffable café!", {}, out);
  ASSERT_EQ(out.count, 1u);
  const Encoding& e = out.chunks[0];
  EXPECT_EQ(e.ids, (std::vector<int32_t>{kCls, 4, 5, 6, 7, 8, kSep}));
  EXPECT_EQ(e.words, (std::vector<int32_t>{-1, 0, 0, 0, 1, 2, -1}));
  EXPECT_EQ(e.special, (std::vector<uint8_t>{1, 0, 0, 0, 0, 0, 1}));
  EXPECT_EQ(e.codepoints, (std::vector<Span>{{0, 0}, {0, 2}, {2, 5}, {5, 9}, {10, 14}, {14, 15}, {0, 0}}));
  EXPECT_EQ(e.bytes, (std::vector<Span>{{0, 0}, {0, 2}, {2, 5}, {5, 9}, {10, 15}, {15, 16}, {0, 0}}));
  EXPECT_EQ(t.tokenizer.vocab_size(), 9u);
  EXPECT_EQ(t.tokenizer.special_count(), 2u);
  EXPECT_EQ(t.tokenizer.unk_id(), kUnk);
  EXPECT_EQ(t.tokenizer.token(5), "##aff");
  EXPECT_EQ(t.tokenizer.token(9), "");
  EXPECT_EQ(t.tokenizer.token(-1), "");
}

TEST(Tokenizer, EmptyTextGivesTheSpecialsAlone) {
  const test::FrozenTokenizer t(small_spec({"a"}));
  EXPECT_EQ(ids(t.tokenizer, ""), (std::vector<int32_t>{kCls, kSep}));
  EXPECT_EQ(ids(t.tokenizer, " \n\t\u00ad"), (std::vector<int32_t>{kCls, kSep}));
  EXPECT_TRUE(ids(t.tokenizer, "", {.add_special_tokens = false}).empty());
}

TEST(Tokenizer, NulBytesAreCharacters) {
  TokenizerSpec spec = small_spec({"ab", std::string("a\0b", 3)});
  const std::string_view text("a\0b", 3);
  EXPECT_EQ(ids(test::FrozenTokenizer(spec).tokenizer, text), (std::vector<int32_t>{kCls, 4, kSep}));  // cleaned away
  spec.normalizer.clean_text = false;
  EXPECT_EQ(ids(test::FrozenTokenizer(spec).tokenizer, text), (std::vector<int32_t>{kCls, 5, kSep}));
}

TEST(Tokenizer, TruncatedTellsThatTokensWereLeftOut) {
  const test::FrozenTokenizer t(small_spec({"a"}));
  Encodings out;
  t.tokenizer.encode("a a a", {.max_length = 4, .overflow = false}, out);
  EXPECT_EQ(out.count, 1u);
  EXPECT_TRUE(out.truncated);
  t.tokenizer.encode("a a a", {.max_length = 4}, out);
  EXPECT_EQ(out.count, 2u);
  EXPECT_FALSE(out.truncated);
  t.tokenizer.encode("a a", {.max_length = 4, .overflow = false}, out);
  EXPECT_FALSE(out.truncated);
}

// ---- invalid UTF-8 ----

// What a browser's TextDecoder gives (WHATWG Encoding's own examples and Unicode 15, table 3-8 to 3-11).
TEST(Tokenizer, InvalidUtf8IsReplacedAsBrowsersDo) {
  struct Case {
    std::string bytes;
    size_t replacements;
  };
  const Case cases[] = {
      {"\xC0\xAF\xE0\x80\xBF\xF0\x81\x82", 8},  // overlong forms: each byte
      {"\xED\xA0\x80\xED\xBF\xBF\xED\xAF", 8},  // surrogates: each byte
      {"\xF4\x91\x92\x93\xFF\x80\xBF", 7},      // above 10FFFF: each byte
      {"\xE1\x80\xE2\xF0\x91\x92\xF1\xBF", 4},  // truncated sequences: each maximal subpart
      {"\x80", 1},
      {"\xFE\xFF", 2},
      {"\xF0\x9F\x98", 1},
      {"\xC3", 1},
      {"\xE4\xB8", 1},
      {"\xF8\x88\x80\x80\x80", 5},
  };
  TokenizerSpec spec = small_spec({"\uFFFD", "##\uFFFD", "a"});
  spec.normalizer.clean_text = false;
  const test::FrozenTokenizer t(spec);
  for (const Case& c : cases) {
    Encodings out;
    t.tokenizer.encode(c.bytes, {.add_special_tokens = false}, out);
    const Encoding& e = out.chunks[0];
    ASSERT_EQ(e.size(), c.replacements) << testing::PrintToString(c.bytes);
    uint32_t at = 0;
    for (size_t i = 0; i < e.size(); ++i) {  // the spans tile the caller's bytes
      EXPECT_EQ(e.bytes[i].begin, at);
      EXPECT_EQ(e.codepoints[i], (Span{static_cast<uint32_t>(i), static_cast<uint32_t>(i + 1)}));
      at = e.bytes[i].end;
    }
    EXPECT_EQ(at, c.bytes.size());
  }
}

TEST(Tokenizer, InvalidUtf8KeepsTheOffsetsOfWhatIsAround) {
  const test::FrozenTokenizer t(small_spec({"a", "é", "e", "b", "##b"}));
  Encodings out;
  t.tokenizer.encode(
      "a \xFF\xC3\xA9 \xE4\xB8 b\x80"
      "b",
      {.add_special_tokens = false}, out);
  const Encoding& e = out.chunks[0];
  EXPECT_EQ(e.ids, (std::vector<int32_t>{4, 6, 7, 8}));  // U+FFFD is dropped by clean_text
  EXPECT_EQ(e.bytes, (std::vector<Span>{{0, 1}, {3, 5}, {9, 10}, {11, 12}}));
  EXPECT_EQ(e.codepoints, (std::vector<Span>{{0, 1}, {3, 4}, {7, 8}, {9, 10}}));
}

TEST(Tokenizer, InvalidUtf8CanBeAnErrorWithItsOffset) {
  const test::FrozenTokenizer t(small_spec({"a"}));
  const TokenizeOptions options{.invalid_utf8 = InvalidUtf8::kError};
  EXPECT_NE(error_of(t.tokenizer, "a a \xFF", options).find("byte 4"), std::string::npos);
  EXPECT_NE(error_of(t.tokenizer, "0123456789abcdef\xC3", options).find("byte 16"), std::string::npos);
  EXPECT_EQ(error_of(t.tokenizer, "a \u00e9 \U0001F600", options), "");
  Encodings out;
  const std::string_view words[] = {"a", "\xED\xA0\x80"};
  try {
    t.tokenizer.encode_words(words, options, out);
    FAIL();
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("word 1: text: invalid UTF-8 at byte 0"), std::string::npos) << e.what();
  }
}

TEST(Tokenizer, ValidUtf8IsFoundValidWhereverItStands) {
  for (uint32_t cp = 0; cp < 0x110000; cp += cp < 0x3000 ? 1 : 61) {
    if (cp >= 0xD800 && cp < 0xE000) continue;
    uint8_t bytes[4];
    const std::string c(reinterpret_cast<char*>(bytes), utf8::encode(cp, bytes));
    const std::string text = std::string(cp % 11, 'x') + c + "yz" + c;
    EXPECT_EQ(utf8::find_invalid_utf8(text), text.size()) << cp;
    EXPECT_EQ(utf8::find_invalid_utf8(text + "\x80"), text.size()) << cp;
  }
}

// ---- truncation ----

TEST(Tokenizer, StridesWithoutProgressAreErrors) {
  const test::FrozenTokenizer t(small_spec({"a"}));
  EXPECT_NE(error_of(t.tokenizer, "a", {.max_length = 4, .stride = 3}).find("stride: 3"), std::string::npos);
  EXPECT_NE(error_of(t.tokenizer, "a a a", {.max_length = 4, .stride = 2}).find("stride: 2"), std::string::npos);
  EXPECT_EQ(error_of(t.tokenizer, "a a", {.max_length = 4, .stride = 2}), "");
  EXPECT_EQ(error_of(t.tokenizer, "a a a", {.max_length = 4, .stride = 1}), "");
}

TEST(Tokenizer, ChunksWithoutEndAreAnError) {
  const test::FrozenTokenizer t(small_spec({"a"}));
  std::string text;
  for (int i = 0; i < 200000; ++i) text += "a ";
  EXPECT_NE(error_of(t.tokenizer, text, {.max_length = 1000, .stride = 997}).find("chunks"), std::string::npos);
  Encodings out;
  EXPECT_THROW(t.tokenizer.encode_pair(text, text, {.max_length = 20}, out), Error);
  t.tokenizer.encode_pair(text, text, {.max_length = 20, .overflow = false}, out);
  EXPECT_EQ(out.chunks[0].size(), 20u);
  EXPECT_TRUE(out.truncated);
}

TEST(Tokenizer, ChunksCoverTheTextAndShareTheStride) {
  const test::FrozenTokenizer t(small_spec({"a"}));
  std::string text;
  for (int i = 0; i < 100; ++i) text += "a ";
  Encodings out;
  for (size_t length = 3; length < 30; ++length) {
    for (size_t stride = 0; stride + 2 < length; ++stride) {
      t.tokenizer.encode(text, {.max_length = length, .stride = stride}, out);
      int32_t next = 0;
      for (size_t i = 0; i < out.count; ++i) {
        const Encoding& e = out.chunks[i];
        ASSERT_LE(e.size(), length);
        if (i > 0) {
          ASSERT_EQ(e.words[1], next - static_cast<int32_t>(stride));
        }
        next = e.words[e.size() - 2] + 1;
        if (i + 1 < out.count) {
          ASSERT_EQ(e.size(), length);
        }
      }
      ASSERT_EQ(next, 100);
    }
  }
}

// ---- size, time, memory ----

double seconds(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// Twice the text must not take much more than twice as long; generous, as other work runs beside the tests.
void expect_linear(const Tokenizer& tokenizer, const std::string& unit, size_t bytes) {
  const auto repeat = [&](size_t size) {
    std::string text;
    while (text.size() < size) text += unit;
    return text;
  };
  const std::string small = repeat(bytes / 8), large = repeat(bytes);
  Encodings out;
  double small_time = 1e9, large_time = 1e9;
  for (int i = 0; i < 3; ++i) {
    small_time = std::min(small_time, seconds([&] { tokenizer.encode(small, {}, out); }));
    large_time = std::min(large_time, seconds([&] { tokenizer.encode(large, {}, out); }));
  }
  EXPECT_LT(large_time, 8 * 6 * small_time + 0.1) << unit.substr(0, 20);
}

TEST(Tokenizer, LongTextsTakeLinearTime) {
  TokenizerSpec spec = small_spec({"a", "##a", "aaaa", "##aaaa", "word", "e", "中"});
  AddedTokenSpec spaces{"  ", 0, false, true, true, false, false};
  converter::add_token(spaces, spec);
  converter::add_token({"Norm", 0, true, false, false, true, false}, spec);
  const test::FrozenTokenizer general(spec);
  const test::FrozenTokenizer fast(small_spec({"a", "##a", "aaaa", "##aaaa", "word", "e", "中"}));
  for (const char* unit :
       {"a", "word ", " ", "e\u0301", "\u0301", "\u0f73\u0344", "中", "[SEP]", "[", "\xFF", "!", "é", "가"}) {
    expect_linear(fast.tokenizer, unit, 1'000'000);
    expect_linear(general.tokenizer, unit, 250'000);
  }
}

TEST(Tokenizer, AWordWithoutEndIsOneUnknown) {
  const test::FrozenTokenizer t(small_spec({"a", "##a"}));
  std::string word;
  word.resize(10'000'000, 'a');
  Encodings out;
  t.tokenizer.encode(word, {}, out);
  EXPECT_EQ(out.chunks[0].ids, (std::vector<int32_t>{kCls, kUnk, kSep}));
  EXPECT_EQ(out.chunks[0].bytes[1], (Span{0, 10'000'000}));
  EXPECT_EQ(ids(t.tokenizer, word.substr(0, 100)).size(), 102u);
  EXPECT_EQ(ids(t.tokenizer, word.substr(0, 101)).size(), 3u);
}

TEST(Tokenizer, ThreadsShareOneTokenizer) {
  const test::FrozenTokenizer t(small_spec({"a", "##b", "cafe", "!"}));
  const std::vector<std::string> texts = {"a ab café!", "ab", "", "x[SEP]a", "\xFF a", std::string(500, 'a') + " ab!"};
  std::vector<std::vector<int32_t>> expected;
  for (const std::string& text : texts) expected.push_back(ids(t.tokenizer, text));
  std::vector<std::thread> threads;
  std::vector<size_t> wrong(4, 0);
  for (size_t k = 0; k < wrong.size(); ++k) {
    threads.emplace_back([&, k] {
      Encodings out;
      for (size_t i = 0; i < 4000; ++i) {
        const size_t which = (i + k) % texts.size();
        t.tokenizer.encode(texts[which], {}, out);
        wrong[k] += out.chunks[0].ids != expected[which];
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, (std::vector<size_t>{0, 0, 0, 0}));
}

// ---- decode ----

TEST(Tokenizer, DecodeJoinsPiecesAsTheReferenceDoes) {
  TokenizerSpec spec = small_spec({"a"});
  const auto decode = [](const TokenizerSpec& s, const std::vector<std::string_view>& tokens) {
    std::string text;
    test::FrozenTokenizer(s).tokenizer.decode(tokens, text);
    return text;
  };
  EXPECT_EQ(decode(spec, {"##uelo", "Ara", "##új", "##o", "No", "##guera"}), "##uelo Araújo Noguera");
  EXPECT_EQ(decode(spec, {"Jean", "-", "Baptiste", ",", "U", ".", "S", ".", "do", "n't"}),
            "Jean - Baptiste, U. S. don't");
  EXPECT_EQ(decode(spec, {}), "");
  spec.decoder.cleanup = false;
  EXPECT_EQ(decode(spec, {"U", ".", "S"}), "U . S");
  spec.decoder.wordpiece = false;
  EXPECT_EQ(decode(spec, {"a", "##b"}), "a ##b");
}

}  // namespace
}  // namespace octobert
