// From a checkpoint and a budget to a packed file: planted outliers and how they are brought back, texts held out, the
// policy that makes the same bytes, the certificate, faults.
#include "converter/tune.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <functional>
#include <map>
#include <set>

#include "converter/convert.h"
#include "converter/tune_budget.h"
#include "converter/tune_model.h"
#include "converter/tune_texts.h"
#include "engine/engine_access.h"
#include "octobert/error.h"
#include "tests/temporary_folder.h"
#include "tests/tiny_checkpoint.h"

namespace octobert::converter {
namespace {

using test::TemporaryFolder;
using test::TinyCheckpoint;
using test::write_file;

// Multiplies a row (an output) or a column (an input) of a matrix [n][k], or an element of a vector.
void scale_row(TinyCheckpoint& tiny, const std::string& name, size_t row, float factor) {
  test::TinyTensor& tensor = tiny.tensors.at(name);
  const size_t k = tensor.shape.size() == 2 ? tensor.shape[1] : 1;
  for (size_t i = 0; i < k; ++i) {
    float value = 0;
    std::memcpy(&value, tensor.bytes.data() + (row * k + i) * sizeof value, sizeof value);
    tiny.set(name, row * k + i, value * factor);
  }
}

void scale_column(TinyCheckpoint& tiny, const std::string& name, size_t column, float factor) {
  test::TinyTensor& tensor = tiny.tensors.at(name);
  const size_t n = tensor.shape[0], k = tensor.shape[1];
  for (size_t i = 0; i < n; ++i) {
    float value = 0;
    std::memcpy(&value, tensor.bytes.data() + (i * k + column) * sizeof value, sizeof value);
    tiny.set(name, i * k + column, value * factor);
  }
}

// The same float function, to the bit: relu(64 x) = 64 relu(x), and powers of two round nothing.
TinyCheckpoint with_planted_outliers() {
  TinyCheckpoint tiny;
  tiny.config["hidden_act"] = "relu";
  // Without these the words decide on the label, not the biases, which give most random models one label for
  // everything.
  for (size_t i = 0; i < 12; ++i) tiny.set("bert.encoder.layer.1.output.LayerNorm.bias", i, 0);
  for (size_t i = 0; i < 3; ++i) tiny.set("classifier.bias", i, 0);
  for (const char* layer : {"bert.encoder.layer.0.", "bert.encoder.layer.1."}) {
    const std::string prefix = layer;
    for (const size_t channel : {3U, 11U}) {
      scale_row(tiny, prefix + "intermediate.dense.weight", channel, 256);
      scale_row(tiny, prefix + "intermediate.dense.bias", channel, 256);
      scale_column(tiny, prefix + "output.dense.weight", channel, 1.0F / 256);
    }
    scale_row(tiny, prefix + "attention.self.value.weight", 5, 256);
    scale_row(tiny, prefix + "attention.self.value.bias", 5, 256);
    scale_column(tiny, prefix + "attention.output.dense.weight", 5, 1.0F / 256);
  }
  return tiny;
}

// Lines of words of the tiny vocabulary.
std::string random_lines(size_t count) {
  const char* words[] = {"marta", "in", "lisbon", "yes", "the", "q", "bcd", "xyz", "ha", ",", ".", "k", "owl", "run"};
  std::string text;
  uint32_t state = 5;
  for (size_t i = 0; i < count; ++i) {
    state = state * 1664525u + 1013904223u;
    for (size_t word = 0, words_left = 3 + (state >> 28); word < words_left; ++word) {
      state = state * 1664525u + 1013904223u;
      text += std::string(word == 0 ? "" : " ") + words[(state >> 16) % std::size(words)];
    }
    text += "\n";
  }
  return text;
}

// 995 of 1000 words and 9 of 10 entities right, of which the float model has all.
Comparison some_loss() {
  Comparison comparison;
  comparison.words = 1000;
  comparison.same_label = 995;
  comparison.labelled = true;
  comparison.reference.all = {.expected = 10, .found = 10, .correct = 10};
  comparison.model.all = {.expected = 10, .found = 10, .correct = 9};
  return comparison;
}

TEST(TuneBudget, EachHasItsMeasureAndOfTwoTheNearerCounts) {
  TuneOptions options;
  options.min_agreement = 0.99;
  EXPECT_NEAR(judge(options, some_loss()).margin, 0.005, 1e-12);
  EXPECT_NEAR(judge(options, some_loss()).margin + budget_measure(options).limit, some_loss().agreement(), 1e-12);
  options.max_f1_loss = 0.101;
  EXPECT_TRUE(judge(options, some_loss()).holds);
  EXPECT_NEAR(judge(options, some_loss()).margin, 0.001, 1e-12);
  EXPECT_EQ(budget_measure(options).limit, 0);  // no agreement: the margin of either
  EXPECT_STREQ(budget_measure(options).name, "margin within the nearer budget, points");
  options.max_f1_loss = 0.05;
  EXPECT_FALSE(judge(options, some_loss()).holds);
  options.min_agreement.reset();
  EXPECT_NEAR(judge(options, some_loss()).margin + budget_measure(options).limit, -some_loss().f1_loss(), 1e-12);
}

TEST(TuneBudget, WhatTheWordEmbeddingsAloneCost) {
  TuneOptions options;
  options.min_agreement = 0.995;
  Comparison nothing_lost = some_loss();
  nothing_lost.same_label = nothing_lost.words;
  nothing_lost.model.all = nothing_lost.reference.all;
  EXPECT_EQ(what_remains(options, some_loss(), nothing_lost), "");  // both hold: it is not the words' fault
  options.min_agreement = 1;
  for (const bool tuned : {true, false}) {
    const std::string text =
        what_remains(options, tuned ? some_loss() : nothing_lost, tuned ? nothing_lost : some_loss());
    for (const char* part :
         {"5 of 1000 words", "(agreement 99.5000 %, asked for 100 %)", "0 of 1000 words", "word embeddings, int8"}) {
      EXPECT_NE(text.find(part), std::string::npos) << text;
    }
    EXPECT_EQ(text.find("5 of 1000") < text.find("0 of 1000"), tuned) << text;
    EXPECT_EQ(text.find("F1"), std::string::npos) << text;
  }
  options.min_agreement.reset();
  options.max_f1_loss = 0.01;
  const std::string text = what_remains(options, some_loss(), nothing_lost);
  EXPECT_NE(text.find("10.000 points of F1 lost (asked for 1 at most)"), std::string::npos) << text;
  EXPECT_EQ(text.find("label"), std::string::npos) << text;
}

class Tune : public testing::Test {
 protected:
  Tune() {
    write_file(folder_ / "texts.txt", random_lines(160));
    options_.texts = {folder_ / "texts.txt"};
    options_.min_agreement = 0.97;
    options_.convert.threads = 2;
    // The plainest static: what it loses is for tune to bring back.
    options_.convert.calibration = {.texts = {},
                                    .samples = 64,
                                    .observer = "minmax",
                                    .smooth_quant = 0,
                                    .equalize = false,
                                    .gptq = false,
                                    .bias_correction = false};
  }
  std::filesystem::path checkpoint() const { return folder_ / "checkpoint"; }
  std::string error_of(const std::function<void()>& action) const {
    try {
      action();
    } catch (const Error& e) {
      return e.what();
    }
    return "no error";
  }

