// Conversions that look at texts first: policies, settings, planted outliers, the same bytes everywhere, faults.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <map>

#include "converter/convert.h"
#include "converter/plan.h"
#include "converter/prepare.h"
#include "converter/provenance.h"
#include "engine/engine_access.h"
#include "engine/verify_vectors.h"
#include "octobert/converter.h"
#include "octobert/error.h"
#include "tests/errors.h"
#include "tests/temporary_folder.h"
#include "tests/tiny_checkpoint.h"

namespace octobert::converter {
namespace {

using format::Scheme;
using test::error_of;
using test::holds;
using test::TemporaryFolder;
using test::TinyCheckpoint;
using test::write_file;

class Calibrated : public testing::Test {
 protected:
  Calibrated() { TinyCheckpoint().write(folder_ / ""); }

  ConvertOptions options(const std::string& scheme) const {
    ConvertOptions result;
    result.scheme = scheme;
    result.calibration.texts = "builtin";
    return result;
  }
  ConvertReport convert_with(const ConvertOptions& options) const {
    return convert(folder_.path(), folder_ / "m.octo", options);
  }
  std::string refused(const ConvertOptions& options, ErrorCode code) const {
    std::filesystem::remove(folder_ / "m.octo");
    std::string message = error_of([&] { convert_with(options); }, code);
    EXPECT_FALSE(std::filesystem::exists(folder_ / "m.octo"));
    return message;
  }
  std::map<std::string, std::string> report_section() const {
    const ModelFile file = ModelFile::open(folder_ / "m.octo", {});
    const auto strings = file.strings(format::SectionType::kQuantReport);
    std::map<std::string, std::string> result;
    for (size_t i = 0; i + 1 < strings.size(); i += 2) result.emplace(strings[i], strings[i + 1]);
    return result;
  }

