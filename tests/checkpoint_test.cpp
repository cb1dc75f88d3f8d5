// Checkpoint folders: every form that is read, every fault that is refused, and what the message says of it.
#include "converter/checkpoint.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>

#include "converter/json.h"
#include "kernels/kernels.h"
#include "octobert/error.h"
#include "tests/temporary_folder.h"
#include "tests/tiny_checkpoint.h"

namespace octobert::converter {
namespace {

using nlohmann::json;
using test::TemporaryFolder;
using test::TinyCheckpoint;
using test::write_file;

constexpr const char* kDense = "bert.encoder.layer.1.output.dense.weight";

std::vector<float> all_values(const Checkpoint& checkpoint) {
  std::vector<float> values;
  const auto read = [&](const std::string& name, size_t size) {
    std::vector<float> tensor(size);
    checkpoint.read(name, tensor);
    values.insert(values.end(), tensor.begin(), tensor.end());
  };
  const format::ModelConfig& c = checkpoint.config();
  const size_t d = c.hidden_size, inner = c.intermediate_size;
  read("embeddings.word", c.vocab_size * d);
  read("embeddings.position", c.max_positions * d);
  read("embeddings.type", c.type_count * d);
  read("embeddings.norm.gamma", d);
  read("embeddings.norm.beta", d);
  for (uint32_t i = 0; i < c.layer_count; ++i) {
    const std::string layer = "layer." + std::to_string(i);
    for (const char* part : {".query", ".key", ".value", ".attention_output"}) {
      read(layer + part + ".weight", d * d);
      read(layer + part + ".bias", d);
    }
    read(layer + ".ffn1.weight", d * inner);
    read(layer + ".ffn1.bias", inner);
    read(layer + ".ffn2.weight", d * inner);
    read(layer + ".ffn2.bias", d);
    for (const char* norm : {".attention_norm", ".ffn_norm"}) {
      read(layer + norm + ".gamma", d);
      read(layer + norm + ".beta", d);
    }
  }
  read("classifier.weight", c.label_count * d);
  read("classifier.bias", c.label_count);
  return values;
}

// All weights of a tiny checkpoint after a change that must not matter.
std::vector<float> values_after(const std::function<void(TinyCheckpoint&)>& change) {
  const TemporaryFolder folder;
  TinyCheckpoint tiny;
  change(tiny);
  tiny.write(folder.path());
  return all_values(Checkpoint(folder.path()));
}

std::string error_of(const std::filesystem::path& folder, ErrorCode code, const std::filesystem::path& labels = {}) {
  try {
    all_values(Checkpoint(folder, labels));
    return "no error";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), code) << e.what();
    return e.what();
  }
}

std::string error_after(const std::function<void(TinyCheckpoint&)>& change, ErrorCode code = ErrorCode::kFormat) {
  const TemporaryFolder folder;
  TinyCheckpoint tiny;
  change(tiny);
  tiny.write(folder.path());
  return error_of(folder.path(), code);
}

// The message must name all of these.
void expect_names(const std::string& message, const std::vector<std::string>& parts) {
  for (const std::string& part : parts)
    EXPECT_NE(message.find(part), std::string::npos) << message << "\nlacks " << part;
}

TEST(Checkpoint, Config) {
  const TemporaryFolder folder;
  TinyCheckpoint().write(folder.path());
  const Checkpoint checkpoint(folder.path());
  const format::ModelConfig& config = checkpoint.config();
  EXPECT_EQ(config.hidden_size, 12U);
  EXPECT_EQ(config.layer_count, 2U);
  EXPECT_EQ(config.head_count, 3U);
  EXPECT_EQ(config.intermediate_size, 20U);
  EXPECT_EQ(config.max_positions, 32U);
  EXPECT_EQ(config.type_count, 2U);
  EXPECT_EQ(config.label_count, 3U);
  EXPECT_EQ(config.activation, static_cast<uint32_t>(Activation::kGelu));
  EXPECT_EQ(config.layer_norm_eps, 1e-12f);
  EXPECT_EQ(checkpoint.labels(), (std::vector<std::string>{"O", "B-PER", "I-PER"}));
  EXPECT_EQ(checkpoint.files(), (std::vector<std::string>{"config.json", "model.safetensors"}));
  EXPECT_TRUE(checkpoint.warnings().empty());
}

