// A tokenizer as a filter, for scripts/goldens/differential_tokenizer.py.
//   tokenize_lines TOKENIZER.json|FOLDER
// First line out: {"vocab", "special", "model_max_length"} or {"load_error"}. Then, for each JSON request a line on
// standard input, {"chunks"}, {"text"} for {"decode": [tokens]}, {"tokens"} for {"ids": [...]}, or {"error"}.
#include <iostream>
#include <string>
#include <string_view>
#include <vector>

#include "converter/json.h"
#include "octobert/error.h"
#include "tests/tokenizer_test_util.h"

namespace {

using nlohmann::json;
using octobert::Tokenizer;

json answer(const Tokenizer& tokenizer, const json& request, octobert::Encodings& out) {
  if (request.contains("decode")) {
    const auto tokens = request["decode"].get<std::vector<std::string>>();
    std::string text;
    tokenizer.decode(std::vector<std::string_view>(tokens.begin(), tokens.end()), text);
    return {{"text", text}};
  }
  if (request.contains("ids")) {
    json tokens = json::array();
    for (const int32_t id : request["ids"]) tokens.push_back(std::string(tokenizer.token(id)));
    return {{"tokens", tokens}};
  }
  try {
    return {{"chunks", octobert::test::encode(tokenizer, request, out)}};
  } catch (const octobert::Error& e) {
    return {{"error", e.what()}};
  }
}

octobert::converter::TokenizerSpec read(const std::string& path) {
  if (!path.ends_with(".json")) return octobert::converter::read_tokenizer(path);
  return octobert::converter::read_tokenizer_json(octobert::converter::read_json_object(path), path);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "tokenize_lines TOKENIZER.json|FOLDER\n";
    return 2;
  }
  std::ios::sync_with_stdio(false);
  try {
    const octobert::test::FrozenTokenizer frozen(read(argv[1]));
    const Tokenizer& tokenizer = frozen.tokenizer;
    std::cout << json{{"vocab", tokenizer.vocab_size()},
                      {"special", tokenizer.special_count()},
                      {"model_max_length", tokenizer.model_max_length()}}
              << "\n";
    octobert::Encodings out;
    for (std::string line; std::getline(std::cin, line);) {
      std::cout << answer(tokenizer, json::parse(line), out) << "\n";
    }
  } catch (const octobert::Error& e) {
    std::cout << json{{"load_error", e.what()}} << "\n";
    return 1;
  }
  return 0;
}
