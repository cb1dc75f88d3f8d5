// Static models with the ranges that a quantized checkpoint brings along: which products become static, with which
// scales, and inputs of query, key and value that differ.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "converter/checkpoint.h"
#include "converter/safetensors.h"
#include "engine/bert.h"
#include "engine/engine_access.h"
#include "octobert/converter.h"
#include "octobert/engine.h"
#include "octobert/error.h"
#include "tests/errors.h"
#include "tests/import_test_util.h"
#include "tests/temporary_folder.h"
#include "tests/tiny_checkpoint.h"

namespace octobert {
namespace {

using converter::Checkpoint;
using converter::DataType;
using converter::SafetensorsFile;
using test::Converted;
using test::options_for;
using test::quantized_data;
using test::TemporaryFolder;
using test::TinyCheckpoint;
using test::values;

TEST(ImportStatic, ProductsWithARangeAreStaticTheOthersDynamic) {
  using format::Scheme;
  const auto schemes = [](const char* form) {
    const Converted converted(form, "static");
    std::vector<Scheme> result;
    for (size_t i = 0; i < 2; ++i) {
      const EncoderLayer& layer = converted.layer(i);
      for (const Scheme scheme :
           {layer.qkv.scheme, layer.attention, layer.attention_output.scheme, layer.ffn1.scheme, layer.ffn2.scheme}) {
        result.push_back(scheme);
      }
    }
    return result;
  };
  constexpr Scheme kS = Scheme::kStatic, kD = Scheme::kDynamic;
  using Schemes = std::vector<Scheme>;
  EXPECT_EQ(schemes("octobert"), Schemes(10, kS));
  EXPECT_EQ(schemes("pytorch-quantization"), Schemes(10, kS));
  EXPECT_EQ(schemes("modelopt"), Schemes(10, kS));
  EXPECT_EQ(schemes("compressed-tensors-static"), (Schemes{kS, kD, kS, kS, kS, kS, kD, kS, kS, kS}));
  // Ranges of results alone: of the LayerNorms, which qkv and ffn1 read; Q, K and V have zero points.
  EXPECT_EQ(schemes("torch-qat"), (Schemes{kS, kD, kD, kS, kD, kS, kD, kD, kS, kD}));
  EXPECT_THROW(schemes("compressed-tensors"), Error);  // no ranges at all: static needs calibration
}

TEST(ImportStatic, InputsAndScalesAreTheCheckpoints) {
  for (const char* form : {"compressed-tensors-static", "octobert", "pytorch-quantization", "modelopt"}) {
    SCOPED_TRACE(form);
    const Converted converted(form, "static");
    const SafetensorsFile expected(quantized_data(form) / "expected.safetensors");
    const Linear& ffn2 = converted.layer(0).ffn2;
    const float input = values<float>(expected, "layer.0.ffn2.input_scale").at(0);
    const bool has_zero = expected.find("layer.0.ffn2.input_zero") != nullptr;
    const int zero = has_zero ? values<int32_t>(expected, "layer.0.ffn2.input_zero").at(0) : 0;
    EXPECT_EQ(ffn2.input_zero[0], std::max(zero, -127));
    const std::vector<float> pre = Checkpoint(quantized_data(form)).quantization().pre_quant_scale("layer.0.ffn2", 24);
    for (size_t k = 0; k < 24; ++k) {
      EXPECT_FLOAT_EQ(ffn2.input_inv[k], (pre.empty() ? 1.0f : pre[k]) / input);
    }
    const std::vector<float> scale = values<float>(expected, "layer.0.ffn2.scale");
    for (size_t n = 0; n < 16; ++n) EXPECT_FLOAT_EQ(ffn2.scale[n], scale[n] * input);
  }
}

TEST(ImportStatic, AttentionsScalesAreTheCheckpoints) {
  const Converted converted("pytorch-quantization", "static");
  const EncoderLayer& layer = converted.layer(0);  // Q, K and V up to 1.5, 1.75 and 2
  EXPECT_FLOAT_EQ(layer.qkv_output_inv[3], 127.0f / 1.5f);
  EXPECT_FLOAT_EQ(layer.qkv_output_inv[16 + 3], 127.0f / 1.75f);
  EXPECT_FLOAT_EQ(layer.qkv_output_inv[32 + 3], 127.0f / 2.0f);
  EXPECT_FLOAT_EQ(layer.scores_factor[1], 1.5f / 127.0f * 1.75f / 127.0f);
  EXPECT_FLOAT_EQ(layer.value_scale[15], 2.0f / 127.0f);
}

TEST(ImportStatic, SettingsOfACalibrationThatIsNotDoneAreRefused) {
  const TemporaryFolder folder;
  ConvertOptions options = options_for("static");
  options.calibration.samples = 4;
  const std::string message =
      test::error_of([&] { convert(quantized_data("pytorch-quantization"), folder.path() / "m.octo", options); },
                     ErrorCode::kInvalidInput);
  EXPECT_TRUE(test::holds(message, "checkpoint's own ranges")) << message;
  EXPECT_FALSE(std::filesystem::exists(folder.path() / "m.octo"));
}

// The checkpoint of a form, its F32 tensors gone through `edit` (name, values).
using Edit = std::function<void(const std::string&, std::span<float>)>;
void write_edited(const std::string& form, const std::filesystem::path& folder, const Edit& edit) {
  for (const char* file : {"config.json", "vocab.txt"})
    std::filesystem::copy(quantized_data(form) / file, folder / file);
  const SafetensorsFile source(quantized_data(form) / "model.safetensors");
  std::vector<std::vector<std::byte>> bytes;
  std::vector<converter::TensorToWrite> tensors;
  for (const converter::TensorInfo& info : source.tensors()) bytes.push_back(source.read_bytes(info));
  for (size_t i = 0; i < bytes.size(); ++i) {
    const converter::TensorInfo& info = source.tensors()[i];
    if (info.type == DataType::kF32) {
      std::vector<float> floats(bytes[i].size() / sizeof(float));
      std::memcpy(floats.data(), bytes[i].data(), bytes[i].size());
      edit(info.name, floats);
      std::memcpy(bytes[i].data(), floats.data(), bytes[i].size());
    }
    tensors.push_back({info.name, info.type, info.shape, bytes[i]});
  }
  converter::write_safetensors(folder / "model.safetensors", tensors);
}

// What query's, key's and value's input quantizers are called in a form, and that their tensors are multiplied by one
// factor each: ranges, and (ModelOpt) the channels' multipliers, each channel a little more.
struct InputEdit {
  const char* form;
  std::vector<const char*> tensors;
};
Edit scale_inputs(const InputEdit& inputs, std::array<float, 3> factors) {
  return [=](const std::string& name, std::span<float> values) {
    for (size_t part = 0; part < 3; ++part) {
      for (const char* tensor : inputs.tensors) {
        const char* const modules[] = {"query", "key", "value"};
        if (!name.ends_with("self." + std::string(modules[part]) + "." + tensor)) continue;
        for (size_t i = 0; i < values.size(); ++i)
          values[i] *= factors[part] + (factors[part] - 1) * 0.01f * static_cast<float>(i);
      }
    }
  };
}

struct Text {
  std::vector<int32_t> ids = {2, 5, 7, 6, 9, 11, 8, 3}, offsets = {0, 8};
  PackedBatch batch() const { return {.ids = ids, .type_ids = {}, .offsets = offsets}; }
};

std::vector<float> logits_of(const Engine& engine) {
  const Text text;
  Workspace workspace;
  std::vector<float> logits(text.ids.size() * engine.labels().size());
  engine.logits(text.batch(), logits, workspace);
  return logits;
}

// Query, key and value of the first layer, whose input does not depend on any product: [3][tokens][hidden].
std::array<std::vector<float>, 3> first_qkv(const Engine& engine) {
  std::array<std::vector<float>, 3> parts;
  const Observer observer = [&](const Intermediate& i) {
    for (size_t row = 0; i.name == "layer.0.qkv" && row < static_cast<size_t>(i.rows); ++row) {
      for (size_t column = 0; column < static_cast<size_t>(i.columns); ++column) {
        parts[3 * column / static_cast<size_t>(i.columns)].push_back(i.data[row * i.stride + column]);
      }
    }
  };
  const Text text;
  std::vector<float> logits(text.ids.size() * engine.labels().size());
  BertState state;
  forward({.kernels = &EngineAccess::kernels(engine), .observer = &observer}, EngineAccess::model(engine), text.batch(),
          logits, state);
  return parts;
}

class UnequalInputs : public testing::TestWithParam<InputEdit> {
 protected:
  // A checkpoint whose query, key and value have their input quantizers multiplied, converted.
  std::filesystem::path convert_with(std::array<float, 3> factors) {
    const std::filesystem::path folder = folder_.path() / std::to_string(count_++);
    std::filesystem::create_directory(folder);
    write_edited(GetParam().form, folder, scale_inputs(GetParam(), factors));
    report_ = convert(folder, folder / "m.octo", options_for("static"));
    return folder / "m.octo";
  }