TEST(Checkpoint, NamesThatMeanTheSame) {
  const std::vector<float> expected = values_after([](TinyCheckpoint&) {});
  const auto with_prefix = [](const std::string& prefix, bool for_classifier) {
    return [=](TinyCheckpoint& tiny) {
      tiny.rename_all([&](const std::string& name) {
        const bool is_classifier = name.starts_with("classifier");
        if (is_classifier) return for_classifier ? prefix + name : name;
        return prefix + name.substr(5);  // without "bert."
      });
    };
  };
  for (const char* prefix :
       {"", "bert.", "model.bert.", "module.bert.", "module.", "model.", "module.model.bert.", "model.module.bert."}) {
    EXPECT_EQ(values_after(with_prefix(prefix, false)), expected) << prefix;
  }
  EXPECT_EQ(values_after(with_prefix("module.", true)), expected);
  EXPECT_EQ(values_after(with_prefix("model.", true)), expected);
  EXPECT_EQ(values_after([](TinyCheckpoint& tiny) {
              tiny.rename_all([](std::string name) {
                if (const size_t at = name.find("LayerNorm.weight"); at != std::string::npos) {
                  return name.replace(at, std::string::npos, "LayerNorm.gamma");
                }
                if (const size_t at = name.find("LayerNorm.bias"); at != std::string::npos) {
                  return name.replace(at, std::string::npos, "LayerNorm.beta");
                }
                return name;
              });
            }),
            expected);
}

TEST(Checkpoint, TensorsThatATokenClassifierDoesNotUse) {
  const std::vector<float> expected = values_after([](TinyCheckpoint&) {});
  EXPECT_EQ(values_after([](TinyCheckpoint& tiny) {
              tiny.add("bert.embeddings.position_ids", {1, 32}, DataType::kI64);
              tiny.add("bert.embeddings.token_type_ids", {1, 32}, DataType::kI64);
              tiny.add("bert.pooler.dense.weight", {12, 12});
              tiny.add("pooler.dense.bias", {12});
              tiny.add("cls.predictions.bias", {66});
              tiny.add("cls.seq_relationship.weight", {2, 12});
            }),
            expected);
}

TEST(Checkpoint, TypesOfFloats) {
  const std::vector<float> expected = values_after([](TinyCheckpoint&) {});
  for (const DataType type : {DataType::kF16, DataType::kBF16, DataType::kF64}) {
    EXPECT_EQ(values_after([type](TinyCheckpoint& tiny) { tiny.convert_to(type); }), expected) << data_type_name(type);
  }
}

TEST(Checkpoint, Shards) {
  const std::vector<float> expected = values_after([](TinyCheckpoint&) {});
  const TemporaryFolder folder;
  const TinyCheckpoint tiny;
  tiny.write_config(folder.path());
  std::vector<std::string> shards[2];
  json index = {{"metadata", {{"total_size", 1}}}, {"weight_map", json::object()}};
  size_t n = 0;
  for (const std::string& name : tiny.names()) {
    const std::string file = n % 2 == 0 ? "a.safetensors" : "b.safetensors";
    index["weight_map"][name] = file;
    shards[n++ % 2].push_back(name);
  }
  tiny.write_tensors(folder / "a.safetensors", shards[0]);
  tiny.write_tensors(folder / "b.safetensors", shards[1]);
  const auto write_index = [&](const json& content) {
    write_file(folder / "model.safetensors.index.json", content.dump());
  };
  write_index(index);
  EXPECT_EQ(all_values(Checkpoint(folder.path())), expected);
  EXPECT_EQ(Checkpoint(folder.path()).files(), (std::vector<std::string>{"config.json", "model.safetensors.index.json",
                                                                         "a.safetensors", "b.safetensors"}));

  for (const char* bad : {"../a.safetensors", "/etc/passwd", "x/a.safetensors", "..", ".", "", "x\\a", "a..b", "C:a"}) {
    json spoiled = index;
    spoiled["weight_map"]["classifier.bias"] = bad;
    write_index(spoiled);
    expect_names(error_of(folder.path(), ErrorCode::kFormat), {"index.json", "weight_map", bad});
  }
  json spoiled = index;
  spoiled["weight_map"]["classifier.bias"] = "absent.safetensors";
  write_index(spoiled);
  expect_names(error_of(folder.path(), ErrorCode::kIo), {"absent.safetensors"});
  spoiled["weight_map"]["classifier.bias"] = 1;
  write_index(spoiled);
  expect_names(error_of(folder.path(), ErrorCode::kFormat), {"index.json", "classifier.bias"});
  spoiled = index;
  spoiled["weight_map"].erase("classifier.bias");
  write_index(spoiled);
  expect_names(error_of(folder.path(), ErrorCode::kFormat), {"classifier.bias", "nowhere"});
  spoiled = index;
  spoiled["weight_map"]["more"] = "b.safetensors";
  write_index(spoiled);
  expect_names(error_of(folder.path(), ErrorCode::kFormat), {"b.safetensors", "'more' is missing"});
  spoiled = index;
  std::swap(spoiled["weight_map"][shards[0][0]], spoiled["weight_map"][shards[1][0]]);
  write_index(spoiled);
  expect_names(error_of(folder.path(), ErrorCode::kFormat), {"says that it is in"});
  for (const char* bad : {"{}", R"({"weight_map":{}})", R"({"weight_map":[]})", "[]", "{"}) {
    write_file(folder / "model.safetensors.index.json", bad);
    expect_names(error_of(folder.path(), ErrorCode::kFormat), {"model.safetensors.index.json"});
  }
  write_file(folder / "model.safetensors.index.json", R"({"weight_map":{"a":"a.safetensors","a":"b.safetensors"}})");
  expect_names(error_of(folder.path(), ErrorCode::kFormat), {"'a' appears twice"});
}

