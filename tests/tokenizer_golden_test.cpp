// Equality with the reference: tests/data/tokens (made by scripts/goldens/make_token_goldens.py), and the larger
// sets of ../shared where it is there.
#include <gtest/gtest.h>
#include <zlib.h>

#include <cctype>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string>

#include "converter/json.h"
#include "octobert/error.h"
#include "tests/gz_lines.h"
#include "tests/temporary_folder.h"
#include "tests/tokenizer_test_util.h"
#include "tokenizer/normalize.h"

namespace octobert {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

const fs::path kRoot = OCTOBERT_SOURCE_DIR;
const fs::path kData = kRoot / "tests" / "data" / "tokens";
const fs::path kShared = kRoot / ".." / "shared";

json bundled_tokenizer() { return converter::read_json_object(kRoot / "models" / "minilm-ner" / "tokenizer.json"); }

struct Counts {
  size_t cases = 0, errors = 0, wrong = 0;
};

// One request against its answer; the first few that differ are shown.
void check(const Tokenizer& tokenizer, const json& line, const std::string& where, Encodings& out, Counts& counts) {
  ++counts.cases;
  std::string error;
  json chunks;
  try {
    chunks = test::encode(tokenizer, line, out);
  } catch (const Error& e) {
    ASSERT_EQ(e.code(), ErrorCode::kInvalidInput) << e.what();
    error = e.what();
  }
  if (line.contains("error")) {
    ++counts.errors;
    counts.wrong += error.empty();
    EXPECT_FALSE(error.empty()) << where << ": the reference refuses this request";
    return;
  }
  if (error.empty() && test::agrees(chunks, line["chunks"])) return;
  if (++counts.wrong <= 5) {
    ADD_FAILURE() << where << ": " << json{{"text", line.value("text", json())}, {"words", line.value("words", json())}}
                  << "\n  ours      " << (error.empty() ? chunks.dump() : error) << "\n  reference " << line["chunks"];
  }
}

// A golden file whose groups bring their tokenizers.
Counts check_file(const std::string& name) {
  const json bundled = bundled_tokenizer();
  std::unique_ptr<test::FrozenTokenizer> frozen;
  Encodings out;
  Counts counts;
  size_t number = 0;
  for (const std::string& text : test::gz_lines(kData / name)) {
    ++number;
    const json line = json::parse(text);
    if (line.contains("tokenizer")) {
      json root = bundled;
      if (line["tokenizer"].contains("version")) {
        root = line["tokenizer"];
      } else {
        root.merge_patch(line["tokenizer"]);
      }
      frozen = std::make_unique<test::FrozenTokenizer>(converter::read_tokenizer_json(root, name));
      continue;
    }
    check(frozen->tokenizer, line, name + ":" + std::to_string(number), out, counts);
  }
  EXPECT_EQ(counts.wrong, 0u) << "of " << counts.cases;
  return counts;
}

TEST(TokenizerGolden, EveryTextOnTheBundledTokenizer) { EXPECT_GE(check_file("bundled.jsonl.gz").cases, 7400u); }
TEST(TokenizerGolden, Cased) { EXPECT_GE(check_file("bert-base-cased.jsonl.gz").cases, 600u); }
TEST(TokenizerGolden, Chinese) { EXPECT_GE(check_file("bert-base-chinese.jsonl.gz").cases, 600u); }
TEST(TokenizerGolden, Multilingual) { EXPECT_GE(check_file("bert-base-multilingual-cased.jsonl.gz").cases, 600u); }
TEST(TokenizerGolden, UncasedKeepingAccents) { EXPECT_GE(check_file("uncased-keep-accents.jsonl.gz").cases, 600u); }

TEST(TokenizerGolden, OptionsAddedTokensTruncationWords) {
  const Counts counts = check_file("options.jsonl.gz");
  EXPECT_GE(counts.cases, 2500u);
  EXPECT_GE(counts.errors, 50u);
}

TEST(TokenizerGolden, RandomTokenizers) {
  const Counts counts = check_file("random.jsonl.gz");
  EXPECT_GE(counts.cases, 700u);
  EXPECT_GE(counts.errors, 5u);
}

TEST(TokenizerGolden, FoldersWithoutTokenizerJson) {
  std::unique_ptr<test::TemporaryFolder> folder;
  std::unique_ptr<converter::LoadedTokenizer> loaded;
  Encodings out;
  Counts counts;
  for (const std::string& text : test::gz_lines(kData / "folders.jsonl.gz")) {
    const json line = json::parse(text);
    if (line.contains("files")) {
      folder = std::make_unique<test::TemporaryFolder>();
      for (const auto& [name, content] : line["files"].items()) {
        test::write_file(*folder / name, content.get<std::string>());
      }
      loaded = std::make_unique<converter::LoadedTokenizer>(converter::load_tokenizer(folder->path()));
      EXPECT_EQ(loaded->tokenizer.model_max_length(), line["model_max_length"].get<size_t>()) << line["files"];
      continue;
    }
    check(loaded->tokenizer, line, "folders.jsonl.gz", out, counts);
  }
  EXPECT_EQ(counts.wrong, 0u);
  EXPECT_GE(counts.cases, 150u);
}

class SharedTokenGolden : public testing::TestWithParam<std::string> {};

TEST_P(SharedTokenGolden, IsEqual) {
  const fs::path golden = kShared / "golden" / "tokens" / (GetParam() + ".jsonl.gz");
  if (!fs::exists(golden)) GTEST_SKIP() << "needs ../shared: " << golden.filename();
  const std::string tokenizer_name = GetParam().substr(0, GetParam().find('.'));
  const auto loaded = converter::load_tokenizer(kShared / "tokenizers" / tokenizer_name);
  EXPECT_TRUE(loaded.warnings.empty());
  const bool windows = GetParam().ends_with("max32-stride8");
  Encodings out;
  Counts counts;
  for (const std::string& text : test::gz_lines(golden)) {
    json line = json::parse(text);
    if (windows) line.update({{"max_length", 32}, {"stride", 8}});
    check(loaded.tokenizer, line, GetParam(), out, counts);
  }
  EXPECT_EQ(counts.wrong, 0u) << "of " << counts.cases;
  EXPECT_GE(counts.cases, 1000u);
}
INSTANTIATE_TEST_SUITE_P(All, SharedTokenGolden,
                         testing::Values("bert-base-uncased", "bert-base-cased", "bert-base-chinese",
                                         "bert-base-multilingual-cased", "uncased-keep-accents",
                                         "bert-base-uncased.max32-stride8"),
                         [](const auto& info) {
                           std::string name = info.param;
                           for (char& c : name) c = std::isalnum(static_cast<unsigned char>(c)) ? c : '_';
                           return name;
                         });

// ---- every code point ----

std::string utf8(uint32_t cp) {
  uint8_t bytes[4];
  return std::string(reinterpret_cast<char*>(bytes), utf8::encode(cp, bytes));
}

test::FrozenTokenizer unknown_words_only(bool clean_text) {
  const json root = {{"normalizer",
                      {{"type", "BertNormalizer"},
                       {"clean_text", clean_text},
                       {"handle_chinese_chars", true},
                       {"strip_accents", nullptr},
                       {"lowercase", true}}},
                     {"pre_tokenizer", {{"type", "BertPreTokenizer"}}},
                     {"model",
                      {{"type", "WordPiece"},
                       {"unk_token", "u"},
                       {"continuing_subword_prefix", "##"},
                       {"max_input_chars_per_word", 100},
                       {"vocab", {{"u", 0}}}}}};
  return test::FrozenTokenizer(converter::read_tokenizer_json(root, "test"));
}

// The probes of make_token_goldens.py's code_points(), in its order.
std::vector<std::string> probe(uint32_t first, const Tokenizer& cleaning, const Tokenizer& keeping, Encodings& out) {
  std::vector<std::string> results;
  const auto each = [&](auto&& answer) {
    std::string& result = results.emplace_back();
    for (uint32_t cp = first; cp < first + 4096; ++cp) {
      if (cp >= 0xD800 && cp < 0xE000) continue;
      result += answer(utf8(cp)) + "\n";
    }
  };
  CombiningRun run;
  NormalizedText normalized;
  for (uint32_t bits = 0; bits < 16; ++bits) {
    const NormalizerOptions options{(bits & 1) != 0, (bits & 2) != 0, (bits & 4) != 0, (bits & 8) != 0};
    const auto normal = [&](const std::string& text) {
      normalize(text, Place{}, options, run, normalized);
      return std::string(normalized.bytes.begin(), normalized.bytes.end());
    };
    each([&](const std::string& c) { return normal(c); });
    if (options.strip_accents) {
      each([&](const std::string& c) { return normal("a\u0301" + c + "\u0323b\u0345" + c + "\u0334"); });
    }
  }
  for (const Tokenizer* tokenizer : {&cleaning, &keeping}) {
    each([&](const std::string& c) {
      tokenizer->encode("x" + c + "y " + c, {}, out);
      std::string words;
      for (const Span span : out.chunks[0].codepoints) {
        words += (words.empty() ? "" : " ") + std::to_string(span.begin) + "," + std::to_string(span.end);
      }
      return words;
    });
  }
  return results;
}

TEST(TokenizerGolden, EveryCodePoint) {
  const std::string golden = test::read_file(kData / "code_points.bin");
  const test::FrozenTokenizer cleaning = unknown_words_only(true), keeping = unknown_words_only(false);
  Encodings out;
  size_t at = 0, compared = 0;
  for (uint32_t first = 0; first < 0x110000; first += 4096) {
    const std::vector<std::string> results = probe(first, cleaning.tokenizer, keeping.tokenizer, out);
    for (size_t i = 0; i < results.size(); ++i, at += 4, ++compared) {
      ASSERT_LE(at + 4, golden.size());
      uint32_t expected;
      std::memcpy(&expected, golden.data() + at, 4);
      const auto* bytes = reinterpret_cast<const Bytef*>(results[i].data());
      EXPECT_EQ(::crc32(0, bytes, static_cast<uInt>(results[i].size())), expected)
          << "code points from " << std::hex << first << ", probe " << std::dec << i;
    }
  }
  EXPECT_EQ(at, golden.size());
  EXPECT_EQ(compared, 272u * 26u);
}

}  // namespace
}  // namespace octobert
