// Entities against those of transformers.pipeline("token-classification") (scripts/goldens/make_entity_goldens.py).
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>

#include "octobert/converter.h"
#include "octobert/engine.h"
#include "tests/gz_lines.h"
#include "tests/temporary_folder.h"

namespace octobert {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

constexpr float kScoreTolerance = 1e-4f;
const fs::path kSource = OCTOBERT_SOURCE_DIR;

Engine open_float(const fs::path& checkpoint, const fs::path& labels = {}) {
  const test::TemporaryFolder folder;
  ConvertOptions options;
  options.scheme = "float";
  options.check = false;
  options.labels = labels;
  convert(checkpoint, folder / "model.octo", options);
  OpenOptions open;
  open.load_into_memory = true;  // the folder goes
  return Engine::open(folder / "model.octo", open);
}

// "" if equal; `expected` as the golden files have it: [label, score, word, start, end(, index)].
std::string difference(const json& expected, const Analysis& found, Strategy strategy) {
  if (expected.size() != found.entity_count) {
    return "expected " + std::to_string(expected.size()) + " entities, found " + std::to_string(found.entity_count);
  }
  for (size_t i = 0; i < expected.size(); ++i) {
    const json& e = expected[i];
    const Entity& f = found.entities[i];
    json row = {f.label, f.score, f.word, f.codepoints.begin, f.codepoints.end};
    if (strategy == Strategy::kNone) row.push_back(f.index);
    const bool near = std::abs(e[1].get<float>() - f.score) <= kScoreTolerance;
    if (near) row[1] = e[1];
    if (row != e) return "entity " + std::to_string(i) + ": expected " + e.dump() + ", found " + row.dump();
  }
  return "";
}

// The text's slices and UTF-16 offsets, recomputed from the code points.
void check_offsets(const std::string& text, const Analysis& found) {
  std::vector<std::array<uint32_t, 2>> places;  // of each code point: byte, UTF-16 unit
  uint32_t units = 0;
  for (uint32_t b = 0; b < text.size(); ++b) {
    const auto byte = static_cast<uint8_t>(text[b]);
    if ((byte & 0xC0) == 0x80) continue;
    places.push_back({b, units});
    units += byte >= 0xF0 ? 2 : 1;
  }
  places.push_back({static_cast<uint32_t>(text.size()), units});
  for (size_t i = 0; i < found.entity_count; ++i) {
    const Entity& e = found.entities[i];
    const auto begin = places.at(e.codepoints.begin), end = places.at(e.codepoints.end);
    EXPECT_EQ(e.bytes, (Span{begin[0], end[0]}));
    EXPECT_EQ(e.utf16, (Span{begin[1], end[1]}));
    EXPECT_EQ(e.text, std::string_view(text).substr(begin[0], end[0] - begin[0]));
  }
}

std::vector<json> read_lines(const fs::path& path) {  // gzip'd or not
  std::vector<json> lines;
  for (const std::string& line : test::gz_lines(path)) lines.push_back(json::parse(line));
  return lines;
}

// A tiny random model under many tokenizer options, label sets, windows and kinds of input.
class TinyGoldens {
 public:
  explicit TinyGoldens(const fs::path& folder) : folder_(folder), lines_(read_lines(folder / "cases.jsonl.gz")) {}

  size_t size() const { return lines_.size() - 1; }
  const json& at(size_t i) const { return lines_[i + 1]; }

  const Engine& engine(const json& test_case) {
    const auto key = std::pair(test_case["variant"].get<std::string>(), test_case["labels"].get<std::string>());
    if (!engines_.count(key)) engines_.emplace(key, make_engine(key.first, key.second));
    return engines_.at(key);
  }

 private:
  Engine make_engine(const std::string& variant, const std::string& label_set) const {
    const test::TemporaryFolder folder;
    for (const char* name : {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}) {
      fs::copy_file(folder_ / "checkpoint" / name, folder / name);
    }
    for (const json& edit : lines_[0]["variants"][variant]) {
      std::string content = test::read_file(folder / edit[0]);
      const auto from = edit[1].get<std::string>();
      const size_t at = content.find(from);
      if (at == std::string::npos) throw std::runtime_error(edit.dump());
      content.replace(at, from.size(), edit[2].get<std::string>());
      test::write_file(folder / edit[0], content);
    }
    std::string labels;
    for (const json& label : lines_[0]["label_sets"][label_set]) labels += label.get<std::string>() + "\n";
    test::write_file(folder / "labels.txt", labels);
    return open_float(folder.path(), folder / "labels.txt");
  }