TEST(Checkpoint, FoldersThatAreNot) {
  const TemporaryFolder folder;
  expect_names(error_of(folder / "absent", ErrorCode::kIo), {"absent", "not a folder"});
  write_file(folder / "file", "");
  expect_names(error_of(folder / "file", ErrorCode::kIo), {"file", "not a folder"});
  expect_names(error_of(folder.path(), ErrorCode::kIo), {"config.json"});
  const TinyCheckpoint tiny;
  tiny.write_config(folder.path());
  expect_names(error_of(folder.path(), ErrorCode::kIo), {"no weights", "model.safetensors"});
  for (const char* other : {"tf_model.h5", "flax_model.msgpack"}) {
    write_file(folder / other, "");
    expect_names(error_of(folder.path(), ErrorCode::kUnsupported), {other, "model.safetensors", "save_pretrained"});
    std::filesystem::remove(folder / other);
  }
  for (const char* other : {"pytorch_model.bin.index.json", "pytorch_model.bin"}) {  // read, and damaged
    write_file(folder / other, "");
    expect_names(error_of(folder.path(), ErrorCode::kFormat), {other});
    std::filesystem::remove(folder / other);
  }
}

TEST(Checkpoint, TensorsThatAreWrong) {
  expect_names(error_after([](TinyCheckpoint& t) { t.tensors.erase(kDense); }),
               {"model.safetensors", "encoder.layer.1.output.dense.weight", "missing", "F32", "hidden_size = 12",
                "intermediate_size = 20"});
  expect_names(error_after([](TinyCheckpoint& t) {
                 t.add("bert.encoder.layer.2.output.dense.weight", {12, 20});
               }),
               {"bert.encoder.layer.2.output.dense.weight", "not part", "[12, 20]", "2 layers"});
  expect_names(error_after([](TinyCheckpoint& t) {
                 t.add("crf.transitions", {3, 3});
               }),
               {"crf.transitions", "not part"});
  expect_names(error_after([](TinyCheckpoint& t) {
                 t.add(kDense, {20, 12});
               }),
               {kDense, "[hidden_size = 12, intermediate_size = 20]", "[20, 12]"});
  expect_names(error_after([](TinyCheckpoint& t) { t.add(kDense, {240}); }), {kDense, "[240]"});
  expect_names(error_after([](TinyCheckpoint& t) { t.add(kDense, {12, 20}, DataType::kI8); }), {kDense, "F32", "I8"});
  expect_names(error_after([](TinyCheckpoint& t) {
                 t.add("encoder.layer.1.output.dense.weight", {12, 20});
               }),
               {kDense, "'encoder.layer.1.output.dense.weight'", "both"});
  expect_names(error_after([](TinyCheckpoint& t) { t.add("bert.embeddings.LayerNorm.gamma", {12}); }),
               {"LayerNorm.gamma", "LayerNorm.weight", "both"});
  expect_names(error_after([](TinyCheckpoint& t) { t.config["vocab_size"] = 65; }),
               {"word_embeddings", "vocab_size = 65", "[66, 12]"});
  expect_names(error_after([](TinyCheckpoint& t) { t.config["max_position_embeddings"] = 31; }),
               {"position_embeddings", "max_position_embeddings = 31", "[32, 12]"});
}

