// Tokenizer files of every wrong shape, the rules of reading folders, and the frozen form against damage.
#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <string>

#include "converter/json.h"
#include "octobert/error.h"
#include "tests/temporary_folder.h"
#include "tests/tokenizer_test_util.h"
#include "tokenizer/frozen_view.h"
#include "tokenizer/unicode_tables.h"

namespace octobert {
namespace {

using nlohmann::json;

json small_tokenizer() {
  return json::parse(R"({
    "version": "1.0", "truncation": null, "padding": null,
    "added_tokens": [
      {"id": 0, "content": "[UNK]", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true}],
    "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null, "lowercase": true},
    "pre_tokenizer": {"type": "BertPreTokenizer"},
    "post_processor": {"type": "TemplateProcessing",
      "single": [{"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
      "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
      "special_tokens": {"[CLS]": {"id": "[CLS]", "ids": [1], "tokens": ["[CLS]"]}}},
    "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true},
    "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100,
      "vocab": {"[UNK]": 0, "[CLS]": 1, "hello": 2, "##s": 3}}})");
}

// The error that reading `root` gives; "" if it is read and frozen.
std::string error_of(const json& root, ErrorCode* code = nullptr) {
  try {
    const std::vector<std::byte> bytes = converter::freeze(converter::read_tokenizer_json(root, "tokenizer.json"));
    Tokenizer::from_frozen(bytes, "test");
  } catch (const Error& e) {
    if (code != nullptr) *code = e.code();
    return e.what();
  }
  return "";
}

TEST(TokenizerImport, SmallTokenizerIsRead) {
  EXPECT_EQ(error_of(small_tokenizer()), "");
  const test::FrozenTokenizer t(converter::read_tokenizer_json(small_tokenizer(), "test"));
  Encodings out;
  t.tokenizer.encode("Hellos", {}, out);
  EXPECT_EQ(out.chunks[0].ids, (std::vector<int32_t>{1, 2, 3}));
}

// Sets the field at a JSON pointer, or removes it (null value with `remove`), and looks for a word in the error.
struct Change {
  const char* pointer;
  const char* value;  // JSON; nullptr: removed
  const char* in_error;
  ErrorCode code = ErrorCode::kFormat;
};

json changed(const Change& change) {
  json root = small_tokenizer();
  const json::json_pointer pointer(change.pointer);
  if (change.value != nullptr) {
    root[pointer] = json::parse(change.value);
  } else if (pointer.parent_pointer().empty()) {
    root.erase(pointer.back());
  } else {
    root[pointer.parent_pointer()].erase(pointer.back());
  }
  return root;
}

TEST(TokenizerImport, WrongShapesAreNamed) {
  const Change changes[] = {
      {"/model", nullptr, "'model' is missing"},
      {"/model", "[]", "model: expected an object, found array"},
      {"/model/vocab", nullptr, "'vocab' is missing"},
      {"/model/vocab", "[\"a\"]", "model.vocab: expected an object, found array"},
      {"/model/vocab", "{}", "model.vocab: expected at least one token"},
      {"/model/vocab/hello", "-1", "model.vocab['hello']: expected an integer"},
      {"/model/vocab/hello", "1.5", "found 1.5"},
      {"/model/vocab/hello", "4294967296", "found 4294967296"},
      {"/model/vocab/hello", "99999999", "model.vocab['hello']"},
      {"/model/vocab/hello", "\"2\"", "found \"2\""},
      {"/model/unk_token", "\"<unk>\"", "model.unk_token: expected a token of the vocabulary, found \"<unk>\""},
      {"/model/unk_token", "null", "model.unk_token: expected a string, found null"},
      {"/model/max_input_chars_per_word", "-3", "max_input_chars_per_word"},
      {"/model/max_input_chars_per_word", nullptr, "'max_input_chars_per_word' is missing"},
      {"/model/continuing_subword_prefix", "7", "continuing_subword_prefix: expected a string, found 7"},
      {"/model/type", "\"BPE\"", "model: model 'BPE' is not supported", ErrorCode::kUnsupported},
      {"/model/type", "\"Unigram\"", "'Unigram' is not supported", ErrorCode::kUnsupported},
      {"/model/type", "\"WordLevel\"", "'WordLevel' is not supported", ErrorCode::kUnsupported},
      {"/model/type", "3", "model.type: expected a string, found 3"},
      {"/normalizer/type", "\"NFKC\"", "normalizer 'NFKC' is not supported", ErrorCode::kUnsupported},
      {"/normalizer", "\"x\"", "normalizer: expected an object"},
      {"/normalizer/lowercase", "1", "normalizer.lowercase: expected true or false, found 1"},
      {"/normalizer/clean_text", nullptr, "'clean_text' is missing"},
      {"/normalizer/strip_accents", "\"no\"", "strip_accents: expected true or false"},
      {"/normalizer", R"({"type": "Sequence", "normalizers": []})", "'Sequence' is not supported",
       ErrorCode::kUnsupported},
      {"/pre_tokenizer", "null", "pre_tokenizer", ErrorCode::kUnsupported},
      {"/pre_tokenizer/type", "\"Whitespace\"", "'Whitespace' is not supported", ErrorCode::kUnsupported},
      {"/decoder/type", "\"ByteLevel\"", "'ByteLevel' is not supported", ErrorCode::kUnsupported},
      {"/decoder/cleanup", nullptr, "'cleanup' is missing"},
      {"/post_processor/type", "\"RobertaProcessing\"", "'RobertaProcessing' is not supported",
       ErrorCode::kUnsupported},
      {"/post_processor/single", "{}", "post_processor.single: expected an array"},
      {"/post_processor/single/0", "7", "post_processor.single[0]: expected an object"},
      {"/post_processor/single/0", "{}", "expected an object with 'Sequence' or 'SpecialToken'"},
      {"/post_processor/single/0/SpecialToken/id", "\"[SEP]\"", "'[SEP]' is missing"},
      {"/post_processor/single/0/SpecialToken/type_id", "-1", "type_id"},
      {"/post_processor/single/1/Sequence/id", "\"C\"", "expected \"A\" or \"B\""},
      {"/post_processor/single/1/Sequence/id", "\"B\"", "without exactly one A", ErrorCode::kUnsupported},
      {"/post_processor/pair", "[]", "without exactly one A and one B", ErrorCode::kUnsupported},
      {"/post_processor/special_tokens/[CLS]/ids", "[9]", "ids[0]: expected an integer from 0 to 3, found 9"},
      {"/post_processor/special_tokens/[CLS]/ids", "\"x\"", "expected an array"},
      {"/added_tokens", "{}", "added_tokens: expected an array"},
      {"/added_tokens/0", "\"[UNK]\"", "added_tokens[0]: expected an object"},
      {"/added_tokens/0/content", "5", "added_tokens[0].content: expected a string"},
      {"/added_tokens/0/special", nullptr, "'special' is missing"},
      {"/added_tokens/0/lstrip", "\"yes\"", "lstrip: expected true or false"},
      {"/added_tokens/0/id", "-4", "added_tokens[0].id"},
      {"/version", "\"2.0\"", "version", ErrorCode::kUnsupported},
      {"/truncation", R"({"direction": "up"})", "truncation.direction"},
  };
  for (const Change& change : changes) {
    ErrorCode code{};
    const std::string error = error_of(changed(change), &code);
    EXPECT_TRUE(error.starts_with("tokenizer.json: ")) << change.pointer << ": " << error;
    EXPECT_NE(error.find(change.in_error), std::string::npos) << change.pointer << ": " << error;
    EXPECT_EQ(code, change.code) << change.pointer << ": " << error;
  }
}

TEST(TokenizerImport, WhatTheReferenceAlsoTakesIsRead) {
  for (const Change& change :
       {Change{"/version", nullptr, ""}, Change{"/added_tokens", nullptr, ""}, Change{"/added_tokens", "[]", ""},
        Change{"/normalizer", "null", ""}, Change{"/normalizer/strip_accents", nullptr, ""},
        Change{"/decoder", "null", ""}, Change{"/post_processor", "null", ""}, Change{"/post_processor", nullptr, ""},
        Change{"/model/type", nullptr, ""}, Change{"/model/vocab/x", "4000", ""}, Change{"/model/vocab/x", "2", ""},
        Change{"/model/max_input_chars_per_word", "0", ""},
        Change{"/truncation", R"({"direction": "Left", "max_length": 5})", ""},
        Change{"/padding", R"({"strategy": "BatchLongest"})", ""}}) {
    EXPECT_EQ(error_of(changed(change)), "") << change.pointer;
  }
}

TEST(TokenizerImport, AddedTokensLongerThanTheLimitAreRefused) {
  json root = small_tokenizer();
  json token = root["added_tokens"][0];
  token["content"] = std::string(1024, 'x');
  root["added_tokens"].push_back(token);
  EXPECT_EQ(error_of(root), "");
  root["added_tokens"][1]["content"] = std::string(1025, 'x');
  EXPECT_NE(error_of(root).find("longer than 1024 bytes"), std::string::npos);
}

TEST(TokenizerImport, TokenizerJsonsOwnTruncationAndPaddingAreNotUsed) {
  json root = small_tokenizer();
  root["truncation"] = {{"direction", "Left"}, {"max_length", 3}, {"strategy", "LongestFirst"}, {"stride", 0}};
  const test::FrozenTokenizer t(converter::read_tokenizer_json(root, "test"));
  Encodings out;
  t.tokenizer.encode("hello hello hellos", {}, out);
  EXPECT_EQ(out.count, 1u);
  EXPECT_EQ(out.chunks[0].size(), 5u);
  t.tokenizer.encode("hello hello hellos", {.max_length = 3}, out);  // but its side is
  EXPECT_EQ(out.chunks[0].ids, (std::vector<int32_t>{1, 2, 3}));
}

// ---- folders ----

std::string folder_error(const std::vector<std::pair<std::string, std::string>>& files, ErrorCode* code = nullptr) {
  const test::TemporaryFolder folder;
  for (const auto& [name, content] : files) test::write_file(folder / name, content);
  try {
    converter::load_tokenizer(folder.path());
  } catch (const Error& e) {
    if (code != nullptr) *code = e.code();
    return e.what();
  }
  return "";
}

const std::string kVocab = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nhello\n";

TEST(TokenizerFolder, ErrorsNameFileAndField) {
  ErrorCode code{};
  EXPECT_NE(folder_error({}, &code).find("neither tokenizer.json nor vocab.txt"), std::string::npos);
  EXPECT_EQ(code, ErrorCode::kIo);
  EXPECT_NE(folder_error({{"spiece.model", ""}}, &code).find("spiece.model"), std::string::npos);
  EXPECT_EQ(code, ErrorCode::kUnsupported);
  EXPECT_NE(folder_error({{"vocab.txt", ""}}).find("vocab.txt: no tokens"), std::string::npos);
  EXPECT_NE(folder_error({{"vocab.txt", "hello\n"}}).find("'[UNK]' is not in it"), std::string::npos);
  EXPECT_NE(folder_error({{"vocab.txt", kVocab + "\xFF\n"}}).find("vocab.txt: invalid UTF-8 at byte 37"),
            std::string::npos);
  EXPECT_NE(folder_error({{"tokenizer.json", "{"}}).find("tokenizer.json: not valid JSON"), std::string::npos);
  EXPECT_NE(folder_error({{"tokenizer.json", "[]"}}).find("expected a JSON object"), std::string::npos);
  EXPECT_EQ(folder_error({{"vocab.txt", kVocab}}), "");
  const auto config = [&](const std::string& content) {
    return folder_error({{"vocab.txt", kVocab}, {"tokenizer_config.json", content}});
  };
  EXPECT_NE(config("{").find("tokenizer_config.json: not valid JSON"), std::string::npos);
  EXPECT_NE(config(R"({"do_lower_case": "yes"})").find("tokenizer_config.json: do_lower_case: expected true or false"),
            std::string::npos);
  EXPECT_NE(config(R"({"model_max_length": "512"})").find("model_max_length: expected a number"), std::string::npos);
  EXPECT_NE(config(R"({"model_max_length": -1})").find("model_max_length: expected a number"), std::string::npos);
  EXPECT_NE(config(R"({"truncation_side": "top"})").find("truncation_side"), std::string::npos);
  EXPECT_NE(config(R"({"additional_special_tokens": 5})").find("additional_special_tokens: expected an array"),
            std::string::npos);
  EXPECT_NE(config(R"({"additional_special_tokens": [5]})").find("additional_special_tokens[0]"), std::string::npos);
  EXPECT_NE(config(R"({"added_tokens_decoder": []})").find("added_tokens_decoder: expected an object"),
            std::string::npos);
  EXPECT_NE(config(R"({"added_tokens_decoder": {"x": {}}})").find("expected ids as keys"), std::string::npos);
  EXPECT_NE(config(R"({"added_tokens_decoder": {"7": {}}})").find("'content' is missing"), std::string::npos);
  EXPECT_NE(config(R"({"cls_token": null})").find("cls_token: null is not supported"), std::string::npos);
  EXPECT_NE(folder_error({{"vocab.txt", kVocab}, {"added_tokens.json", R"({"a": "b"})"}}).find("added_tokens.json: a"),
            std::string::npos);
}

TEST(TokenizerFolder, TokenizerJsonDecidesAndDisagreementIsAWarning) {
  const test::TemporaryFolder folder;
  test::write_file(folder / "tokenizer.json", small_tokenizer().dump());
  test::write_file(folder / "vocab.txt", kVocab);
  test::write_file(folder / "tokenizer_config.json", R"({"do_lower_case": false, "model_max_length": 128})");
  const converter::LoadedTokenizer loaded = converter::load_tokenizer(folder.path());
  Encodings out;
  loaded.tokenizer.encode("HELLO", {}, out);
  EXPECT_EQ(out.chunks[0].ids, (std::vector<int32_t>{1, 2}));
  EXPECT_EQ(loaded.tokenizer.model_max_length(), 128u);
  ASSERT_EQ(loaded.warnings.size(), 1u);
  EXPECT_NE(loaded.warnings[0].find("do_lower_case is false"), std::string::npos) << loaded.warnings[0];
}

// ---- the frozen form ----

TEST(FrozenTokenizer, IsDeterministic) {
  const auto spec = converter::read_tokenizer_json(small_tokenizer(), "test");
  EXPECT_EQ(converter::freeze(spec), converter::freeze(converter::read_tokenizer_json(small_tokenizer(), "other")));
}

std::vector<std::byte> frozen_small() {
  json root = small_tokenizer();
  json token = root["added_tokens"][0];
  token["content"] = "Added";
  token["normalized"] = token["single_word"] = token["lstrip"] = token["rstrip"] = true;
  root["added_tokens"].push_back(token);
  return converter::freeze(converter::read_tokenizer_json(root, "test"));
}

// Encodes and decodes whatever these bytes are; false if they are refused.
bool try_frozen(std::span<const std::byte> bytes) {
  try {
    const Tokenizer tokenizer = Tokenizer::from_frozen(bytes, "damaged");
    Encodings out;
    tokenizer.encode(
        "Hello hellos [UNK] added  Added, \u00e9\u0301 \u4e2d\xFF"
        "done",
        {.max_length = 5, .stride = 1}, out);
    tokenizer.encode_pair("hello", "[UNK]\u00a0s", {}, out);
    std::string text;
    const std::string_view tokens[] = {tokenizer.token(0), tokenizer.token(3)};
    tokenizer.decode(tokens, text);
  } catch (const Error& e) {
    return e.code() == ErrorCode::kInvalidInput;  // a stride without progress: opened, then refused
  }
  return true;
}

TEST(FrozenTokenizer, NoDamagedByteLeadsOutOfBounds) {
  const std::vector<std::byte> good = frozen_small();
  ASSERT_TRUE(try_frozen(good));
  size_t refused = 0;
  for (size_t at = 0; at < good.size(); ++at) {
    for (const int value : {0x00, 0x01, 0x7F, 0x80, 0xFF}) {
      std::vector<std::byte> bad = good;
      bad[at] = static_cast<std::byte>(value);
      refused += !try_frozen(bad);
    }
  }
  EXPECT_GT(refused, sizeof(frozen::WordPieceHeader));
}

TEST(FrozenTokenizer, EveryTruncationIsRefused) {
  const std::vector<std::byte> good = frozen_small();
  for (size_t size = 0; size < good.size(); size += size < 256 ? 1 : 97) {
    EXPECT_FALSE(try_frozen(std::span(good).first(size))) << size;
  }
}

template <typename Edit>
std::string frozen_error(Edit edit, ErrorCode* code) {
  std::vector<std::byte> bytes = frozen_small();
  frozen::WordPieceHeader header;
  std::memcpy(&header, bytes.data(), sizeof(header));
  edit(header);
  std::memcpy(bytes.data(), &header, sizeof(header));
  try {
    Tokenizer::from_frozen(bytes, "model.octo");
  } catch (const Error& e) {
    *code = e.code();
    return e.what();
  }
  return "";
}

TEST(FrozenTokenizer, OtherVersionsKindsAndTablesAreRefused) {
  ErrorCode code{};
  EXPECT_NE(frozen_error([](auto& h) { h.prefix.version = 2; }, &code).find("version 2"), std::string::npos);
  EXPECT_EQ(code, ErrorCode::kUnsupported);
  EXPECT_NE(frozen_error([](auto& h) { h.prefix.kind = 9; }, &code).find("kind 9"), std::string::npos);
  EXPECT_EQ(code, ErrorCode::kUnsupported);
  EXPECT_NE(frozen_error([](auto& h) { h.prefix.unicode_tables += 1; }, &code).find("convert again"),
            std::string::npos);
  EXPECT_EQ(code, ErrorCode::kUnsupported);
  EXPECT_NE(frozen_error([](auto& h) { h.prefix.size -= 8; }, &code).find("model.octo: tokenizer: size"),
            std::string::npos);
  EXPECT_EQ(code, ErrorCode::kFormat);
  EXPECT_NE(frozen_error([](auto& h) { h.unk_id = h.vocab_size; }, &code).find("unk_id"), std::string::npos);
  EXPECT_NE(frozen_error([](auto& h) { h.flags |= 1u << 20; }, &code).find("unknown flags"), std::string::npos);
  EXPECT_NE(frozen_error([](auto& h) { h.vocabulary.offset += 8; }, &code).find("vocabulary"), std::string::npos);
  EXPECT_NE(frozen_error([](auto& h) { h.token_ends.offset += 4; }, &code).find("token_ends"), std::string::npos);
  EXPECT_NE(frozen_error([](auto& h) { h.pair = h.single; }, &code).find("pair"), std::string::npos);
}

}  // namespace
}  // namespace octobert
