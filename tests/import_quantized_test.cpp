// Checkpoints that other tools quantized (scripts/goldens/make_quantized_checkpoints.py): their integers and scales
// come through as they are; what is not supported is refused by name.
#include "converter/import_quantized.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <fstream>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "converter/checkpoint.h"
#include "converter/convert.h"
#include "converter/model_parts.h"
#include "converter/safetensors.h"
#include "engine/bert.h"
#include "engine/engine_access.h"
#include "octobert/converter.h"
#include "octobert/engine.h"
#include "octobert/error.h"
#include "tests/errors.h"
#include "tests/temporary_folder.h"
#include "tests/tiny_checkpoint.h"

namespace octobert {
namespace {

using converter::Checkpoint;
using converter::DataType;
using converter::SafetensorsFile;
using test::TemporaryFolder;
using test::TinyCheckpoint;

std::filesystem::path data(const std::string& form) {
  return std::filesystem::path(OCTOBERT_SOURCE_DIR) / "tests/data/quantized" / form;
}

template <typename T>
std::vector<T> values(const SafetensorsFile& file, const std::string& name) {
  const converter::TensorInfo* info = file.find(name);
  if (!info) throw std::logic_error("no " + name);
  const std::vector<std::byte> bytes = file.read_bytes(*info);
  std::vector<T> result(bytes.size() / sizeof(T));
  std::memcpy(result.data(), bytes.data(), bytes.size());
  return result;
}

std::string message_of(const std::filesystem::path& folder) {
  try {
    const Checkpoint checkpoint(folder);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

class Form : public testing::TestWithParam<const char*> {};

TEST_P(Form, GivesTheIntegersAndScalesThatItsToolChose) {
  const Checkpoint checkpoint(data(GetParam()));
  const SafetensorsFile expected(data(GetParam()) / "expected.safetensors");
  size_t modules = 0, replaced = 0;
  for (const converter::TensorInfo& info : expected.tensors()) {
    if (!info.name.ends_with(".q")) continue;
    const std::string module = info.name.substr(0, info.name.size() - 2);
    SCOPED_TRACE(module);
    ASSERT_TRUE(checkpoint.has_int8(module));
    std::vector<int8_t> q(info.elements);
    std::vector<float> scale(info.shape[0]), floats(info.elements);
    replaced += checkpoint.read_int8(module, q, scale);
    EXPECT_EQ(q, values<int8_t>(expected, info.name));
    EXPECT_EQ(scale, values<float>(expected, module + ".scale"));
    checkpoint.read(module + ".weight", floats);
    EXPECT_EQ(floats, values<float>(expected, module + ".floats"));
    ++modules;
  }
  EXPECT_EQ(modules, 12U);
  EXPECT_FALSE(checkpoint.has_int8("classifier"));
  EXPECT_EQ(replaced, static_cast<size_t>(values<int64_t>(expected, "minus_128").at(0)));
}

TEST_P(Form, GivesTheRangesThatItsToolChose) {
  const Checkpoint checkpoint(data(GetParam()));
  const SafetensorsFile expected(data(GetParam()) / "expected.safetensors");
  size_t ranges = 0;
  for (const converter::TensorInfo& info : expected.tensors()) {
    if (!info.name.ends_with(".input_scale")) continue;
    const std::string module = info.name.substr(0, info.name.find(".input_scale"));
    const auto range = checkpoint.input_range(module);
    ASSERT_TRUE(range.has_value()) << module;
    EXPECT_EQ(range->scale, values<float>(expected, info.name).at(0)) << module;
    const bool has_zero = expected.find(module + ".input_zero") != nullptr;
    EXPECT_EQ(range->zero_point, has_zero ? values<int32_t>(expected, module + ".input_zero").at(0) : 0) << module;
    ++ranges;
  }
  const bool none = std::string(GetParam()) == "compressed-tensors" || std::string(GetParam()) == "torch-converted";
  EXPECT_EQ(ranges == 0, none);
  if (std::string(GetParam()) == "compressed-tensors") {
    EXPECT_FALSE(checkpoint.input_range("layer.0.ffn1").has_value());
  }
}

TEST_P(Form, ReachesTheProductsThatArePacked) {
  const Checkpoint checkpoint(data(GetParam()));
  converter::LayerFloats layer;
  layer.read(checkpoint, 1);
  for (const converter::LinearFloats* linear : {&layer.qkv, &layer.attention_output, &layer.ffn1, &layer.ffn2}) {
    EXPECT_EQ(linear->given.q.size(), linear->weight.size());
    EXPECT_EQ(linear->given.input_inv.empty(), std::string(GetParam()) != "modelopt");
    for (const int8_t q : linear->given.q) EXPECT_NE(q, -128);
  }
}

TEST(ImportQuantized, AttentionsRanges) {
  const auto& nvidia = Checkpoint(data("pytorch-quantization"));
  EXPECT_EQ(nvidia.quantization().output("layer.0.query")->scale, 1.5f / 127.0f);
  EXPECT_EQ(nvidia.quantization().output("layer.1.value")->scale, 3.0f / 127.0f);
  EXPECT_FALSE(nvidia.quantization().output("layer.1.ffn1").has_value());
}

ConvertOptions options_for(const std::string& scheme) {
  ConvertOptions options;
  options.scheme = scheme;
  options.threads = 1;
  return options;
}

struct Converted {
  Converted(const std::string& form, const std::string& scheme)
      : bytes(converter::convert_to_memory(data(form), options_for(scheme))),
        engine(Engine::open_memory(bytes, {.threads = 1})) {}
  const EncoderLayer& layer(size_t index) const { return EngineAccess::model(engine).layers[index]; }

  std::vector<std::byte> bytes;
  Engine engine;
};

std::vector<float> first(const float* values, size_t count) { return {values, values + count}; }

TEST_P(Form, ConvertsToDynamicWithTheScalesAsTheyAre) {
  const Converted converted(GetParam(), "dynamic");
  const SafetensorsFile expected(data(GetParam()) / "expected.safetensors");
  EXPECT_EQ(first(converted.layer(1).ffn2.scale, 16), values<float>(expected, "layer.1.ffn2.scale"));
  std::vector<float> qkv;
  for (const char* part : {"query", "key", "value"}) {
    const auto scales = values<float>(expected, std::string("layer.1.") + part + ".scale");
    qkv.insert(qkv.end(), scales.begin(), scales.end());
  }
  EXPECT_EQ(first(converted.layer(1).qkv.scale, 48), qkv);
}

INSTANTIATE_TEST_SUITE_P(Tools, Form,
                         testing::Values("compressed-tensors", "compressed-tensors-static", "pytorch-quantization",
                                         "modelopt", "torch-qat", "torch-converted", "octobert"),
                         [](const auto& info) {
                           std::string name = info.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

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
    const SafetensorsFile expected(data(form) / "expected.safetensors");
    const Linear& ffn2 = converted.layer(0).ffn2;
    const float input = values<float>(expected, "layer.0.ffn2.input_scale").at(0);
    const bool has_zero = expected.find("layer.0.ffn2.input_zero") != nullptr;
    const int zero = has_zero ? values<int32_t>(expected, "layer.0.ffn2.input_zero").at(0) : 0;
    EXPECT_EQ(ffn2.input_zero[0], std::max(zero, -127));
    const std::vector<float> pre = Checkpoint(data(form)).quantization().pre_quant_scale("layer.0.ffn2", 24);
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
  const std::string message = test::error_of(
      [&] { convert(data("pytorch-quantization"), folder.path() / "m.octo", options); }, ErrorCode::kInvalidInput);
  EXPECT_TRUE(test::holds(message, "checkpoint's own ranges")) << message;
  EXPECT_FALSE(std::filesystem::exists(folder.path() / "m.octo"));
}

// The checkpoint of a form, its F32 tensors gone through `edit` (name, values).
using Edit = std::function<void(const std::string&, std::span<float>)>;
void write_edited(const std::string& form, const std::filesystem::path& folder, const Edit& edit) {
  for (const char* file : {"config.json", "vocab.txt"}) std::filesystem::copy(data(form) / file, folder / file);
  const SafetensorsFile source(data(form) / "model.safetensors");
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

TEST(ImportQuantized, TheReportCountsWhatWasReplaced) {
  TemporaryFolder folder;
  const ConvertReport report = convert(data("compressed-tensors"), folder.path() / "m.octo", options_for("dynamic"));
  const SafetensorsFile expected(data("compressed-tensors") / "expected.safetensors");
  EXPECT_GT(report.minus_128_replaced, 0U);
  EXPECT_EQ(report.minus_128_replaced, static_cast<size_t>(values<int64_t>(expected, "minus_128").at(0)));
}

nlohmann::json compressed_config() {
  return {{"quant_method", "compressed-tensors"},
          {"format", "int-quantized"},
          {"config_groups",
           {{"group_0",
             {{"targets", {"Linear"}},
              {"weights", {{"num_bits", 8}, {"type", "int"}, {"symmetric", true}, {"strategy", "channel"}}},
              {"input_activations", {{"num_bits", 8}, {"type", "int"}, {"strategy", "token"}, {"dynamic", true}}}}}}}};
}

TEST(ImportQuantized, ConfigurationsThatMeanSomethingElseAreRefused) {
  const auto refused = [](const char* pointer, const nlohmann::json& value) {
    TinyCheckpoint checkpoint;
    checkpoint.config["quantization_config"] = compressed_config();
    checkpoint.config["quantization_config"][nlohmann::json::json_pointer(pointer)] = value;
    const TemporaryFolder folder;
    checkpoint.write(folder.path());
    return message_of(folder.path());
  };
  EXPECT_EQ(refused("/config_groups/group_0/targets", {"Linear"}), "");
  EXPECT_NE(refused("/quant_method", "gptq").find("quant_method: \"gptq\""), std::string::npos);
  EXPECT_NE(refused("/format", "pack-quantized").find("format: \"pack-quantized\""), std::string::npos);
  EXPECT_NE(refused("/config_groups/group_0/weights/num_bits", 4).find("weights.num_bits: 4"), std::string::npos);
  EXPECT_NE(refused("/config_groups/group_0/weights/type", "float").find("weights.type"), std::string::npos);
  EXPECT_NE(refused("/config_groups/group_0/weights/symmetric", false).find("symmetric"), std::string::npos);
  EXPECT_NE(refused("/config_groups/group_0/weights/strategy", "group").find("strategy"), std::string::npos);
  EXPECT_NE(refused("/config_groups", nlohmann::json::array()).find("config_groups"), std::string::npos);
  EXPECT_NE(refused("/kv_cache_scheme", {{"num_bits", 8}}).find("kv_cache_scheme"), std::string::npos);
}

const std::string kQuery = "bert.encoder.layer.0.attention.self.query";

// A checkpoint of one more tensor, or of int8 weights with `scale`.
std::string message_with(const std::string& name, std::vector<uint64_t> shape, DataType type = DataType::kF32) {
  TinyCheckpoint checkpoint;
  checkpoint.add(name, std::move(shape), type);
  const TemporaryFolder folder;
  checkpoint.write(folder.path());
  return message_of(folder.path());
}

TEST(ImportQuantized, OtherToolsAreRefusedByName) {
  const auto refuses = [](const std::string& tensor, const std::string& tool) {
    const std::string message = message_with(tensor, {1});
    EXPECT_NE(message.find(tool), std::string::npos) << message;
    EXPECT_NE(message.find("not supported by this version"), std::string::npos) << message;
  };
  refuses("__nncf_hooks.post_hooks.bert:encoder__0.0.scale", "NNCF");
  refuses("nncf_module." + kQuery + ".pre_ops.0.op.scale", "NNCF");
  refuses(kQuery + ".weight_quant.tensor_quant.scaling_impl.value", "Brevitas");
  refuses(kQuery + ".input_quant.fused_activation_quant_proxy.tensor_quant.scaling_impl.value", "Brevitas");
  refuses(kQuery + ".qweight", "GPTQ");
  refuses(kQuery + ".weight_packed", "packed");
  const TemporaryFolder folder;
  TinyCheckpoint().write_config(folder.path());
  std::ofstream(folder.path() / "model.onnx") << "x";
  EXPECT_NE(message_of(folder.path()).find("ONNX"), std::string::npos);
}

TEST(ImportQuantized, QuantizersOfNothingAreNamed) {
  EXPECT_NE(message_with("bert.encoder.layer.7.output.dense.weight_scale", {12, 1}).find("layer.7"), std::string::npos);
  EXPECT_NE(message_with("bert.encoder.layer.0.nonsense._input_quantizer._amax", {}).find("nonsense"),
            std::string::npos);
  EXPECT_EQ(message_with("bert.pooler.dense.weight_scale", {12, 1}), "");
}

class Int8Matrix : public testing::Test {
 protected:
  Int8Matrix() {
    checkpoint_.config["quantization_config"] = compressed_config();
    checkpoint_.add(kQuery + ".weight", {12, 12}, DataType::kI8);
    checkpoint_.tensors[kQuery + ".weight"].bytes.assign(144, std::byte{0x80});  // -128
    set_scales(std::vector<float>(12, 0.5f), {12, 1});
  }
  void set_scales(const std::vector<float>& scales, std::vector<uint64_t> shape) {
    test::TinyTensor tensor{DataType::kF32, std::move(shape), std::vector<std::byte>(scales.size() * sizeof(float))};
    std::memcpy(tensor.bytes.data(), scales.data(), tensor.bytes.size());
    checkpoint_.tensors[kQuery + ".weight_scale"] = std::move(tensor);
  }
  // What reading says; the integers and floats are in q_ and floats_.
  std::string read() {
    checkpoint_.write(folder_.path());
    try {
      const Checkpoint checkpoint(folder_.path());
      replaced_ = checkpoint.read_int8("layer.0.query", q_, scale_);
      checkpoint.read("layer.0.query.weight", floats_);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  }

  TinyCheckpoint checkpoint_;
  TemporaryFolder folder_;
  std::vector<int8_t> q_ = std::vector<int8_t>(144);
  std::vector<float> scale_ = std::vector<float>(12), floats_ = std::vector<float>(144);
  size_t replaced_ = 0;
};

TEST_F(Int8Matrix, Minus128BecomesMinus127AndIsCountedWhileTheFloatsKeepIt) {
  EXPECT_EQ(read(), "");
  EXPECT_EQ(q_, std::vector<int8_t>(144, -127));
  EXPECT_EQ(replaced_, 144U);
  EXPECT_EQ(floats_, std::vector<float>(144, -64.0f));
}

TEST_F(Int8Matrix, OneScaleForAll) {
  set_scales({0.25f}, {1});
  EXPECT_EQ(read(), "");
  EXPECT_EQ(scale_, std::vector<float>(12, 0.25f));
}

TEST_F(Int8Matrix, ScalesMustBeThereInShapeFiniteAndPositive) {
  set_scales({1, 2, 3}, {3});
  EXPECT_NE(read().find("expected 1 or 12 values, found shape [3]"), std::string::npos) << read();
  for (const float bad : {0.0f, -1.0f, std::numeric_limits<float>::infinity(), std::nanf("")}) {
    std::vector<float> scales(12, 1.0f);
    scales[7] = bad;
    set_scales(scales, {12});
    EXPECT_NE(read().find("at [7]: expected finite and above 0"), std::string::npos) << read();
  }
  checkpoint_.tensors.erase(kQuery + ".weight_scale");
  EXPECT_NE(read().find("without a weight_scale"), std::string::npos) << read();
}

TEST_F(Int8Matrix, ZeroPointsOfWeights) {
  checkpoint_.add(kQuery + ".weight_zero_point", {12, 1}, DataType::kI8);
  auto& bytes = checkpoint_.tensors[kQuery + ".weight_zero_point"].bytes;
  std::fill(bytes.begin(), bytes.end(), std::byte{0});
  EXPECT_EQ(read(), "");
  bytes[3] = std::byte{1};
  EXPECT_NE(read().find("zero point other than 0"), std::string::npos) << read();
}

TEST(ImportQuantized, Int8EmbeddingsAreRefused) {
  TinyCheckpoint checkpoint;
  checkpoint.add("bert.embeddings.word_embeddings.weight", {checkpoint.vocabulary.size(), 12}, DataType::kI8);
  const TemporaryFolder folder;
  checkpoint.write(folder.path());
  EXPECT_NE(message_of(folder.path()).find("expected F32, F16, BF16 or F64, found I8"), std::string::npos);
}

}  // namespace
}  // namespace octobert