  TemporaryFolder folder_;
};

double logits_decibel(const ConvertReport& report) { return report.sqnr.back().decibel; }

TEST_F(Calibrated, EverySettingGivesTheSameBytesForAnyThreads) {
  for (const char* scheme : {"static", "dynamic", "weight-only", "weight-only-int4", "weight-only-codebook"}) {
    ConvertOptions all = options(scheme);
    all.calibration.smooth_quant = 0.6;
    all.calibration.equalize = all.calibration.gptq = all.calibration.bias_correction = true;
    all.threads = 1;
    const std::vector<std::byte> expected = convert_to_memory(folder_.path(), all);
    all.threads = 3;
    EXPECT_TRUE(convert_to_memory(folder_.path(), all) == expected) << scheme;
    all.isa = "scalar";
    EXPECT_TRUE(convert_to_memory(folder_.path(), all) == expected) << scheme;
    const Engine engine = Engine::open_memory(expected, {.threads = 1});
    EXPECT_TRUE(verify_vectors(engine).mismatches.empty()) << scheme;
  }
}

TEST_F(Calibrated, EveryObserverWorks) {
  for (const char* observer : {"minmax", "moving-average", "percentile", "mse", "kl"}) {
    ConvertOptions static_options = options("static");
    static_options.calibration.observer = observer;
    EXPECT_GT(logits_decibel(convert_with(static_options)), 15) << observer;
    EXPECT_EQ(report_section().at("calibration.observer"), observer);
  }
}

TEST_F(Calibrated, TheFileSaysWhatItWasCalibratedOn) {
  std::string lines;
  for (int i = 0; i < 30; ++i) lines += "the marta in lisbon : yes , a b c d e f g h i j k the marta in lisbon\r\n\n";
  write_file(folder_ / "texts.txt", lines);
  ConvertOptions o = options("static");
  o.calibration.texts = (folder_ / "texts.txt").string();
  o.calibration.samples = 3;
  o.calibration.smooth_quant = 0.25;
  const ConvertReport report = convert_with(o);
  EXPECT_EQ(report.calibration.size(), 64U);
  EXPECT_EQ(report.calibration_texts, 3U);
  const auto section = report_section();
  EXPECT_EQ(section.at("calibration.texts"), report.calibration);
  EXPECT_EQ(section.at("calibration.samples"), "3");
  EXPECT_EQ(section.at("calibration.tokens"), std::to_string(report.calibration_tokens));
  EXPECT_EQ(section.at("calibration.smooth_quant"), "0.25");
  EXPECT_TRUE(holds(report.calibration_settings, "SmoothQuant 0.25")) << report.calibration_settings;
}

// The same function, with channels of values (and of what reads them) and of queries and keys that differ by 100.
TEST_F(Calibrated, EqualizationBringsBackPlantedOutliers) {
  ConvertOptions plain = options("static");
  plain.calibration.observer = "minmax";
  plain.calibration.smooth_quant = 0;
  plain.calibration.equalize = plain.calibration.gptq = plain.calibration.bias_correction = false;
  const double before = logits_decibel(convert_with(plain));

  TinyCheckpoint planted;
  const auto scale = [&](const std::string& name, size_t index, float factor) {
    auto& tensor = planted.tensors.at(name);
    float value = 0;
    std::memcpy(&value, tensor.bytes.data() + index * sizeof(float), sizeof value);
    planted.set(name, index, value * factor);
  };
  for (const char* layer : {"bert.encoder.layer.0.attention.", "bert.encoder.layer.1.attention."}) {
    const std::string name = layer;
    for (size_t i = 0; i < 12; ++i) {
      for (const size_t channel : {size_t{1}, size_t{6}}) {
        scale(name + "self.value.weight", channel * 12 + i, 128);
        scale(name + "output.dense.weight", i * 12 + channel, 1.0f / 128);
        scale(name + "self.query.weight", channel * 12 + i, 128);
        scale(name + "self.key.weight", channel * 12 + i, 1.0f / 128);
      }
    }
    for (const size_t channel : {size_t{1}, size_t{6}}) {
      scale(name + "self.value.bias", channel, 128);
      scale(name + "self.query.bias", channel, 128);
      scale(name + "self.key.bias", channel, 1.0f / 128);
    }
  }
  planted.write(folder_ / "");
  const double fallen = logits_decibel(convert_with(plain));
  plain.calibration.equalize = true;
  const double recovered = logits_decibel(convert_with(plain));
  EXPECT_LT(fallen, before - 10);
  EXPECT_GT(recovered, before - 3);
}

TEST_F(Calibrated, APolicyIsTheSchemesSame) {
  ConvertOptions o = options("static");
  const std::vector<std::byte> expected = convert_to_memory(folder_.path(), o);
  Policy policy = make_policy(make_plan("static", 2));
  policy.calibration = resolve_settings(make_plan("static", 2), nullptr, {});
  policy.calibration_texts = "builtin";
  policy.certificate = {{"budget", "agreement 0.996"}};
  const Checkpoint source(folder_.path());
  policy.certificate_of =
      certificate_subject(policy, hash_sources(folder_.path(), source_files(source)).combined, source.labels());
  write_file(folder_ / "policy.json", policy_json(policy));
  ConvertOptions by_policy;
  by_policy.policy = folder_ / "policy.json";  // and nothing else: the builtin texts are named in it
  convert_with(by_policy);
  EXPECT_EQ(report_section().at("certificate.budget"), "agreement 0.996");
  const ModelFile file = ModelFile::open(folder_ / "m.octo", {});
  EXPECT_EQ(file.config().scheme, static_cast<uint32_t>(Scheme::kHybrid));
  const Engine a = Engine::open_memory(expected, {.threads = 1}), b = Engine::open(folder_ / "m.octo", {.threads = 1});
  const auto va = read_test_vectors(EngineAccess::file(a)), vb = read_test_vectors(EngineAccess::file(b));
  ASSERT_EQ(va.size(), vb.size());
  for (size_t i = 0; i < va.size(); ++i) EXPECT_TRUE(std::ranges::equal(va[i].logits, vb[i].logits));
  // Calibrated once, converted by way of memory.
  EXPECT_EQ(parse_policy(policy_json(policy), "p").products, policy.products);
  EXPECT_EQ(policy_json(parse_policy(policy_json(policy), "p")), policy_json(policy));
}

TEST_F(Calibrated, ACertificateSpeaksOfOneCheckpointAndOnePolicy) {
  ConvertOptions o;
  o.policy = folder_ / "policy.json";
  const ConvertReport plain = convert(folder_.path(), folder_ / "m.octo");
  Policy policy = make_policy(make_plan("dynamic", 2));
  policy.certificate = {{"budget", "agreement 0.996"}};
  policy.certificate_of = certificate_subject(policy, plain.source_sha256, Checkpoint(folder_.path()).labels());
  const auto carried = [&](const Policy& written) {
    write_file(folder_ / "policy.json", policy_json(written));
    const std::vector<std::string> warnings = convert_with(o).warnings;
    const bool warned = std::any_of(warnings.begin(), warnings.end(),
                                    [](const std::string& w) { return holds(w, "certificate is left out"); });
    const bool there = report_section().contains("certificate.budget");
    EXPECT_NE(warned, there);
    return there;
  };
  EXPECT_TRUE(carried(policy));
  Policy silent = policy;
  silent.certificate_of.clear();
  EXPECT_FALSE(carried(silent)) << "nobody says what was measured";
  Policy edited = policy;
  edited.products["layer.1.ffn2"] = Scheme::kWeightOnly;
  EXPECT_FALSE(carried(edited));
  Policy renamed = policy;
  renamed.certificate_of =
      certificate_subject(policy, plain.source_sha256, std::vector<std::string>{"O", "B-X", "I-X"});
  EXPECT_FALSE(carried(renamed)) << "what was measured under other labels";
  TinyCheckpoint other;
  other.set("classifier.bias", 0, 1);
  other.write(folder_.path());
  EXPECT_FALSE(carried(policy));
}

// Heads and inner layers that were pruned give nothing but 0: any range stores them.
TEST_F(Calibrated, WhatIsAlwaysZeroNeedsNoRange) {
  const std::string layer = "bert.encoder.layer.0.";
  for (const std::string part : {"attention.self.query", "attention.self.value", "intermediate.dense"}) {
    TinyCheckpoint pruned;
    const size_t outputs = part == "intermediate.dense" ? 20 : 4;  // all of them, or one of three heads
    for (size_t i = 0; i < outputs * 12; ++i) pruned.set(layer + part + ".weight", i, 0);
    for (size_t i = 0; i < outputs; ++i) pruned.set(layer + part + ".bias", i, 0);
    pruned.write(folder_.path());
    for (const char* scheme : {"static", "dynamic", "weight-only-int4", "weight-only-codebook"}) {
      const ConvertReport report = convert_with(options(scheme));
      EXPECT_GT(logits_decibel(report), 10) << part << ", " << scheme;
    }
  }
}

TEST_F(Calibrated, AnyMixOfSchemes) {
  write_file(folder_ / "policy.json", R"({"format": 1, "default": "dynamic", "group_size": 8, "products": {
    "layer.0.qkv": "static", "layer.0.scores": "static", "layer.0.context": "static", "layer.0.ffn1": "weight-only",
    "layer.0.ffn2": "static", "layer.1.scores": "float", "layer.1.context": "float",
    "layer.1.attention_output": "weight-only-int4", "layer.1.ffn2": "weight-only-codebook", "classifier": "static"}})");
  ConvertOptions o = options("dynamic");
  o.policy = folder_ / "policy.json";
  EXPECT_GT(convert_with(o).agreement, 0.8);
  const Engine engine = Engine::open(folder_ / "m.octo", {.threads = 2});
  EXPECT_TRUE(verify_vectors(engine).mismatches.empty());
  EXPECT_EQ(engine.info().scheme, "hybrid");
}

