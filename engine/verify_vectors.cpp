#include "engine/verify_vectors.h"

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <cstring>

#include "engine/engine_access.h"
#include "octobert/error.h"

namespace octobert {
namespace {

// Takes the section apart from front to back.
class Reader {
 public:
  Reader(std::span<const std::byte> bytes, std::string where) : rest_(bytes), where_(std::move(where)) {}

  uint32_t u32() {
    uint32_t value;
    std::memcpy(&value, take(1, sizeof value).data(), sizeof value);
    return value;
  }
  // count * size bytes. Views stay aligned to 4: everything before them has a multiple of 4 bytes.
  std::span<const std::byte> take(uint64_t count, uint64_t size) {
    if (size != 0 && count > rest_.size() / size) fail("ends in the middle of a vector");
    const auto bytes = rest_.first(count * size);
    rest_ = rest_.subspan(count * size);
    return bytes;
  }
  bool at_end() const { return rest_.empty(); }
  [[noreturn]] void fail(const std::string& what) const { throw Error(ErrorCode::kFormat, where_ + ": " + what); }

 private:
  std::span<const std::byte> rest_;
  std::string where_;
};

template <class T>
std::span<const T> view(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const T*>(bytes.data()), bytes.size() / sizeof(T)};
}

TestVectorView read_vector(Reader& reader, const format::ModelConfig& config) {
  const uint64_t text_bytes = reader.u32(), tokens = reader.u32(), labels = reader.u32();
  if (tokens < 1 || tokens > config.max_positions) {
    reader.fail("a vector of " + std::to_string(tokens) + " tokens, expected 1 to " +
                std::to_string(config.max_positions));
  }
  if (labels != config.label_count) {
    reader.fail("a vector of " + std::to_string(labels) + " labels, expected " + std::to_string(config.label_count));
  }
  TestVectorView vector;
  const auto text = reader.take((text_bytes + 3) / 4, 4);
  vector.text = {reinterpret_cast<const char*>(text.data()), text_bytes};
  vector.ids = view<int32_t>(reader.take(tokens, sizeof(int32_t)));
  vector.logits = view<float>(reader.take(tokens * labels, sizeof(float)));
  for (const int32_t id : vector.ids) {
    if (static_cast<uint32_t>(id) >= config.vocab_size) reader.fail("id " + std::to_string(id) + " is out of range");
  }
  return vector;
}

// The first difference, or nothing.
std::string compare_ids(std::span<const int32_t> expected, const Encodings& found) {
  static const Encoding kNothing;
  const Encoding& encoding = found.count == 0 ? kNothing : found.chunks[0];
  const size_t common = std::min(expected.size(), encoding.size());
  for (size_t i = 0; i < common; ++i) {
    if (expected[i] != encoding.ids[i]) {
      return "token " + std::to_string(i) + ": id " + std::to_string(encoding.ids[i]) + ", expected " +
             std::to_string(expected[i]);
    }
  }
  if (expected.size() == encoding.size()) return "";
  return std::to_string(encoding.size()) + " tokens, expected " + std::to_string(expected.size());
}

// The shortest decimal form that reads back as the same float (std::to_string would ask the locale).
std::string decimal(float value) {
  std::array<char, 32> digits;
  return {digits.data(), std::to_chars(digits.data(), digits.data() + digits.size(), value).ptr};
}

std::string compare_logits(std::span<const float> expected, std::span<const float> found, size_t labels) {
  for (size_t i = 0; i < expected.size(); ++i) {
    if (std::bit_cast<uint32_t>(expected[i]) != std::bit_cast<uint32_t>(found[i])) {
      return "token " + std::to_string(i / labels) + ", label " + std::to_string(i % labels) + ": logit " +
             decimal(found[i]) + ", expected " + decimal(expected[i]);
    }
  }
  return "";
}

}  // namespace

std::vector<TestVectorView> read_test_vectors(const ModelFile& file) {
  const auto section = file.find_section(format::SectionType::kTestVectors);
  if (!section) return {};
  Reader reader(*section, file.source() + ": test vectors");
  const uint32_t count = reader.u32();
  std::vector<TestVectorView> vectors;
  for (uint32_t i = 0; i < count; ++i) vectors.push_back(read_vector(reader, file.config()));
  if (!reader.at_end()) reader.fail("bytes left over after the last vector");
  return vectors;
}

VectorReport verify_vectors(const Engine& engine) {
  const auto vectors = read_test_vectors(EngineAccess::file(engine));
  VectorReport report;
  report.vectors = vectors.size();
  Workspace workspace;
  Encodings encodings;
  std::vector<float> logits;
  for (size_t i = 0; i < vectors.size(); ++i) {
    const TestVectorView& vector = vectors[i];
    report.tokens += vector.ids.size();
    engine.tokenizer().encode(vector.text, {}, encodings);
    std::string difference = compare_ids(vector.ids, encodings);
    if (!difference.empty()) report.mismatches.push_back({i, std::move(difference)});
    logits.resize(vector.logits.size());
    const std::array<int32_t, 2> offsets{0, static_cast<int32_t>(vector.ids.size())};
    engine.logits({.ids = vector.ids, .type_ids = {}, .offsets = offsets}, logits, workspace);
    difference = compare_logits(vector.logits, logits, engine.labels().size());
    if (!difference.empty()) report.mismatches.push_back({i, std::move(difference)});
  }
  return report;
}

}  // namespace octobert
