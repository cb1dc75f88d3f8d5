// Hostile packed files with right checksums: opened, looked through, and used for logits.
//
// The first byte of the input chooses: 0 takes the rest as a file; another value takes one of a few small models and
// reads the rest as edits to it, {uint16 position, uint8 length, bytes}; positions count from the start of the file
// up to half of the range and from its end above, so that both tables are in reach. Then every checksum is made right.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

#include "engine/engine_access.h"
#include "engine/verify_vectors.h"
#include "octobert/error.h"
#include "tests/packed_image.h"
#include "tests/tiny_model.h"

namespace octobert::test {
namespace {

const std::vector<std::vector<std::byte>>& base_files() {
  static const auto files = [] {
    std::vector<std::vector<std::byte>> result;
    TinySpec spec{.hidden = 8, .layers = 1, .heads = 2, .intermediate = 12, .vocab = 12, .positions = 6, .labels = 3};
    const TestVector vector{.text = "ab", .ids = {2, 4, 7, 3}, .logits = std::vector<float>(12)};
    for (const auto scheme : {format::Scheme::kDynamic, format::Scheme::kWeightOnly, format::Scheme::kFloat,
                              format::Scheme::kStatic, format::Scheme::kWeightOnlyInt4, format::Scheme::kCodebook}) {
      spec.scheme = scheme;
      result.push_back(TinyModel(spec).pack({vector}));
    }
    return result;
  }();
  return files;
}

std::vector<std::byte> edited_file(uint8_t choice, std::span<const uint8_t> edits) {
  auto bytes = base_files()[choice % base_files().size()];
  while (edits.size() > 3) {
    const size_t position = static_cast<size_t>(edits[0] | edits[1] << 8);
    const size_t length = std::min<size_t>(edits[2], edits.size() - 3);
    const size_t begin =
        position < 0x8000 ? position % bytes.size() : bytes.size() - 1 - (0xffff - position) % bytes.size();
    std::memcpy(bytes.data() + begin, edits.data() + 3, std::min(length, bytes.size() - begin));
    edits = edits.subspan(3 + length);
  }
  return bytes;
}

void look_through(const ModelFile& file) {
  for (const auto& tensor : file.tensors()) file.find_tensor(tensor.name);
  for (const auto& section : file.sections()) file.checksum_matches(section);
  for (const auto type : {format::SectionType::kProvenance, format::SectionType::kQuantReport}) {
    try {
      file.strings(type);
    } catch (const Error&) {
    }
  }
  try {
    file.verify();
  } catch (const Error&) {
  }
}

void use(const Engine& engine) {
  const ModelInfo& info = engine.info();
  std::vector<int32_t> ids, type_ids, offsets{0};
  for (const int length : {1, 3, 17}) {
    for (int i = 0; i < std::min(length, info.max_positions); ++i) {
      ids.push_back(static_cast<int32_t>((ids.size() * 7 + 1) % static_cast<size_t>(info.vocab_size)));
      type_ids.push_back(info.type_count - 1);
    }
    offsets.push_back(static_cast<int32_t>(ids.size()));
  }
  Workspace workspace;
  std::vector<float> logits(ids.size() * static_cast<size_t>(info.label_count));
  try {
    engine.logits({.ids = ids, .type_ids = type_ids, .offsets = offsets}, logits, workspace);
  } catch (const Error&) {
  }
  try {
    verify_vectors(engine);
  } catch (const Error&) {
  }
}

}  // namespace
}  // namespace octobert::test

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace octobert;
  if (size == 0) return 0;
  const std::span<const uint8_t> input(data + 1, size - 1);
  const auto raw = std::as_bytes(input);
  test::PackedImage image(data[0] == 0 ? std::vector<std::byte>(raw.begin(), raw.end())
                                       : test::edited_file(data[0], input));
  image.fix_checksums();
  try {
    test::look_through(ModelFile::open_memory(image.view(), {.allow_other_numerics = true}));
    static const auto isas = compiled_isas();
    for (const IsaInfo& isa : isas) {
      if (!isa.available || (isa.name != "scalar" && &isa != &isas.back())) continue;
      test::use(Engine::open_memory(image.view(), {.threads = 1, .isa = isa.name, .allow_other_numerics = true}));
    }
  } catch (const Error&) {
  }
  return 0;
}