TEST_F(Calibrated, PoliciesThatAreRefused) {
  const auto refused_policy = [&](const std::string& json, ErrorCode code, const char* part) {
    write_file(folder_ / "policy.json", json);
    ConvertOptions o = options("dynamic");
    o.policy = folder_ / "policy.json";
    const std::string message = refused(o, code);
    EXPECT_TRUE(holds(message, part)) << message;
  };
  const auto products = [](const std::string& body) {
    return R"({"format": 1, "default": "dynamic", "products": {)" + body + "}}";
  };
  refused_policy("{", ErrorCode::kFormat, "policy.json");
  refused_policy("{}", ErrorCode::kFormat, "'format'");
  refused_policy(R"({"format": 2})", ErrorCode::kFormat, "format: expected 1, found 2");
  refused_policy(R"({"format": 1, "produkte": {}})", ErrorCode::kFormat, "'produkte'");
  refused_policy(products(R"("layer.2.ffn1": "static")"), ErrorCode::kInvalidInput,
                 "policy.json: products: the model, of 2 layers, has no 'layer.2.ffn1'");
  refused_policy(products(R"("layer.0.ffn1": "int3")"), ErrorCode::kInvalidInput, "products.layer.0.ffn1: 'int3'");
  refused_policy(products(R"("layer.0.scores": "static")"), ErrorCode::kInvalidInput, "differ");
  refused_policy(products(R"("layer.0.scores": "weight-only", "layer.0.context": "weight-only")"),
                 ErrorCode::kInvalidInput, "has no weights");
  refused_policy(R"({"format": 1, "products": {"layer.0.ffn1": "static"}})", ErrorCode::kInvalidInput, "no default");
  refused_policy(R"({"format": 1, "default": "dynamic", "group_size": 12})", ErrorCode::kFormat, "group_size");
  const auto calibration = [](const std::string& body) {
    return R"({"format": 1, "default": "dynamic", "calibration": {)" + body + "}}";
  };
  refused_policy(calibration(R"("smooth_quant": 1.5)"), ErrorCode::kFormat, "calibration.smooth_quant");
  refused_policy(calibration(R"("observer": "median")"), ErrorCode::kInvalidInput, "median");
  refused_policy(calibration(R"("samples": 0)"), ErrorCode::kFormat, "calibration.samples");
  refused_policy(calibration(R"("gptq": "yes")"), ErrorCode::kFormat, "calibration.gptq");
  refused_policy(calibration(R"("smooth": 1)"), ErrorCode::kFormat, "calibration.smooth");
}

