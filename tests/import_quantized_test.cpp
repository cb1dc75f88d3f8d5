// Checkpoints that other tools quantized (scripts/goldens/make_quantized_checkpoints.py): their integers and scales
// come through as they are; what is not supported is refused by name.
#include "converter/import_quantized.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <limits>
#include <string>
#include <vector>

#include "converter/checkpoint.h"
#include "converter/convert.h"
#include "converter/model_parts.h"
#include "converter/safetensors.h"
#include "octobert/converter.h"
#include "octobert/error.h"
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
  const Checkpoint checkpoint(quantized_data(GetParam()));
  const SafetensorsFile expected(quantized_data(GetParam()) / "expected.safetensors");
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
  const Checkpoint checkpoint(quantized_data(GetParam()));
  const SafetensorsFile expected(quantized_data(GetParam()) / "expected.safetensors");
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
  const Checkpoint checkpoint(quantized_data(GetParam()));
  converter::LayerFloats layer;
  layer.read(checkpoint, 1);
  for (const converter::LinearFloats* linear : {&layer.qkv, &layer.attention_output, &layer.ffn1, &layer.ffn2}) {
    EXPECT_EQ(linear->given.q.size(), linear->weight.size());
    EXPECT_EQ(linear->given.input_inv.empty(), std::string(GetParam()) != "modelopt");
    for (const int8_t q : linear->given.q) EXPECT_NE(q, -128);
  }
}

TEST(ImportQuantized, AttentionsRanges) {
  const auto& nvidia = Checkpoint(quantized_data("pytorch-quantization"));
  EXPECT_EQ(nvidia.quantization().output("layer.0.query")->scale, 1.5f / 127.0f);
  EXPECT_EQ(nvidia.quantization().output("layer.1.value")->scale, 3.0f / 127.0f);
  EXPECT_FALSE(nvidia.quantization().output("layer.1.ffn1").has_value());
}

std::vector<float> first(const float* values, size_t count) { return {values, values + count}; }

TEST_P(Form, ConvertsToDynamicWithTheScalesAsTheyAre) {
  const Converted converted(GetParam(), "dynamic");
  const SafetensorsFile expected(quantized_data(GetParam()) / "expected.safetensors");
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

TEST(ImportQuantized, TheReportCountsWhatWasReplaced) {
  TemporaryFolder folder;
  const ConvertReport report =
      convert(quantized_data("compressed-tensors"), folder.path() / "m.octo", options_for("dynamic"));
  const SafetensorsFile expected(quantized_data("compressed-tensors") / "expected.safetensors");
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
  for (const float bad : {0.0f, -1.0f, 1e-42f, std::numeric_limits<float>::infinity(), std::nanf("")}) {
    std::vector<float> scales(12, 1.0f);
    scales[7] = bad;
    set_scales(scales, {12});
    EXPECT_NE(read().find("at [7]: expected finite, above 0"), std::string::npos) << read();
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
