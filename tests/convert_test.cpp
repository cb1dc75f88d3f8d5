// The whole conversion: the reference's logits, the same bytes everywhere, faults, files that appear whole or not.
#include "converter/convert.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cfenv>
#include <cmath>
#include <cstring>
#include <functional>

#include "converter/check.h"
#include "converter/safetensors.h"
#include "converter/test_texts.h"
#include "engine/engine_access.h"
#include "engine/verify_vectors.h"
#include "kernels/cpu.h"
#include "kernels/dispatch.h"
#include "octobert/converter.h"
#include "octobert/engine.h"
#include "octobert/error.h"
#include "tests/errors.h"
#include "tests/shared_data.h"
#include "tests/temporary_folder.h"
#include "tests/tiny_checkpoint.h"

namespace octobert::converter {
namespace {

using test::error_of;
using test::holds;
using test::TemporaryFolder;
using test::TinyCheckpoint;

ConvertOptions with_scheme(const std::string& scheme) {
  ConvertOptions options;
  options.scheme = scheme;
  if (scheme == "static") options.calibration.texts = "builtin";
  return options;
}

// A conversion in memory, and its engine.
class Converted {
 public:
  Converted(const std::filesystem::path& checkpoint, const ConvertOptions& options)
      : bytes_(convert_to_memory(checkpoint, options)), engine_(Engine::open_memory(bytes_, {.threads = 1})) {}
  const Engine& engine() const { return engine_; }
  const std::vector<std::byte>& bytes() const { return bytes_; }