TEST_F(Calibrated, OtherTextsThanThePolicysAreTold) {
  write_file(folder_ / "policy.json",
             R"({"format": 1, "default": "static", "calibration": {"texts": "0123abcd", "samples": 8}})");
  ConvertOptions o = options("dynamic");
  o.policy = folder_ / "policy.json";
  const ConvertReport report = convert_with(o);
  ASSERT_EQ(report.warnings.size(), 1U);
  EXPECT_TRUE(holds(report.warnings[0], "0123abcd")) << report.warnings[0];
  o.calibration.texts.clear();
  EXPECT_TRUE(holds(refused(o, ErrorCode::kInvalidInput), "0123abcd"));
}

TEST_F(Calibrated, TextsThatAreRefused) {
  const auto refused_texts = [&](const std::string& name, const std::string& content, ErrorCode code,
                                 const char* part) {
    write_file(folder_ / name, content);
    ConvertOptions o = options("static");
    o.calibration.texts = (folder_ / name).string();
    const std::string message = refused(o, code);
    EXPECT_TRUE(holds(message, part)) << message;
  };
  refused_texts("a.txt", "", ErrorCode::kFormat, "no text to calibrate on");
  refused_texts("a.txt", "\n  \n\t\r\n", ErrorCode::kFormat, "no text to calibrate on");
  refused_texts("a.txt", "yes\nthe marta\n", ErrorCode::kInvalidInput, "expected 64 or more");
  const std::string utf16("\xff\xfet\0h\0e\0", 8);
  for (const char* name : {"a.txt", "a.jsonl", "a.json", "a.tsv"}) {
    refused_texts(name, utf16, ErrorCode::kFormat, "line 1: not UTF-8");
    refused_texts(name, utf16, ErrorCode::kFormat, "looks like UTF-16");
    refused_texts(name, "\"fine\"\t\"O\"\n" + utf16.substr(2), ErrorCode::kFormat, "looks like UTF-16");
  }
  refused_texts("a.txt", "fine\nna\xefve\n", ErrorCode::kFormat, "line 2: not UTF-8");
  for (const char* name : {"a.jsonl", "a.json"}) {
    refused_texts(name, "{\"text\": \"yes\"}\n{\"txt\": 1}\n", ErrorCode::kFormat, "line 2: the object has no");
    refused_texts(name, "\"yes\"\n\n{\n", ErrorCode::kFormat, "line 3: not valid JSON at byte 2");
    refused_texts(name, "[\"marta\", 1]\n", ErrorCode::kFormat, "line 1: word 2: expected a string, found number");
    refused_texts(name, "12\n", ErrorCode::kFormat, "line 1: expected a string, an object with \"text\" or an array");
  }
  refused_texts("a.tsv", "marta\n", ErrorCode::kFormat, "expected a token, a tab and a label");
  ConvertOptions o = options("static");
  o.calibration.texts = "/absent.txt";
  EXPECT_TRUE(holds(refused(o, ErrorCode::kIo), "/absent.txt"));
}

TEST_F(Calibrated, SettingsThatAreRefused) {
  ConvertOptions o = options("dynamic");
  o.calibration.smooth_quant = 1.01;
  EXPECT_TRUE(holds(refused(o, ErrorCode::kInvalidInput), "1.01"));
  o = options("dynamic");
  o.calibration.samples = 0;
  EXPECT_TRUE(holds(refused(o, ErrorCode::kInvalidInput), "samples"));
  o = options("dynamic");
  o.calibration.observer = "median";
  EXPECT_TRUE(holds(refused(o, ErrorCode::kInvalidInput), "median"));
  o = options("dynamic");
  o.calibration.texts.clear();
  o.calibration.gptq = true;
  EXPECT_TRUE(holds(refused(o, ErrorCode::kInvalidInput), "without texts"));
  o = options("weight-only-int4");
  o.group_size = 12;
  EXPECT_TRUE(holds(refused(o, ErrorCode::kInvalidInput), "multiple of 8"));
}

TEST_F(Calibrated, FewerTextsThanSamplesAreTold) {
  std::string lines;
  for (int i = 0; i < 10; ++i) lines += "the marta in lisbon : yes , a b c d e f g\n";
  write_file(folder_ / "a.txt", lines);
  ConvertOptions o = options("static");
  o.calibration.texts = (folder_ / "a.txt").string();
  const ConvertReport report = convert_with(o);
  EXPECT_EQ(report.calibration_texts, 10U);
  ASSERT_EQ(report.warnings.size(), 1U);
  EXPECT_TRUE(holds(report.warnings[0], "the file has 10 texts, fewer than 512 samples")) << report.warnings[0];
}

}  // namespace
}  // namespace octobert::converter
