// Any bytes as tokenizer.json, or (first byte odd) as the files of a vocab.txt folder, separated by 0x1E: an Error or
// a tokenizer that works.
#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>

#include "converter/json.h"
#include "octobert/error.h"
#include "tests/tokenizer_test_util.h"

namespace {

octobert::converter::TokenizerSpec read_files(std::string_view text) {
  std::string parts[4];
  for (std::string& part : parts) {
    const size_t end = std::min(text.find('\x1E'), text.size());
    part = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  octobert::converter::VocabFiles files;
  files.vocab = parts[0];
  nlohmann::json* const values[] = {&files.config, &files.special_tokens_map, &files.added_tokens};
  for (size_t i = 0; i < 3; ++i) {
    if (!parts[i + 1].empty()) *values[i] = octobert::converter::parse_json_object(parts[i + 1], "fuzz");
  }
  return octobert::converter::read_vocab_files(files);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 1) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  try {
    const auto spec = data[0] & 1 ? read_files(text)
                                  : octobert::converter::read_tokenizer_json(
                                        octobert::converter::parse_json_object(text, "fuzz"), "fuzz");
    const octobert::test::FrozenTokenizer frozen(spec);
    octobert::Encodings out;
    frozen.tokenizer.encode("Hello [CLS] w\u00f6rld \u4e2d\u56fd\xFF", {}, out);
    frozen.tokenizer.encode_pair("a", text.substr(0, 200), {}, out);
  } catch (const octobert::Error&) {
  }
  return 0;
}