 private:
  std::vector<std::byte> bytes_;
  Engine engine_;
};

// ---- the reference's ids and logits ----

std::vector<std::string> read_texts(const std::filesystem::path& jsonl) {
  std::vector<std::string> texts;
  const std::string content = test::read_file(jsonl);
  for (size_t begin = 0; begin < content.size();) {
    const size_t end = content.find('\n', begin);
    texts.push_back(nlohmann::json::parse(content.substr(begin, end - begin)).get<std::string>());
    begin = end + 1;
  }
  return texts;
}

std::vector<int32_t> read_ids(const SafetensorsFile& file, const std::string& name) {
  const std::vector<std::byte> bytes = file.read_bytes(*file.find(name));
  std::vector<int32_t> ids(bytes.size() / sizeof(int32_t));
  std::memcpy(ids.data(), bytes.data(), bytes.size());
  return ids;
}

// Every text's ids equal; every logit within 1e-4 of the largest logit of all.
void expect_reference_logits(const Engine& engine, const std::vector<std::string>& texts,
                             const SafetensorsFile& golden) {
  TokenizeOptions options;
  options.max_length = static_cast<size_t>(engine.info().max_positions);
  if (const size_t most = engine.tokenizer().model_max_length(); most != 0) {
    options.max_length = std::min(options.max_length, most);
  }
  options.overflow = false;
  const auto labels = static_cast<size_t>(engine.info().label_count);
  Workspace workspace;
  Encodings encodings;
  double largest = 0, worst = 0;
  for (size_t n = 0; n < texts.size(); ++n) {
    const std::string number = "." + std::to_string(n);
    engine.tokenizer().encode(texts[n], options, encodings);
    const std::vector<int32_t>& ids = encodings.chunks.front().ids;
    ASSERT_EQ(ids, read_ids(golden, "ids" + number)) << texts[n];
    std::vector<float> expected(ids.size() * labels), found(expected.size());
    golden.read(*golden.find("logits" + number), 0, expected);
    const int32_t offsets[] = {0, static_cast<int32_t>(ids.size())};
    engine.logits({ids, {}, offsets}, found, workspace);
    for (size_t i = 0; i < found.size(); ++i) {
      largest = std::max<double>(largest, std::abs(expected[i]));
      worst = std::max<double>(worst, std::abs(expected[i] - found[i]));
    }
  }
  EXPECT_LE(worst, 1e-4 * largest);
  testing::Test::RecordProperty("worst_error", std::to_string(worst / largest));
}

void expect_goldens(const std::filesystem::path& folder) {
  OCTOBERT_SKIP_WITHOUT(folder);
  const Converted model(folder, with_scheme("float"));
  expect_reference_logits(model.engine(), read_texts(folder / "texts.jsonl"),
                          SafetensorsFile(folder / "expected.safetensors"));
}

class FormGoldens : public testing::TestWithParam<const char*> {};
TEST_P(FormGoldens, Logits) { expect_goldens(test::source_folder() / "tests/data/models" / GetParam()); }
INSTANTIATE_TEST_SUITE_P(Forms, FormGoldens,
                         testing::Values("gelu-ragged", "bare-old-names", "relu-one-label-fp16",
                                         "gelu-new-bf16-sharded", "gelu-tanh-f64-module", "hot"));

class SharedGoldens : public testing::TestWithParam<const char*> {};
TEST_P(SharedGoldens, Logits) { expect_goldens(test::shared_folder() / "models/odd" / GetParam()); }
INSTANTIATE_TEST_SUITE_P(Odd, SharedGoldens,
                         testing::Values("tiny-64", "old-names", "relu-one-label", "width-100-fp16",
                                         "width-312-bf16-sharded"));

TEST(BundledModel, LogitsOfSomeTexts) {
  const std::filesystem::path goldens = test::source_folder() / "tests/data/models/minilm-ner-logits";
  const Converted model(test::source_folder() / "models/minilm-ner", with_scheme("float"));
  expect_reference_logits(model.engine(), read_texts(goldens / "texts.jsonl"),
                          SafetensorsFile(goldens / "expected.safetensors"));
}

TEST(BundledModel, LogitsOfAllTexts) {
  const std::filesystem::path goldens = test::shared_folder() / "golden";
  OCTOBERT_SKIP_WITHOUT(goldens);
  const Converted model(test::source_folder() / "models/minilm-ner", with_scheme("float"));
  expect_reference_logits(model.engine(), read_texts(goldens / "texts.jsonl"),
                          SafetensorsFile(goldens / "logits.safetensors"));
}

// ---- the file ----

class Schemes : public testing::TestWithParam<const char*> {
 protected:
  Schemes() { TinyCheckpoint().write(folder_.path()); }
  TemporaryFolder folder_;
};
INSTANTIATE_TEST_SUITE_P(Each, Schemes,
                         testing::Values("static", "dynamic", "weight-only", "weight-only-int4", "weight-only-codebook",
                                         "float"));

TEST_P(Schemes, TheSameBytesEverywhere) {
  ConvertOptions options = with_scheme(GetParam());
  options.threads = 1;
  const std::vector<std::byte> expected = convert_to_memory(folder_.path(), options);
  for (const int threads : {2, 3}) {
    options.threads = threads;
    EXPECT_TRUE(convert_to_memory(folder_.path(), options) == expected) << threads << " threads";
  }
  for (const KernelTable* table : compiled_tables()) {
    if (!is_available(*table, detect_cpu_features())) continue;
    options.isa = table->name;
    EXPECT_TRUE(convert_to_memory(folder_.path(), options) == expected) << table->name;
  }
  ASSERT_EQ(std::fesetround(FE_DOWNWARD), 0);
  const std::vector<std::byte> rounded_down = convert_to_memory(folder_.path(), options);
  EXPECT_EQ(std::fegetround(), FE_DOWNWARD);
  std::fesetround(FE_TONEAREST);
  EXPECT_TRUE(rounded_down == expected);

  options = with_scheme(GetParam());
  convert(folder_.path(), folder_ / "m.octo", options);
  const std::string file = test::read_file(folder_ / "m.octo");
  ASSERT_EQ(file.size(), expected.size());
  EXPECT_EQ(std::memcmp(file.data(), expected.data(), file.size()), 0);
  EXPECT_FALSE(holds(file, folder_.path().string())) << "a path is in the file";
}

TEST_P(Schemes, VectorsReplay) {
  const Converted model(folder_.path(), with_scheme(GetParam()));
  const VectorReport vectors = verify_vectors(model.engine());
  EXPECT_EQ(vectors.vectors, builtin_test_texts().size());
  EXPECT_TRUE(vectors.mismatches.empty()) << vectors.mismatches.front().message;
  EngineAccess::file(model.engine()).verify();
  EXPECT_EQ(model.engine().info().scheme, GetParam());
}

TEST_P(Schemes, Report) {
  ConvertOptions options = with_scheme(GetParam());
  std::vector<std::string> stages;
  size_t last_done = 0;
  options.progress = [&](const ConvertProgress& progress) {
    stages.push_back(std::string(progress.stage) + " " + std::string(progress.item));
    EXPECT_LE(progress.done, progress.total);
    if (progress.stage == "calibrate") return;  // tokens; the others count the model's parts
    EXPECT_GE(progress.done, last_done);
    last_done = progress.done;
  };
  const ConvertReport report = convert(folder_.path(), folder_ / "m.octo", options);
  EXPECT_EQ(report.output_bytes, std::filesystem::file_size(folder_ / "m.octo"));
  EXPECT_EQ(report.source_bytes, std::filesystem::file_size(folder_ / "model.safetensors"));
  EXPECT_EQ(report.source_sha256.size(), 64U);
  EXPECT_EQ(report.minus_128_replaced, 0U);
  EXPECT_TRUE(report.warnings.empty());
  EXPECT_EQ(stages.back(), "write done");
  EXPECT_NE(std::find(stages.begin(), stages.end(), "check layer 1"), stages.end());
  if (options.scheme == "float") {
    EXPECT_TRUE(report.sqnr.empty());
    EXPECT_EQ(report.agreement, 1);
    return;
  }
  EXPECT_GT(report.agreement_tokens, 50U);
  const bool four_bits = options.scheme.starts_with("weight-only-");
  EXPECT_GT(report.agreement, four_bits ? 0.8 : 0.9);
  ASSERT_EQ(report.sqnr.size(), 2 * 8 + 2U);
  EXPECT_EQ(report.sqnr.front().name, "embeddings");
  EXPECT_EQ(report.sqnr[1].name, "layer.0.qkv");
  EXPECT_EQ(report.sqnr.back().name, "logits");
  // The tiny vocabulary has few words of the built-in texts: the test vectors' tokens pass the ranges found on them.
  const double least = four_bits ? 8 : options.scheme == "static" ? 10 : 15;
  for (const LayerSqnr& sqnr : report.sqnr) EXPECT_GT(sqnr.decibel, least) << sqnr.name;
  EXPECT_LT(report.sqnr.back().decibel, 80);  // int8 cannot be better: two equal models were compared
}

TEST_P(Schemes, WithoutTheCheckTheWeightsAreTheSame) {
  ConvertOptions options = with_scheme(GetParam());
  const Converted checked(folder_.path(), options);
  options.check = false;
  const Converted unchecked(folder_.path(), options);
  EXPECT_TRUE(verify_vectors(unchecked.engine()).mismatches.empty());
  const ModelFile &a = EngineAccess::file(checked.engine()), &b = EngineAccess::file(unchecked.engine());
  ASSERT_EQ(a.tensors().size(), b.tensors().size());
  for (const format::TensorEntry& entry : a.tensors()) {
    const auto expected = a.find_tensor(entry.name)->bytes, found = b.find_tensor(entry.name)->bytes;
    EXPECT_TRUE(std::equal(expected.begin(), expected.end(), found.begin(), found.end())) << entry.name;
  }
}

TEST(Convert, ProvenanceNamesEveryFileRead) {
  const TemporaryFolder folder;
  TinyCheckpoint().write(folder.path());
  test::write_file(folder / "labels.txt", "O\nB-X\nI-X\n");
  ConvertOptions options;
  options.labels = folder / "labels.txt";
  const Converted model(folder.path(), options);
  EXPECT_EQ(std::vector<std::string>(model.engine().labels().begin(), model.engine().labels().end()),
            (std::vector<std::string>{"O", "B-X", "I-X"}));
  std::vector<std::string> keys;
  const auto strings = EngineAccess::file(model.engine()).strings(format::SectionType::kProvenance);
  for (size_t i = 0; i < strings.size(); i += 2) keys.emplace_back(strings[i]);
  EXPECT_EQ(keys,
            (std::vector<std::string>{"converter", "source.sha256", "source.config.json.sha256",
                                      "source.model.safetensors.sha256", "source.vocab.txt.sha256", "labels.sha256"}));
}

TEST(Convert, Warnings) {
  const TemporaryFolder folder;
  TinyCheckpoint tiny;
  tiny.config["id2label"] = {{"0", "O"}, {"1", "B-O"}, {"2", "I-PER"}};
  tiny.config["auto_map"] = {{"AutoModel", "x.Y"}};
  tiny.write(folder.path());
  const std::vector<std::string> warnings = convert(folder.path(), folder / "m.octo").warnings;
  ASSERT_EQ(warnings.size(), 2U);
  EXPECT_TRUE(holds(warnings[0], "auto_map"));
  EXPECT_TRUE(holds(warnings[1], "'B-O'"));
}

TEST(Convert, TestTexts) {
  const TemporaryFolder folder;
  TinyCheckpoint().write(folder.path());
  ConvertOptions options;
  // Of 32 positions: exactly full, one over, far over, one endless word, nothing.
  const std::string thirty = "a b c d e f g h i j k l m n o p q r s t u v w x y z a b c d";
  options.test_texts = {thirty, thirty + " e", thirty + thirty + thirty, std::string(99, 'q'),
                        "",     "\n",          "[SEP] [MASK]",           "\xff"};
  const Converted model(folder.path(), options);
  const VectorReport vectors = verify_vectors(model.engine());
  EXPECT_EQ(vectors.vectors, options.test_texts.size());
  EXPECT_TRUE(vectors.mismatches.empty()) << vectors.mismatches.front().message;
  const auto views = read_test_vectors(EngineAccess::file(model.engine()));
  EXPECT_EQ(views[0].text, thirty);
  EXPECT_EQ(views[1].text, thirty);
  EXPECT_EQ(views[2].ids.size(), 32U);
  EXPECT_EQ(views[4].ids.size(), 2U);
}

// ---- what is refused ----

TEST(ConvertRefuses, Options) {
  const TemporaryFolder folder;
  TinyCheckpoint().write(folder.path());
  const auto refused = [&](const std::function<void(ConvertOptions&)>& spoil, ErrorCode code, const char* part) {
    ConvertOptions options;
    spoil(options);
    const std::string message = error_of([&] { convert(folder.path(), folder / "m.octo", options); }, code);
    EXPECT_TRUE(holds(message, part)) << message;
    EXPECT_FALSE(std::filesystem::exists(folder / "m.octo"));
  };
  refused([](ConvertOptions& o) { o.scheme = "int3"; }, ErrorCode::kInvalidInput, "'int3'");
  refused([](ConvertOptions& o) { o.scheme = "static"; }, ErrorCode::kInvalidInput, "need calibration");
  refused([](ConvertOptions& o) { o.threads = -1; }, ErrorCode::kInvalidInput, "-1");
  refused([](ConvertOptions& o) { o.isa = "mmx"; }, ErrorCode::kUnsupported, "'mmx'");
  refused([](ConvertOptions& o) { o.min_agreement = 1.5; }, ErrorCode::kInvalidInput, "1.5");
  refused([](ConvertOptions& o) { o.min_agreement = NAN; }, ErrorCode::kInvalidInput, "min_agreement");
  refused([](ConvertOptions& o) { o.min_agreement = 0.5, o.check = false; }, ErrorCode::kInvalidInput, "check");
  refused([](ConvertOptions& o) { o.labels = "/absent"; }, ErrorCode::kIo, "/absent");
}

TEST(ConvertRefuses, AModelThatFallsBelowTheBar) {
  const TemporaryFolder folder;
  TinyCheckpoint tiny;
  // Two hundred labels at random: so near to each other that int8 takes another one now and then.
  constexpr uint64_t kLabels = 200;
  for (uint64_t i = 0; i < kLabels; ++i) tiny.config["id2label"][std::to_string(i)] = "L" + std::to_string(i);
  tiny.add("classifier.weight", {kLabels, 12});
  tiny.add("classifier.bias", {kLabels});
  for (size_t i = 0; i < kLabels; ++i) tiny.set("classifier.bias", i, 0);
  tiny.write(folder.path());
  const double agreement = convert(folder.path(), folder / "m.octo").agreement;
  ASSERT_LT(agreement, 1);
  ConvertOptions options;
  options.min_agreement = agreement;
  EXPECT_EQ(convert(folder.path(), folder / "m.octo", options).agreement, agreement);
  std::filesystem::remove(folder / "m.octo");
  options.min_agreement = std::nextafter(agreement, 2);
  const std::string message =
      error_of([&] { convert(folder.path(), folder / "m.octo", options); }, ErrorCode::kCheckFailed);
  EXPECT_TRUE(holds(message, "nothing is written")) << message;
  EXPECT_FALSE(std::filesystem::exists(folder / "m.octo"));
}

TEST(ConvertRefuses, VocabularyOfAnotherSize) {
  const TemporaryFolder folder;
  TinyCheckpoint tiny;
  tiny.vocabulary.push_back("extra");
  tiny.write(folder.path());
  const auto run = [&](bool allow) {
    ConvertOptions options;
    options.allow_padded_vocabulary = allow;
    convert_to_memory(folder.path(), options);
  };
  for (const bool allow : {false, true}) {
    const std::string message = error_of([&] { run(allow); }, ErrorCode::kFormat);
    EXPECT_TRUE(holds(message, "67 ids") && holds(message, "66 word embeddings")) << message;
  }
  tiny.vocabulary.resize(65);
  tiny.write(folder.path());
  const std::string message = error_of([&] { run(false); }, ErrorCode::kFormat);
  EXPECT_TRUE(holds(message, "65 ids") && holds(message, "66 word embeddings")) << message;
  run(true);
}

TEST(ConvertRefuses, TooFewPositions) {
  const TemporaryFolder folder;
  TinyCheckpoint tiny;
  tiny.config["max_position_embeddings"] = 2;
  tiny.add("bert.embeddings.position_embeddings.weight", {2, 12});
  tiny.write(folder.path());
  const std::string message = error_of([&] { convert_to_memory(folder.path(), {}); }, ErrorCode::kFormat);
  EXPECT_TRUE(holds(message, "max_position_embeddings")) << message;
  tiny = TinyCheckpoint();
  tiny.write(folder.path());
  test::write_file(folder / "tokenizer_config.json", R"({"model_max_length":2})");
  EXPECT_TRUE(holds(error_of([&] { convert_to_memory(folder.path(), {}); }, ErrorCode::kFormat), "model_max_length"));
}

TEST(ConvertRefuses, AnswersThatAreNotFinite) {
  const TemporaryFolder folder;
  TinyCheckpoint tiny;
  for (size_t i = 0; i < 36; ++i) tiny.set("classifier.weight", i, 3e38f);
  tiny.write(folder.path());
  for (const char* scheme : {"dynamic", "float"}) {
    const std::string message =
        error_of([&] { convert(folder.path(), folder / "m.octo", with_scheme(scheme)); }, ErrorCode::kNumeric);
    EXPECT_TRUE(holds(message, "not finite")) << message;
    EXPECT_FALSE(std::filesystem::exists(folder / "m.octo"));
  }
}

}  // namespace
}  // namespace octobert::converter