  TemporaryFolder folder_;
  ConvertReport report_;
  int count_ = 0;
};

TEST_P(UnequalInputs, AreQuantizedEachInItsOwnWay) {
  constexpr std::array kFactors = {1.0f, 0.6f, 1.7f};
  const Engine split = Engine::open(convert_with(kFactors), {.threads = 1, .verify_all = true});
  for (const EncoderLayer& layer : EngineAccess::model(split).layers) {
    EXPECT_EQ(layer.qkv.scheme, format::Scheme::kStatic);
    EXPECT_EQ(layer.qkv.input_parts, 3);
  }
  for (const std::string& warning : report_.warnings) EXPECT_EQ(warning.find("qkv"), std::string::npos) << warning;
  const auto parts = first_qkv(split);
  ASSERT_EQ(parts[0].size(), Text().ids.size() * 16);
  for (size_t p = 0; p < 3; ++p) {
    const Engine equal = Engine::open(convert_with({kFactors[p], kFactors[p], kFactors[p]}), {.threads = 1});
    EXPECT_EQ(EngineAccess::model(equal).layers[0].qkv.input_parts, 1);
    EXPECT_EQ(first_qkv(equal)[p], parts[p]) << "part " << p;
    EXPECT_NE(first_qkv(equal)[(p + 1) % 3], parts[(p + 1) % 3]) << "part " << p;
  }
}

TEST_P(UnequalInputs, GiveTheSameBitsOnEveryInstructionSet) {
  const std::filesystem::path model = convert_with({1.0f, 0.6f, 1.7f});
  const std::vector<float> expected = logits_of(Engine::open(model, {.threads = 1, .isa = "scalar"}));
  for (const IsaInfo& isa : compiled_isas()) {
    for (const int threads : {1, 3}) {
      if (!isa.available) continue;
      EXPECT_EQ(logits_of(Engine::open(model, {.threads = threads, .isa = isa.name})), expected) << isa.name;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Tools, UnequalInputs,
                         testing::Values(InputEdit{"pytorch-quantization", {"_input_quantizer._amax"}},
                                         InputEdit{"modelopt", {"input_quantizer._amax"}},
                                         InputEdit{"modelopt",
                                                   {"input_quantizer._amax", "input_quantizer._pre_quant_scale"}},
                                         InputEdit{"compressed-tensors-static", {"input_scale"}}),
                         [](const auto& info) { return "form" + std::to_string(info.index); });

TEST(ImportStatic, UnequalInputsOfMatricesThatAreNotWholePanelsMakeTheProductDynamic) {
  TinyCheckpoint checkpoint;  // 12 wide
  for (const auto& [part, amax] : {std::pair{"query", 3.0f}, std::pair{"key", 3.5f}, std::pair{"value", 3.0f}}) {
    const std::string name = "bert.encoder.layer.0.attention.self." + std::string(part) + "._input_quantizer._amax";
    checkpoint.add(name, {1});
    checkpoint.set(name, 0, amax);
  }
  const std::string ffn1 = "bert.encoder.layer.0.intermediate.dense._input_quantizer._amax";
  checkpoint.add(ffn1, {1});
  checkpoint.set(ffn1, 0, 4.0f);
  TemporaryFolder folder;
  checkpoint.write(folder.path());
  const ConvertReport report = convert(folder.path(), folder.path() / "m.octo", options_for("static"));
  const auto names = [](const std::string& warning) { return warning.find("layer.0.qkv") != std::string::npos; };
  EXPECT_TRUE(std::any_of(report.warnings.begin(), report.warnings.end(), names));
  const Engine engine = Engine::open(folder.path() / "m.octo");
  EXPECT_EQ(EngineAccess::model(engine).layers[0].qkv.scheme, format::Scheme::kDynamic);
  EXPECT_EQ(EngineAccess::model(engine).layers[0].ffn1.scheme, format::Scheme::kStatic);
}

}  // namespace
}  // namespace octobert