TEST(Checkpoint, LabelsThatAreNotTheClassifiers) {
  expect_names(error_after([](TinyCheckpoint& t) { t.config["id2label"].erase("2"); }),
               {"classifier", "labels = 2", "[3", "config.json", "id2label"});
  expect_names(error_after([](TinyCheckpoint& t) { t.config.erase("id2label"); }), {"classifier", "labels = 2", "[3"});
  const TemporaryFolder folder;
  TinyCheckpoint().write(folder.path());
  write_file(folder / "names", "A\nB\n");
  expect_names(error_of(folder.path(), ErrorCode::kFormat, folder / "names"), {"classifier", "labels = 2", "names"});
}

TEST(Checkpoint, ValuesThatAreNotFinite) {
  constexpr float kNaN = std::numeric_limits<float>::quiet_NaN(), kInf = std::numeric_limits<float>::infinity();
  expect_names(error_after([](TinyCheckpoint& t) { t.set(kDense, 25, kNaN); }), {kDense, "nan", "[1, 5]"});
  expect_names(error_after([](TinyCheckpoint& t) { t.set("classifier.bias", 2, -kInf); }),
               {"classifier.bias", "-inf", "at [2]"});
  expect_names(
      error_after([](TinyCheckpoint& t) { t.set("bert.embeddings.word_embeddings.weight", 65 * 12 + 11, kInf); }),
      {"word_embeddings", "[65, 11]"});
  const double too_large = 1e39;
  const auto spoil = [&](TinyCheckpoint& t) {
    t.convert_to(DataType::kF64);
    std::memcpy(t.tensors.at("classifier.bias").bytes.data() + 8, &too_large, sizeof(too_large));
  };
  expect_names(error_after(spoil), {"classifier.bias", "at [1]", "in fp32"});
  // Large, tiny and negative zero are values like any other.
  EXPECT_EQ(values_after([](TinyCheckpoint& t) {
              t.set("classifier.bias", 0, std::numeric_limits<float>::max());
              t.set("classifier.bias", 1, std::numeric_limits<float>::denorm_min());
            }).end()[-2],
            std::numeric_limits<float>::denorm_min());
}

TEST(CheckpointConfig, OtherFamiliesAndHeads) {
  const auto with_type = [](const char* type) {
    return error_after([type](TinyCheckpoint& t) { t.config["model_type"] = type; }, ErrorCode::kUnsupported);
  };
  for (const char* type : {"distilbert", "roberta", "xlm-roberta", "electra", "albert", "deberta-v2", "modernbert"}) {
    expect_names(with_type(type), {"config.json", type, "bert"});
  }
  for (const char* head : {"BertForSequenceClassification", "BertForMaskedLM", "BertModel", "BertCrf"}) {
    expect_names(
        error_after([head](TinyCheckpoint& t) { t.config["architectures"] = {head}; }, ErrorCode::kUnsupported),
        {"architectures", "BertForTokenClassification", head});
  }
  // Older files say less.
  const std::vector<float> expected = values_after([](TinyCheckpoint&) {});
  EXPECT_EQ(values_after([](TinyCheckpoint& t) { t.config.erase("model_type"); }), expected);
  EXPECT_EQ(values_after([](TinyCheckpoint& t) { t.config.erase("architectures"); }), expected);
  EXPECT_EQ(values_after([](TinyCheckpoint& t) {
              t.config.erase("architectures");
              t.config.erase("model_type");
            }),
            expected);
  expect_names(error_after(
                   [](TinyCheckpoint& t) {
                     t.config.erase("model_type");
                     t.config["architectures"] = {"DistilBertForTokenClassification"};
                   },
                   ErrorCode::kUnsupported),
               {"DistilBert"});
  expect_names(error_after([](TinyCheckpoint& t) { t.config["model_type"] = 7; }), {"model_type", "7"});
  expect_names(error_after([](TinyCheckpoint& t) { t.config["architectures"] = "Bert"; }), {"architectures"});
  expect_names(error_after([](TinyCheckpoint& t) { t.config["architectures"] = {1}; }), {"architectures"});
}

