// What quantization costs on real text, and what conversion costs on a model of real size. Minutes, not seconds.
#include <gtest/gtest.h>
#include <malloc.h>

#include <cmath>
#include <cstdlib>
#include <fstream>
#include <stdexcept>

#include "converter/compare.h"
#include "converter/convert.h"
#include "tests/shared_data.h"
#include "tests/temporary_folder.h"

// g++ and clang say it in different ways.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define OCTOBERT_SANITIZED true
#elif defined(__has_feature)
#define OCTOBERT_SANITIZED (__has_feature(address_sanitizer) || __has_feature(thread_sanitizer))
#else
#define OCTOBERT_SANITIZED false
#endif

namespace octobert::converter {
namespace {

constexpr bool kSanitized = OCTOBERT_SANITIZED;

std::filesystem::path model_folder() { return test::source_folder() / "models/minilm-ner"; }

Comparison compare_on(const char* set, const std::vector<std::byte>& bytes) {
  static FloatModel reference(model_folder());
  const Engine engine = Engine::open_memory(bytes);
  const std::vector<Sentence> sentences = read_conll(test::source_folder() / "data/ner" / set);
  return compare_models(reference.engine(), engine, encode_sentences(engine, sentences), sentences);
}

Comparison compare_on(const char* set, const char* scheme) {
  ConvertOptions options;
  options.scheme = scheme;
  return compare_on(set, convert_to_memory(model_folder(), options));
}

void record(const Comparison& comparison) {
  testing::Test::RecordProperty("agreement", std::to_string(comparison.agreement()));
  testing::Test::RecordProperty("f1_float", std::to_string(comparison.reference.all.f1()));
  testing::Test::RecordProperty("f1_model", std::to_string(comparison.model.all.f1()));
}

TEST(Accuracy, DynamicOnE1) {
  const Comparison comparison = compare_on("E1.tsv", "dynamic");
  record(comparison);
  EXPECT_EQ(comparison.words, 52838U);
  EXPECT_EQ(comparison.reference.all.expected, 4653U);
  EXPECT_NEAR(comparison.reference.all.f1(), 0.694, 0.0005);  // what the model card says of the float model
  EXPECT_GE(comparison.agreement(), 0.997);
  EXPECT_LE(std::abs(comparison.model.all.f1() - comparison.reference.all.f1()), 0.002);
}

TEST(Accuracy, DynamicOnE2) {
  const Comparison comparison = compare_on("E2.tsv", "dynamic");
  record(comparison);
  EXPECT_GE(comparison.agreement(), 0.997);
}

TEST(Accuracy, WeightOnlyOnE1) {
  const Comparison comparison = compare_on("E1.tsv", "weight-only");
  record(comparison);
  EXPECT_GE(comparison.agreement(), 0.9985);
  EXPECT_LE(std::abs(comparison.model.all.f1() - comparison.reference.all.f1()), 0.002);
}

// Calibrated on other sentences than those that are compared, on both sets: the least agreement that
// docs/QUANTIZATION.md promises, and an F1 that McNemar's test does not call worse by more than 0.2 points.
class Calibrated : public testing::TestWithParam<std::pair<const char*, double>> {};

TEST_P(Calibrated, OnE1AndE2) {
  if (kSanitized) GTEST_SKIP() << "figures of accuracy are those of the builds without sanitizers, which take minutes";
  const auto& [scheme, least] = GetParam();
  ConvertOptions options;
  options.scheme = scheme;
  options.check = false;
  options.calibration.texts = (test::source_folder() / "data/ner/calibration.tsv").string();
  const std::vector<std::byte> bytes = convert_to_memory(model_folder(), options);
  for (const char* set : {"E1.tsv", "E2.tsv"}) {
    const Comparison comparison = compare_on(set, bytes);
    record(comparison);
    EXPECT_GE(comparison.agreement(), least) << set;
    EXPECT_TRUE(comparison.f1_loss() <= 0.002 || comparison.paired.p_value() >= 0.05) << set;
  }
}

INSTANTIATE_TEST_SUITE_P(Each, Calibrated,
                         testing::Values(std::pair("dynamic", 0.998), std::pair("weight-only", 0.999),
                                         std::pair("weight-only-int4", 0.994), std::pair("static", 0.996)));

// A checkpoint of BERT-base's width with few layers, in the folder.
void make_base(const std::filesystem::path& folder, int layers, const char* dtype) {
  const std::string command = "python3 '" + (test::source_folder() / "scripts/make_random_checkpoint.py").string() +
                              "' '" + folder.string() + "' --shape base --dtype " + dtype + " --layers " +
                              std::to_string(layers);
  ASSERT_EQ(std::system(command.c_str()), 0) << command;
}

// All layers have one size, so two conversions tell the whole model's.
TEST(Size, BertBaseDynamic) {
  const test::TemporaryFolder folder;
  size_t sizes[2] = {};
  for (const int layers : {1, 2}) {
    ASSERT_NO_FATAL_FAILURE(make_base(folder.path(), layers, "fp16"));
    ConvertOptions options;
    options.check = false;
    sizes[layers - 1] = convert_to_memory(folder.path(), options).size();
  }
  const size_t twelve = sizes[0] + 11 * (sizes[1] - sizes[0]);
  RecordProperty("bytes", std::to_string(twelve));
  EXPECT_LE(twelve, 114'000'000U);
}

// A line of /proc/self/status, in bytes.
double memory(const std::string& key) {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;) {
    if (word == key) {
      double kilobytes = 0;
      status >> kilobytes;
      return 1024 * kilobytes;
    }
  }
  throw std::runtime_error("no " + key + " in /proc/self/status");
}

TEST(Memory, AtMostOneAndAHalfTensorsAndTheOutput) {
  if (kSanitized) GTEST_SKIP() << "sanitizers take memory of their own";
  const test::TemporaryFolder folder;
  ASSERT_NO_FATAL_FAILURE(make_base(folder.path(), 2, "fp32"));
  ::malloc_trim(0);                               // what earlier tests gave back would serve the conversion unseen
  std::ofstream("/proc/self/clear_refs") << "5";  // the peak begins anew
  const double before = memory("VmHWM:");
  convert(folder.path(), folder / "m.octo");
  const double peak = memory("VmHWM:");
  const double words = 30522.0 * 768 * 4, output = static_cast<double>(std::filesystem::file_size(folder / "m.octo"));
  RecordProperty("bytes_before", std::to_string(before));
  RecordProperty("bytes_at_peak", std::to_string(peak));
  EXPECT_LE(peak - before, 1.5 * words + output);
  EXPECT_GT(peak - before, 1e6) << "not measured";
}

}  // namespace
}  // namespace octobert::converter