  TemporaryFolder folder_;
  TuneOptions options_;
};

TEST_F(Tune, BringsBackAModelWithPlantedOutliers) {
  with_planted_outliers().write(checkpoint());
  const FloatModel reference(checkpoint(), {.threads = 1});
  const TuneFiles files = read_tune_files(options_, reference.engine());

  // Static throughout falls apart.
  ConvertOptions plain = options_.convert;
  plain.scheme = "static";
  plain.calibration.texts = (folder_ / "texts.txt").string();
  const std::vector<std::byte> bytes = convert_to_memory(checkpoint(), plain);
  const Comparison fallen = compare_models(reference.engine(), Engine::open_memory(bytes, {.threads = 1}),
                                           files.held_out.encoded, files.held_out.sentences);
  EXPECT_LT(fallen.agreement(), 0.9);

  const TuneResult result = tune(checkpoint(), options_);
  ASSERT_TRUE(result.met);
  EXPECT_GE(result.measure.tuned.agreement(), 0.97);
  EXPECT_GE(result.measure.held_out.agreement(), 0.97);
  const auto& certificate = result.policy.certificate;
  EXPECT_FALSE(certificate.at("rolled_back.accuracy") == "nothing" && certificate.at("rolled_back.speed") == "nothing");

  // What was measured is what the file does.
  const Engine tuned = Engine::open_memory(result.model, {.threads = 1});
  const Comparison again = compare_models(reference.engine(), tuned, files.held_out.encoded, files.held_out.sentences);
  EXPECT_EQ(again.words, result.measure.held_out.words);
  EXPECT_EQ(again.same_label, result.measure.held_out.same_label);
  EXPECT_EQ(again.divergence, result.measure.held_out.divergence);
}

TEST_F(Tune, ThePolicyMakesTheSameBytes) {
  with_planted_outliers().write(checkpoint());
  const TuneResult result = tune(checkpoint(), options_);
  write_file(folder_ / "m.policy.json", policy_json(result.policy));
  ConvertOptions convert_options;
  convert_options.policy = folder_ / "m.policy.json";
  convert_options.calibration.texts = (folder_ / "texts.txt").string();
  convert_options.threads = 1;
  EXPECT_EQ(convert_to_memory(checkpoint(), convert_options), result.model);  // with the certificate
}

TEST_F(Tune, TheFileCarriesItsCertificate) {
  TinyCheckpoint().write(checkpoint());
  options_.min_agreement = 0.5;
  const TuneResult result = tune(checkpoint(), options_);
  ASSERT_TRUE(result.met);
  const Engine engine = Engine::open_memory(result.model, {.threads = 1});
  const auto strings = EngineAccess::file(engine).strings(format::SectionType::kQuantReport);
  std::map<std::string, std::string> entries;
  for (size_t i = 0; i + 1 < strings.size(); i += 2) entries.emplace(strings[i], strings[i + 1]);
  EXPECT_EQ(entries.at("certificate.budget.min_agreement"), "0.5");
  EXPECT_EQ(entries.at("certificate.text.1").size(), std::string("texts.txt ").size() + 64);
  EXPECT_EQ(entries.at("certificate.held_out.words"), std::to_string(result.measure.held_out.words));
  EXPECT_EQ(entries.at("calibration.hold_out"), "4");
  EXPECT_TRUE(entries.contains("certificate.rolled_back.accuracy"));
  EXPECT_TRUE(entries.contains("certificate.rolled_back.speed"));
  EXPECT_FALSE(entries.contains("certificate.budget.remains"));
  EXPECT_FALSE(entries.contains("certificate.classifier"));  // the search had it: a 60th of the work
  EXPECT_TRUE(entries.contains("certificate.milliseconds.this model"));
}

TEST_F(Tune, ReportsEveryProductAndTheWay) {
  with_planted_outliers().write(checkpoint());
  const TuneResult result = tune(checkpoint(), options_);
  std::set<std::string> products;
  for (const ReportSensitivity& row : result.report.sensitivity) {
    products.insert(row.product);
    EXPECT_TRUE(row.alone.has_value()) << row.product;
  }
  EXPECT_EQ(products.size(), 11U);  // 5 a layer: scores stands for attention's two; and the classifier
  EXPECT_TRUE(products.contains("classifier"));
  ASSERT_GE(result.report.steps.size(), 2U);
  EXPECT_EQ(result.report.steps.front().product, "");
  EXPECT_TRUE(result.report.steps.front().value.has_value());
  EXPECT_EQ(result.report.first_seconds, result.times.front().milliseconds / 1000);
  EXPECT_EQ(result.report.last_seconds, result.times.back().milliseconds / 1000);
}

// Which of the two it is depends on timings; that each has one, and the right one, does not.
TEST_F(Tune, EveryRollbackHasItsReason) {
  with_planted_outliers().write(checkpoint());
  const TuneResult result = tune(checkpoint(), options_);
  ASSERT_GE(result.report.steps.size(), 2U);
  std::map<std::string, std::string> lists = {{"accuracy", ""}, {"speed", ""}};
  size_t not_static = 0;
  for (size_t i = 1; i < result.report.steps.size(); ++i) {
    const ReportStep &before = result.report.steps[i - 1], &step = result.report.steps[i];
    EXPECT_EQ(step.reason, *step.seconds > *before.seconds ? "accuracy" : "speed") << step.product;
    std::string& list = lists.at(step.reason);
    list += (list.empty() ? "" : ", ") + step.product + " " + step.to;
    not_static += step.product.ends_with(".scores") ? 2 : 1;  // with context
  }
  for (const auto& [reason, list] : lists) {
    EXPECT_EQ(result.policy.certificate.at("rolled_back." + reason), list.empty() ? "nothing" : list);
  }
  const auto& products = result.policy.products;
  EXPECT_EQ(not_static, std::count_if(products.begin(), products.end(),
                                      [](const auto& p) { return p.second != format::Scheme::kStatic; }));
}

// Words of lines are the tokenizer's, those of sentences are given.
TEST_F(Tune, ShowsChangedLabelsOfLinesAndOfSentences) {
  with_planted_outliers().write(checkpoint());
  const std::string lines = random_lines(160);
  std::string conll, sentences = "\n";
  for (int i = 0; i < 160; ++i) {
    const std::vector<std::string> words = {i % 2 ? "Marta." : "run", "in", i % 3 ? "Lisbon" : "the",
                                            std::string(1, static_cast<char>('a' + i % 26))};
    for (const std::string& word : words) conll += word + "\tB-PER\n";
    for (const std::string& word : words) sentences += word + (&word == &words.back() ? "\n" : " ");
    conll += "\n";
  }
  write_file(folder_ / "labelled.tsv", conll);
  options_.conll = {folder_ / "labelled.tsv"};
  // Not what tune() would choose, which may lose nothing: all static.
  const FloatModel reference(checkpoint(), {.threads = 1});
  const TunePart part = read_tune_files(options_, reference.engine()).held_out;
  ConvertOptions convert_options;
  convert_options.scheme = "static";
  convert_options.calibration.texts = (folder_ / "texts.txt").string();
  const std::vector<std::byte> bytes = convert_to_memory(checkpoint(), convert_options, {});
  const Engine packed = Engine::open_memory(bytes, {.threads = 1});
  const Comparison comparison = compare_models(reference.engine(), packed, part.encoded, part.sentences);
  ReportData report;
  report_part("held out", part, comparison, packed, report);
  EXPECT_EQ(report.changed_words, comparison.words - comparison.same_label);
  size_t of_lines = 0, of_sentences = 0;
  for (const ReportExample& example : report.examples) {
    const bool labelled = !example.gold_label.empty();
    ++(labelled ? of_sentences : of_lines);
    EXPECT_NE(("\n" + (labelled ? sentences : lines)).find("\n" + example.text + "\n"), std::string::npos)
        << example.text;
    ASSERT_LT(example.begin, example.end);
    ASSERT_LE(example.end, example.text.size());
    const std::string word = example.text.substr(example.begin, example.end - example.begin);
    EXPECT_EQ(word.find(' '), std::string::npos) << word;
    EXPECT_EQ(labelled && word == "Marta", false) << "a word is given with its full stop";
  }
  EXPECT_GT(of_lines, 0U);
  EXPECT_GT(of_sentences, 0U);
}

// What the search measures of a classifier in each scheme is what convert() makes of it.
TEST_F(Tune, TheClassifierInEachScheme) {
  TinyCheckpoint().write(checkpoint());
  const Checkpoint source(checkpoint());
  const FloatModel reference(checkpoint(), {.threads = 1});
  const TuneFiles files = read_tune_files(options_, reference.engine());
  CalibrationSettings settings{.gptq = true, .bias_correction = true};
  const CalibrationTexts texts = calibration_texts_of(options_, files, settings.hold_out);
  std::vector<std::string> warnings;
  const Calibration calibration = calibrate(
      reference.engine(), encode_samples(reference.engine(), texts, settings.samples, warnings), settings.gptq);
  const TuneModel model(source, reference.engine(), calibration, settings, {});
  TuneTexts held_out(model, files.held_out.encoded, files.held_out.sentences);
  std::set<double> divergences;
  for (const format::Scheme scheme : kTuneSchemes) {
    Plan plan = make_plan("dynamic", 2);
    plan.classifier = scheme;
    Policy policy = make_policy(plan);
    policy.calibration = settings;
    ConvertOptions convert_options;
    convert_options.threads = 1;
    const std::vector<std::byte> bytes = convert_to_memory(checkpoint(), convert_options, {&policy, &calibration});
    const Engine packed = Engine::open_memory(bytes, {.threads = 1});
    const Comparison expected =
        compare_models(reference.engine(), packed, files.held_out.encoded, files.held_out.sentences);
    EXPECT_EQ(held_out.evaluate(plan).divergence, expected.divergence) << format::scheme_name(uint32_t(scheme));
    divergences.insert(expected.divergence);
  }
  EXPECT_EQ(divergences.size(), kTuneSchemes.size());  // or nothing has been shown
}

TEST_F(Tune, ABudgetThatCannotBeMet) {
  with_planted_outliers().write(checkpoint());
  write_file(folder_ / "texts.txt", random_lines(6000));  // enough words for the int8 table to change one's label
  options_.min_agreement = 1;
  const TuneResult result = tune(checkpoint(), options_);
  EXPECT_FALSE(result.met);
  EXPECT_GT(result.measure.tuned.agreement(), 0.97);
  EXPECT_FALSE(result.model.empty());  // for --keep-best
  const std::string& remains = result.policy.certificate.at("budget.remains");
  EXPECT_NE(remains.find("word embeddings, int8"), std::string::npos) << remains;
  const auto warned = [&](const std::string& text) { return text == remains + "."; };
  EXPECT_EQ(std::count_if(result.report.warnings.begin(), result.report.warnings.end(), warned), 1);
}

TEST_F(Tune, F1WithLabels) {
  TinyCheckpoint source;
  std::string conll;
  for (int i = 0; i < 40; ++i) conll += "Marta\tB-PER\nin\tO\nLisbon\tO\n\nyes\tO\nxyz\tB-PER\nbcd\tO\n\n";
  write_file(folder_ / "labelled.tsv", conll);
  options_.texts.clear();
  options_.conll = {folder_ / "labelled.tsv"};
  options_.max_f1_loss = 0.5;
  source.set("classifier.bias", 0, 100);  // O everywhere
  source.write(checkpoint());
  const std::string refused = error_of([&] { tune(checkpoint(), options_); });
  EXPECT_NE(refused.find("finds none of the entities"), std::string::npos) << refused;
  source.set("classifier.bias", 0, 0);
  source.set("classifier.bias", 1, 100);  // each word a person
  source.write(checkpoint());
  const TuneResult result = tune(checkpoint(), options_);
  EXPECT_TRUE(result.measure.held_out.labelled);
  EXPECT_GT(result.measure.held_out.reference.all.f1(), 0);
  EXPECT_TRUE(result.policy.certificate.contains("held_out.mcnemar_p"));
}

TEST_F(Tune, WhatIsRefused) {
  TinyCheckpoint().write(checkpoint());
  const auto refused = [&] { return error_of([&] { tune(checkpoint(), options_); }); };
  const auto holds = [](const std::string& text, const char* part) { return text.find(part) != std::string::npos; };
  write_file(folder_ / "texts.txt", random_lines(7));
  EXPECT_TRUE(holds(refused(), "7 texts, expected 8 or more")) << refused();
  write_file(folder_ / "texts.txt", "\n \n");
  EXPECT_TRUE(holds(refused(), "no text")) << refused();
  options_.max_f1_loss = 0.1;
  EXPECT_TRUE(holds(refused(), "needs texts with labels")) << refused();
  std::string other;
  for (int i = 0; i < 10; ++i) other += "aspirin\tB-DRUG\n\n";
  write_file(folder_ / "drugs.tsv", other);
  options_.conll = {folder_ / "drugs.tsv"};
  write_file(folder_ / "texts.txt", random_lines(40));
  EXPECT_TRUE(holds(refused(), "no entity in it is of a type that the model has (PER)")) << refused();
  options_.max_f1_loss.reset();  // the same rule where the budget is none of F1
  options_.min_agreement = 0.5;
  EXPECT_TRUE(holds(refused(), "no entity in it is of a type that the model has (PER)")) << refused();
  options_.max_f1_loss = 0.1;
  std::string no_entity;
  for (int i = 0; i < 10; ++i) no_entity += "aspirin\tO\n\n";
  write_file(folder_ / "drugs.tsv", no_entity);
  EXPECT_TRUE(holds(refused(), "to tune on (every 4th is held out) have no entity")) << refused();
  // Every fourth sentence is held out: entities that are in the others alone.
  std::string in_some;
  for (int i = 0; i < 40; ++i) in_some += i % 4 == 3 ? "yes\tO\n\n" : "Marta\tB-PER\n\n";
  write_file(folder_ / "drugs.tsv", in_some);
  EXPECT_TRUE(holds(refused(), "to hold out (every 4th is held out) have no entity")) << refused();
  options_.min_agreement = 1.5;
  EXPECT_TRUE(holds(refused(), "min_agreement is 1.5")) << refused();
  options_ = {};
  EXPECT_TRUE(holds(refused(), "no texts")) << refused();
}

}  // namespace
}  // namespace octobert::converter