TEST(CheckpointConfig, OtherFunctions) {
  const auto refused = [](const char* key, const json& value) {
    const std::string message = error_after([&](TinyCheckpoint& t) { t.config[key] = value; }, ErrorCode::kUnsupported);
    expect_names(message, {"config.json", key, value.is_string() ? value.get<std::string>() : value.dump()});
  };
  refused("position_embedding_type", "relative_key");
  refused("position_embedding_type", "relative_key_query");
  refused("is_decoder", true);
  refused("add_cross_attention", true);
  refused("pruned_heads", {{"0", {1, 2}}});
  for (const char* name : {"quick_gelu", "gelu_10", "silu", "swish", "tanh", "mish", "relu2", "GELU", ""}) {
    refused("hidden_act", name);
  }
  refused("hidden_act", 1);
  const std::vector<float> expected = values_after([](TinyCheckpoint&) {});
  EXPECT_EQ(values_after([](TinyCheckpoint& t) {
              t.config["is_decoder"] = false;
              t.config["pruned_heads"] = json::object();
              t.config["quantization_config"] = nullptr;
              t.config["position_embedding_type"] = "absolute";
            }),
            expected);
}

TEST(CheckpointConfig, Activations) {
  const auto activation = [](const json& name) {
    const TemporaryFolder folder;
    TinyCheckpoint tiny;
    if (name.is_null()) {
      tiny.config.erase("hidden_act");
    } else {
      tiny.config["hidden_act"] = name;
    }
    tiny.write(folder.path());
    return static_cast<Activation>(Checkpoint(folder.path()).config().activation);
  };
  EXPECT_EQ(activation(nullptr), Activation::kGelu);
  for (const char* name : {"gelu", "gelu_python"}) EXPECT_EQ(activation(name), Activation::kGelu);
  for (const char* name : {"gelu_new", "gelu_pytorch_tanh", "gelu_python_tanh", "gelu_fast", "gelu_accurate"}) {
    EXPECT_EQ(activation(name), Activation::kGeluTanh);
  }
  EXPECT_EQ(activation("relu"), Activation::kRelu);
}

TEST(CheckpointConfig, ValuesOfTheWrongKind) {
  for (const char* key : {"vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size",
                          "max_position_embeddings", "type_vocab_size"}) {
    for (const json& bad :
         {json(0), json(-1), json(1.5), json("12"), json(true), json(uint64_t{1} << 40), json::array()}) {
      expect_names(error_after([&](TinyCheckpoint& t) { t.config[key] = bad; }), {"config.json", key, bad.dump()});
    }
  }
  for (const json& bad : {json(-1e-12), json("1e-12"), json(1e60), json(false), json::array()}) {
    expect_names(error_after([&](TinyCheckpoint& t) { t.config["layer_norm_eps"] = bad; }),
                 {"layer_norm_eps", bad.dump()});
  }
  expect_names(error_after([](TinyCheckpoint& t) { t.config["num_attention_heads"] = 5; }),
               {"num_attention_heads", "divisor", "12", "5"});
  // Defaults are the reference's: a file without the key means 12 heads.
  expect_names(error_after([](TinyCheckpoint& t) { t.config.erase("hidden_size"); }), {"hidden_size = 768"});
  EXPECT_EQ(values_after([](TinyCheckpoint& t) {
              t.config.erase("layer_norm_eps");
              t.config.erase("type_vocab_size");
            }),
            values_after([](TinyCheckpoint&) {}));
}

TEST(CheckpointConfig, JsonThatIsNot) {
  const TemporaryFolder folder;
  TinyCheckpoint().write(folder.path());
  for (const char* bad : {"", "{", "[]", "null", "7", "{\"a\":}", "{\"a\":\"\xff\"}", "{\"a\":1,\"a\":2}",
                          "{\"x\":{\"\":1,\"\":2}}", "{} {}"}) {
    write_file(folder / "config.json", bad);
    expect_names(error_of(folder.path(), ErrorCode::kFormat), {"config.json"});
  }
  // Depth costs memory, not stack.
  write_file(folder / "config.json", std::string(1'000'000, '['));
  expect_names(error_of(folder.path(), ErrorCode::kFormat), {"config.json"});
  write_file(folder / "large", std::string(100, ' '));
  EXPECT_THROW(read_text_file(folder / "large", 99), Error);
  EXPECT_EQ(read_text_file(folder / "large", 100).size(), 100U);
}

}  // namespace
}  // namespace octobert::converter
