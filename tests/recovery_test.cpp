// What each correction of calibration recovers by itself: the bundled model, as it is and with planted outliers,
// converted with that step and without, nothing else different, on sentences that calibration does not see.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

#include "converter/compare.h"
#include "octobert/converter.h"
#include "tests/shared_data.h"
#include "tests/temporary_folder.h"

namespace octobert::converter {
namespace {

// A model's distance from the float one on each of two sets.
struct Measured {
  std::vector<Comparison> sets;
  std::string text() const {
    std::string result;
    for (const Comparison& c : sets) {
      result += "  same label " + std::to_string(c.agreement()) + ", entities " + std::to_string(c.entity_agreement()) +
                ", divergence " + std::to_string(c.mean_divergence()) + ", logits " +
                std::to_string(c.sqnr.back().decibel) + " dB\n";
    }
    return result;
  }
};

// With and without: what is asserted must hold on both sets.
struct Recovered {
  Measured without, with;
  std::string text() const { return "without:\n" + without.text() + "with:\n" + with.text(); }
};

using Step = std::function<void(CalibrationOptions&)>;

class Recovery : public testing::Test {
 protected:
  static std::filesystem::path bundled() { return test::source_folder() / "models/minilm-ner"; }

  // The bundled model with outliers that leave its float function as it is; in place of the one planted before.
  std::filesystem::path planted(const std::string& arguments) const {
    const std::string command = "python3 '" + (test::source_folder() / "scripts/plant_outliers.py").string() + "' '" +
                                bundled().string() + "' '" + (folder_ / "planted").string() + "' " + arguments;
    if (std::system(command.c_str()) != 0) throw std::runtime_error(command + ": failed");
    return folder_ / "planted";
  }
  std::filesystem::path with_planted_values() const { return planted("--values 256"); }
  std::filesystem::path with_planted_offsets() const { return planted("--norms 64"); }

  // The scheme with no step at all but the rounding to the nearest.
  static ConvertOptions plain(const std::string& scheme) {
    ConvertOptions options;
    options.scheme = scheme;
    options.check = false;
    options.calibration = {.texts = (test::source_folder() / "data/ner/calibration.tsv").string(),
                           .samples = 128,
                           .observer = "minmax",
                           .smooth_quant = 0,
                           .equalize = false,
                           .gptq = false,
                           .bias_correction = false};
    return options;
  }

  Measured measure(const std::filesystem::path& checkpoint, const ConvertOptions& options) const {
    convert(checkpoint, folder_ / "m.octo", options);
    return measure(Engine::open(folder_ / "m.octo"));
  }
  Measured measure(const Engine& model) const {
    constexpr size_t kSentences = 300;
    Measured result;
    for (const char* set : {"E1.tsv", "E2.tsv"}) {
      std::vector<Sentence> sentences = read_conll(test::source_folder() / "data/ner" / set);
      sentences.resize(kSentences);
      const EncodedTexts encoded = encode_sentences(reference_.engine(), sentences);
      result.sets.push_back(compare_models(reference_.engine(), model, encoded, sentences));
    }
    return result;
  }
  Recovered recover(const std::filesystem::path& checkpoint, const std::string& scheme, const Step& step) const {
    ConvertOptions options = plain(scheme);
    Recovered result{.without = measure(checkpoint, options), .with = {}};
    step(options.calibration);
    result.with = measure(checkpoint, options);
    RecordProperty("measured", result.text());
    return result;
  }

  test::TemporaryFolder folder_;
  const FloatModel reference_{bundled()};
};

void smooth_quant(CalibrationOptions& options) { options.smooth_quant.reset(); }  // by product, as static's default
void equalize(CalibrationOptions& options) { options.equalize = true; }
void gptq(CalibrationOptions& options) { options.gptq = true; }
void bias_correction(CalibrationOptions& options) { options.bias_correction = true; }

// Divergence falls to less than `share` of what it was, and the logits' noise by more than `decibel`.
void expect_nearer(const Recovered& recovered, double share, double decibel) {
  for (size_t set = 0; set < recovered.with.sets.size(); ++set) {
    const Comparison &without = recovered.without.sets[set], &with = recovered.with.sets[set];
    EXPECT_GT(without.words, 4000U);
    EXPECT_LT(with.mean_divergence(), share * without.mean_divergence()) << recovered.text();
    EXPECT_GT(with.sqnr.back().decibel, without.sqnr.back().decibel + decibel) << recovered.text();
  }
}

// More than `lost` of the words have another label without the step, less than `left` with it.
void expect_brought_back(const Recovered& recovered, double lost, double left) {
  for (size_t set = 0; set < recovered.with.sets.size(); ++set) {
    EXPECT_LT(recovered.without.sets[set].agreement(), 1 - lost) << recovered.text();
    EXPECT_GT(recovered.with.sets[set].agreement(), 1 - left) << recovered.text();
  }
}

// Or what the tests below bring back would be another model.
TEST_F(Recovery, PlantedOutliersLeaveTheFloatFunctionAsItIs) {
  const auto expect_the_same = [&](const std::filesystem::path& checkpoint) {
    const FloatModel model(checkpoint);
    for (const Comparison& comparison : measure(model.engine()).sets) {
      EXPECT_EQ(comparison.same_label, comparison.words);
      EXPECT_LT(comparison.mean_divergence(), 1e-8);
    }
  };
  expect_the_same(with_planted_values());
  expect_the_same(with_planted_offsets());
}

TEST_F(Recovery, SmoothQuantOfPlantedValues) {
  const Recovered recovered = recover(with_planted_values(), "static", smooth_quant);
  expect_brought_back(recovered, 0.1, 0.01);
  expect_nearer(recovered, 0.05, 15);
}

TEST_F(Recovery, SmoothQuantOfPlantedOffsets) {
  expect_nearer(recover(with_planted_offsets(), "static", smooth_quant), 0.3, 5);
}

TEST_F(Recovery, SmoothQuantOfTheBundledModel) { expect_nearer(recover(bundled(), "static", smooth_quant), 0.5, 3); }

TEST_F(Recovery, EqualizationOfPlantedValues) {
  const Recovered recovered = recover(with_planted_values(), "static", equalize);
  expect_brought_back(recovered, 0.1, 0.02);
  expect_nearer(recovered, 0.1, 10);
}

TEST_F(Recovery, RoundingByErrorOfTheBundledModelsInt4) {
  expect_nearer(recover(bundled(), "weight-only-int4", gptq), 0.75, 1.5);
}

TEST_F(Recovery, RoundingByErrorOfPlantedOffsetsInInt4) {
  const Recovered recovered = recover(with_planted_offsets(), "weight-only-int4", gptq);
  expect_brought_back(recovered, 0.05, 0.02);
  expect_nearer(recovered, 0.1, 10);
}

TEST_F(Recovery, BiasCorrectionOfPlantedOffsetsInInt4) {
  const Recovered recovered = recover(with_planted_offsets(), "weight-only-int4", bias_correction);
  expect_brought_back(recovered, 0.05, 0.02);
  expect_nearer(recovered, 0.1, 10);
}

TEST_F(Recovery, BiasCorrectionOfPlantedOffsetsInInt8) {
  expect_nearer(recover(with_planted_offsets(), "weight-only", bias_correction), 0.2, 8);
}

}  // namespace
}  // namespace octobert::converter
