// Writes the tiny model that tests/data/format/ keeps for each version of the packed format: make_format_file v1.octo
// A released version's file is never made anew.
#include <cstdio>
#include <exception>
#include <fstream>

#include "octobert/engine.h"
#include "tests/tiny_model.h"

namespace octobert::test {
namespace {

// Every scheme in one small model: odd sizes, so that padding and ragged edges are in the file.
TinySpec format_spec() {
  using enum format::Scheme;
  return {.hidden = 28,
          .layers = 2,
          .heads = 2,
          .intermediate = 46,
          .vocab = 64,
          .positions = 24,
          .labels = 5,
          .scheme = kDynamic,
          .products = {kDynamic, kDynamic, kDynamic, kDynamic, kDynamic, kDynamic,  //
                       kWeightOnly, kFloat, kFloat, kFloat, kDynamic, kWeightOnly, kFloat},
          .seed = 20};
}

std::vector<std::byte> make_file() {
  const TinyModel tiny(format_spec());
  const auto without_vectors = tiny.pack();
  const Engine engine = Engine::open_memory(without_vectors, {.threads = 1, .isa = "scalar"});
  std::vector<TestVector> vectors;
  Workspace workspace;
  for (const char* text : {"", "ab cde", "the quick brown fox", "zz [SEP] \xc3\xa9"}) {
    Encodings encodings;
    engine.tokenizer().encode(text, {.max_length = 24, .overflow = false}, encodings);
    TestVector vector{.text = text, .ids = encodings.chunks.at(0).ids, .logits = {}};
    vector.logits.resize(vector.ids.size() * tiny.spec().labels);
    const std::vector<int32_t> offsets{0, static_cast<int32_t>(vector.ids.size())};
    engine.logits({.ids = vector.ids, .type_ids = {}, .offsets = offsets}, vector.logits, workspace);
    vectors.push_back(std::move(vector));
  }
  return tiny.pack(vectors);
}

}  // namespace
}  // namespace octobert::test

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: make_format_file OUT.octo\n");
    return 2;
  }
  try {
    const auto bytes = octobert::test::make_file();
    std::ofstream out(argv[1], std::ios::binary);
    out.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    return out.flush() ? 0 : 1;
  } catch (const std::exception& e) {
    std::fprintf(stderr, "make_format_file: %s\n", e.what());
    return 1;
  }
}
