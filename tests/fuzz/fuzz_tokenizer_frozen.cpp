// Hostile bytes as a frozen tokenizer: refused, or safe to use with any text. Input: a little-endian uint16 edits,
// then per edit uint16 position and uint32 value that are written over a good section, then the text.
// Beginning with FF FF, the rest is taken as the section itself.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <vector>

#include "octobert/error.h"
#include "tests/tokenizer_test_util.h"

namespace {

std::vector<std::byte> good_section() {
  octobert::converter::TokenizerSpec spec;
  uint32_t id = 0;
  for (const char* token : {"[UNK]", "[CLS]", "a", "##a", "ab"}) spec.vocabulary.emplace_back(token, id++);
  std::sort(spec.vocabulary.begin(), spec.vocabulary.end());
  octobert::converter::add_token({"[CLS]", 0, true, true, true, false, true}, spec);
  octobert::converter::add_token({"Ab a", 0, true, true, true, true, false}, spec);
  spec.single = {{octobert::frozen::kToken, 1, 0}, {octobert::frozen::kSequenceA, 0, 0}};
  spec.pair = spec.single;
  spec.pair.push_back({octobert::frozen::kSequenceB, 0, 1});
  return octobert::converter::freeze(spec);
}

void use(std::span<const std::byte> bytes, std::string_view text) {
  try {
    const auto tokenizer = octobert::Tokenizer::from_frozen(bytes, "fuzz");
    octobert::Encodings out;
    tokenizer.encode(text, {}, out);
    tokenizer.encode(text, {.max_length = 7, .stride = 2}, out);
    tokenizer.encode_pair(text.substr(0, 50), text.substr(0, 20), {.max_length = 9}, out);
    std::string decoded;
    std::vector<std::string_view> tokens;
    for (const int32_t token : out.chunks[0].ids) tokens.push_back(tokenizer.token(token));
    tokenizer.decode(tokens, decoded);
  } catch (const octobert::Error&) {
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  uint16_t edits;
  std::memcpy(&edits, data, 2);
  data += 2;
  size -= 2;
  if (edits == 0xFFFF) {
    std::vector<std::byte> bytes(size);  // aligned
    std::transform(data, data + size, bytes.begin(), [](uint8_t byte) { return std::byte{byte}; });
    use(bytes, "[CLS] ab a \u00e9\u4e2d");
    return 0;
  }
  static const std::vector<std::byte> good = good_section();
  std::vector<std::byte> bytes = good;
  for (; edits % 64 != 0 && size >= 6; --edits, data += 6, size -= 6) {
    uint16_t position;
    std::memcpy(&position, data, 2);
    std::memcpy(bytes.data() + position % (bytes.size() - 4), data + 2, 4);
  }
  use(bytes, {reinterpret_cast<const char*>(data), size});
  return 0;
}
