// A warm call into reused Encodings allocates nothing, and what a huge text needed is given back.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <new>
#include <string>

#include "octobert/tokenizer.h"
#include "tests/tokenizer_test_util.h"

namespace {
std::atomic<size_t> allocations{0};
}

void* operator new(size_t size) {
  ++allocations;
  if (void* p = std::malloc(size == 0 ? 1 : size)) return p;
  throw std::bad_alloc();
}
void* operator new[](size_t size) { return operator new(size); }
void operator delete(void* p) noexcept { std::free(p); }
void operator delete(void* p, size_t) noexcept { std::free(p); }
void operator delete[](void* p) noexcept { std::free(p); }
void operator delete[](void* p, size_t) noexcept { std::free(p); }

namespace octobert {
namespace {

TEST(TokenizerAllocation, WarmCallsAllocateNothing) {
  auto loaded = converter::load_tokenizer(std::filesystem::path(OCTOBERT_SOURCE_DIR) / "models" / "minilm-ner");
  const Tokenizer& tokenizer = loaded.tokenizer;
  const std::string_view texts[] = {
      "Angela Merkel met Tim Cook in Berlin.", "", "unaffable [SEP] \u00e9\u0301\u0323 \u4e2d\u56fd \uac00 \U0001F600",
      "broken \xFF\xC3 bytes", "a long word: Donaudampfschifffahrtsgesellschaftskapit\u00e4n"};
  const std::string_view words[] = {"New", "York", "", "caf\u00e9"};
  Encodings out;
  std::string decoded;
  const auto all = [&] {
    for (const std::string_view text : texts) {
      tokenizer.encode(text, {}, out);
      tokenizer.encode(text, {.max_length = 8, .stride = 2}, out);
      tokenizer.encode_pair(text, texts[0], {.max_length = 12, .stride = 1}, out);
    }
    tokenizer.encode_words(words, {}, out);
    const std::string_view tokens[] = {tokenizer.token(2000), ",", tokenizer.token(2001)};
    tokenizer.decode(tokens, decoded);
  };
  all();
  const size_t before = allocations;
  for (int i = 0; i < 100; ++i) all();
  EXPECT_EQ(allocations, before);
}

}  // namespace
}  // namespace octobert
