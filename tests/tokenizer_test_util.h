// Requests and answers of the token goldens (scripts/goldens/make_token_goldens.py) as JSON.
#ifndef OCTOBERT_TESTS_TOKENIZER_TEST_UTIL_H_
#define OCTOBERT_TESTS_TOKENIZER_TEST_UTIL_H_

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "converter/tokenizer_import.h"
#include "octobert/tokenizer.h"

namespace octobert::test {

// A tokenizer with the bytes that it looks into.
struct FrozenTokenizer {
  std::vector<std::byte> bytes;
  Tokenizer tokenizer;

  explicit FrozenTokenizer(const converter::TokenizerSpec& spec)
      : bytes(converter::freeze(spec)), tokenizer(Tokenizer::from_frozen(bytes, "test")) {}
};

inline TokenizeOptions options_of(const nlohmann::json& request) {
  TokenizeOptions options;
  options.max_length = request.value("max_length", size_t{0});
  options.stride = request.value("stride", size_t{0});
  options.add_special_tokens = request.value("add_special", true);
  options.overflow = request.value("overflow", true);
  if (request.value("escape", false)) options.special_tokens_in_text = SpecialTokensInText::kEscape;
  return options;
}

inline nlohmann::json spans(const std::vector<Span>& spans) {
  nlohmann::json array = nlohmann::json::array();
  for (const Span span : spans) array.push_back({span.begin, span.end});
  return array;
}

inline nlohmann::json to_json(const Encoding& chunk) {
  nlohmann::json words = nlohmann::json::array();
  for (const int32_t word : chunk.words) words.push_back(word);
  return {{"ids", chunk.ids},
          {"type_ids", chunk.type_ids},
          {"special", chunk.special},
          {"words", words},
          {"sequences", chunk.sequences},
          {"offsets", spans(chunk.codepoints)},
          {"byte_offsets", spans(chunk.bytes)}};
}

// What a request gives: an array of chunks.
inline nlohmann::json encode(const Tokenizer& tokenizer, const nlohmann::json& request, Encodings& out) {
  const TokenizeOptions options = options_of(request);
  if (request.contains("words")) {
    const auto words = request["words"].get<std::vector<std::string>>();
    tokenizer.encode_words(std::vector<std::string_view>(words.begin(), words.end()), options, out);
  } else if (request.contains("pair") && !request["pair"].is_null()) {
    tokenizer.encode_pair(request["text"].get<std::string>(), request["pair"].get<std::string>(), options, out);
  } else {
    tokenizer.encode(request["text"].get<std::string>(), options, out);
  }
  nlohmann::json chunks = nlohmann::json::array();
  for (size_t i = 0; i < out.count; ++i) chunks.push_back(to_json(out.chunks[i]));
  return chunks;
}

// Whether `ours` has everything that `expected` has (which may leave arrays out); null words are -1.
inline bool agrees(const nlohmann::json& ours, nlohmann::json expected) {
  if (ours.size() != expected.size()) return false;
  for (size_t i = 0; i < ours.size(); ++i) {
    for (auto& [key, value] : expected[i].items()) {
      if (key == "words") {
        for (nlohmann::json& word : value) {
          if (word.is_null()) word = -1;
        }
      }
      if (ours[i].at(key) != value) return false;
    }
  }
  return true;
}

}  // namespace octobert::test

#endif  // OCTOBERT_TESTS_TOKENIZER_TEST_UTIL_H_