  fs::path folder_;
  std::vector<json> lines_;
  std::map<std::pair<std::string, std::string>, Engine> engines_;
};

void run_tiny(const fs::path& folder) {
  TinyGoldens goldens(folder);
  ASSERT_GT(goldens.size(), 0U);
  Analysis result;
  int failures = 0;
  for (size_t i = 0; i < goldens.size() && failures < 20; ++i) {
    const json& test_case = goldens.at(i);
    const Engine& engine = goldens.engine(test_case);
    AnalyzeOptions options;
    options.strategy = parse_strategy(test_case["strategy"].get<std::string>());
    options.max_length = test_case.value("max_length", 0U);
    if (test_case.contains("stride")) options.stride = test_case["stride"].get<size_t>();
    if (test_case.contains("ignore_labels"))
      options.ignore_labels = test_case["ignore_labels"].get<std::vector<std::string>>();
    std::string text;
    if (test_case.contains("words")) {
      const auto words = test_case["words"].get<std::vector<std::string>>();
      const std::vector<std::string_view> views(words.begin(), words.end());
      engine.analyze_words(views, options, result);
      for (size_t w = 0; w < words.size(); ++w) text += (w ? " " : "") + words[w];
      EXPECT_EQ(result.words.size(), words.size());
    } else {
      text = test_case["text"].get<std::string>();
      const std::string_view view = text;
      engine.analyze({&view, 1}, options, {&result, 1});
    }
    const std::string wrong = difference(test_case["expected"], result, options.strategy);
    if (!wrong.empty()) {
      json shown = test_case;
      shown.erase("expected");
      ADD_FAILURE() << "case " << i << " " << shown.dump() << "\n" << wrong;
      ++failures;
    }
    check_offsets(text, result);
  }
}

TEST(EntityGoldens, TinyModel) { run_tiny(kSource / "tests/data/entities"); }

// More cases of make_entity_goldens.py: OCTOBERT_ENTITY_GOLDENS=OUT_DIR.
TEST(EntityGoldens, MoreCases) {
  const char* const folder = std::getenv("OCTOBERT_ENTITY_GOLDENS");
  if (folder == nullptr) GTEST_SKIP() << "OCTOBERT_ENTITY_GOLDENS names no folder";
  run_tiny(folder);
}

// The bundled model on real texts, all five strategies; with a stride (not for kNone, which the goldens have without).
void run_bundled(const fs::path& file, std::optional<size_t> stride) {
  const Engine engine = open_float(kSource / "models/minilm-ner");
  const std::vector<json> lines = read_lines(file);
  ASSERT_GT(lines.size(), 0U);
  std::vector<std::string> texts;
  texts.reserve(lines.size());
  for (const json& line : lines) texts.push_back(line["text"].get<std::string>());
  const std::vector<std::string_view> views(texts.begin(), texts.end());
  for (const char* const name : {"none", "simple", "first", "average", "max"}) {
    AnalyzeOptions options;
    options.strategy = parse_strategy(name);
    if (options.strategy != Strategy::kNone) options.stride = stride;
    const std::vector<Analysis> results = engine.analyze(views, options);
    for (size_t i = 0; i < lines.size(); ++i) {
      json expected = lines[i][name];
      for (json& e : expected) {  // the full form of ../shared/golden
        if (!e.is_object()) continue;
        json row = {e.contains("entity") ? e["entity"] : e["entity_group"], e["score"], e["word"], e["start"],
                    e["end"]};
        if (e.contains("index")) row.push_back(e["index"]);
        e = row;
      }
      EXPECT_EQ(difference(expected, results[i], options.strategy), "") << name << ", text " << i;
      check_offsets(texts[i], results[i]);
    }
  }
}

TEST(EntityGoldens, BundledModel) { run_bundled(kSource / "tests/data/entities/minilm.jsonl.gz", std::nullopt); }
TEST(EntityGoldens, BundledModelStride16) { run_bundled(kSource / "tests/data/entities/minilm-stride16.jsonl.gz", 16); }

TEST(EntityGoldens, AllOfShared) {
  const fs::path golden = kSource / "../shared/golden";
  if (!fs::exists(golden)) GTEST_SKIP() << "no ../shared/golden";
  run_bundled(golden / "entities.jsonl", std::nullopt);
}
TEST(EntityGoldens, AllOfSharedStride16) {
  const fs::path golden = kSource / "../shared/golden";
  if (!fs::exists(golden)) GTEST_SKIP() << "no ../shared/golden";
  run_bundled(golden / "entities-stride16.jsonl", 16);
}

}  // namespace
}  // namespace octobert
