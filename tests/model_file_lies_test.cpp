// Packed files with right checksums whose content is wrong, field by field.
#include <gtest/gtest.h>

#include <cctype>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>

#include "tests/model_file_test_util.h"

namespace octobert::test {
namespace {

using format::SectionType;

// One field after the other says something else, with every checksum right.
struct Lie {
  const char* name;
  std::function<void(PackedImage&)> tell;
  const char* message;
  ErrorCode code = ErrorCode::kFormat;
};

std::vector<Lie> header_lies() {
  return {
      {"magic", [](PackedImage& i) { i.header().magic[0] = 'X'; }, "OCTOBERT"},
      {"version 0", [](PackedImage& i) { i.header().format_version = 0; }, "version 0"},
      {"newer version", [](PackedImage& i) { i.header().format_version = 2; }, "format version 2 is newer",
       ErrorCode::kUnsupported},
      {"numerics", [](PackedImage& i) { i.header().numerics_version = 77; }, "convert again", ErrorCode::kUnsupported},
      {"header size", [](PackedImage& i) { i.header().header_size = 128; }, "header_size 128"},
      {"reserved", [](PackedImage& i) { i.header().reserved[3] = 1; }, "reserved"},
      {"file size", [](PackedImage& i) { i.header().file_size -= 1; }, "file_size"},
      {"sections", [](PackedImage& i) { i.header().section_count = 4097; }, "section_count 4097"},
      {"many sections", [](PackedImage& i) { i.header().section_count = 0xffffffff; }, "section_count"},
      {"too few sections", [](PackedImage& i) { i.header().section_count = 1; }, "no section of type labels"},
      {"no sections", [](PackedImage& i) { i.header().section_count = 0; }, "no section of type config"},
  };
}

std::vector<Lie> section_lies() {
  return {
      {"offset outside", [](PackedImage& i) { i.section("labels").offset = uint64_t{1} << 40; }, "outside the file"},
      {"offset wraps", [](PackedImage& i) { i.section("labels").offset = ~uint64_t{63}; }, "outside the file"},
      {"size outside", [](PackedImage& i) { i.section("layer.0").size = uint64_t{1} << 40; }, "outside the file"},
      {"size wraps", [](PackedImage& i) { i.section("layer.0").size = ~uint64_t{0}; }, "outside the file"},
      {"unaligned", [](PackedImage& i) { i.section("labels").offset += 4; }, "not aligned"},
      {"overlaps the header", [](PackedImage& i) { i.section("labels").offset = 0; }, "overlaps section table"},
      {"overlaps the table", [](PackedImage& i) { i.section("labels").offset = 64; }, "overlaps section table"},
      {"overlaps a section", [](PackedImage& i) { i.section("tokenizer").offset = i.section("labels").offset; },
       "overlaps section"},
      {"contains a section", [](PackedImage& i) { i.section("labels").size += 64; }, "overlaps section 'labels'"},
      {"name without end", [](PackedImage& i) { std::memset(i.section("labels").name, 'x', 32); }, "printable"},
      {"name with an escape", [](PackedImage& i) { i.section("labels").name[1] = '\x1b'; }, "printable"},
      {"name with a tail", [](PackedImage& i) { i.section("labels").name[20] = 'x'; }, "printable"},
      {"no name", [](PackedImage& i) { std::memset(i.section("labels").name, 0, 32); }, "printable"},
      {"unknown flag", [](PackedImage& i) { i.section("labels").flags |= 2; }, "unknown flags"},
      {"unknown required type",
       [](PackedImage& i) {
         i.section("provenance").type = 1000;
         i.section("provenance").flags = 1;
       },
       "section 'provenance' has type 1000", ErrorCode::kUnsupported},
      {"two of a type",
       [](PackedImage& i) { i.section("provenance").type = static_cast<uint32_t>(SectionType::kLabels); },
       "two sections of type labels"},
      {"no tokenizer", [](PackedImage& i) { i.section("tokenizer").type = 99, i.section("tokenizer").flags = 0; },
       "no section of type tokenizer"},
      {"no products", [](PackedImage& i) { i.section("products").type = 99, i.section("products").flags = 0; },
       "no section of type products"},
      {"no tensors", [](PackedImage& i) { i.section("tensors").type = 99, i.section("tensors").flags = 0; },
       "no section of type tensors"},
  };
}

Lie config_lie(const char* name, uint32_t format::ModelConfig::*field, uint32_t value, const char* message,
               ErrorCode code = ErrorCode::kFormat) {
  return {name, [=](PackedImage& i) { i.body<format::ModelConfig>("config").*field = value; }, message, code};
}

std::vector<Lie> config_lies() {
  using Config = format::ModelConfig;
  const auto eps = [](float value) { return [=](PackedImage& i) { i.body<Config>("config").layer_norm_eps = value; }; };
  return {
      {"size", [](PackedImage& i) { i.section("config").size = 64; }, "has 64 bytes"},
      {"reserved", [](PackedImage& i) { i.body<Config>("config").reserved[79] = 1; }, "reserved"},
      config_lie("family", &Config::family, 1, "model family 1", ErrorCode::kUnsupported),
      config_lie("hidden 0", &Config::hidden_size, 0, "hidden_size 0"),
      config_lie("hidden other", &Config::hidden_size, 10, "tensor 'embeddings.word'"),
      config_lie("hidden huge", &Config::hidden_size, 0xfffffff0, "hidden_size"),
      config_lie("layers more", &Config::layer_count, 2, "section 'products'"),
      config_lie("layers huge", &Config::layer_count, 0xffffffff, "section 'products'"),
      config_lie("heads 0", &Config::head_count, 0, "head_count 0"),
      config_lie("heads odd", &Config::head_count, 3, "multiple of head_count 3"),
      config_lie("heads many", &Config::head_count, 16, "head_count 16"),
      config_lie("intermediate 0", &Config::intermediate_size, 0, "intermediate_size 0"),
      config_lie("intermediate", &Config::intermediate_size, 13,
                 "tensor 'layer.0.ffn1.weight': dims[0] is 12, expected 13"),
      config_lie("vocab 0", &Config::vocab_size, 0, "vocab_size 0"),
      config_lie("vocab", &Config::vocab_size, 13, "tensor 'embeddings.word'"),
      config_lie("vocab huge", &Config::vocab_size, 0x80000000, "vocab_size"),
      config_lie("positions", &Config::max_positions, 7, "tensor 'embeddings.position'"),
      config_lie("positions huge", &Config::max_positions, 65537, "max_positions 65537"),
      config_lie("types", &Config::type_count, 3, "tensor 'embeddings.type'"),
      config_lie("labels", &Config::label_count, 6, "label_count says 6"),
      config_lie("labels 0", &Config::label_count, 0, "label_count 0"),
      config_lie("activation", &Config::activation, 4, "activation 4"),
      config_lie("no activation", &Config::activation, 0, "activation 0"),
      {"eps NaN", eps(std::numeric_limits<float>::quiet_NaN()), "layer_norm_eps"},
      {"eps infinite", eps(std::numeric_limits<float>::infinity()), "layer_norm_eps"},
      {"eps negative", eps(-1e-12f), "layer_norm_eps"},
  };
}

std::vector<Lie> body_lies() {
  const auto label = [](size_t index, uint32_t value) {
    return [=](PackedImage& i) { (&i.body<uint32_t>("labels"))[index] = value; };
  };
  const auto scheme = [](size_t product, uint32_t value) {
    return [=](PackedImage& i) { (&i.body<format::ProductEntry>("products"))[product].scheme = value; };
  };
  return {
      {"labels too many", label(0, 0xffffffff), "claims 4294967295 strings"},
      {"labels too few", label(0, 4), "bytes left over"},
      {"label ends outside", label(5, 1000), "string 4 ends at 1000"},
      {"labels reversed", label(2, 0), "string 1 ends at 0"},
      {"label not UTF-8", [](PackedImage& i) { i.body<char[32]>("labels")[24] = '\xff'; }, "not UTF-8"},
      {"labels empty", [](PackedImage& i) { i.section("labels").size = 0; }, "too short"},
      {"scheme", scheme(0, 6), "product 0 has scheme 6", ErrorCode::kUnsupported},
      {"static without its tensors", scheme(0, 3), "no tensor 'layer.0.qkv.input_inv'"},
      {"static attention without its tensors", [=](PackedImage& i) { scheme(1, 3)(i), scheme(2, 3)(i); },
       "no tensor 'layer.0.qkv.output_inv'"},
      {"int4 without a group size", scheme(0, 4), "group_size is 0"},
      {"group size of another scheme", [](PackedImage& i) { i.body<format::ProductEntry>("products").group_size = 8; },
       "reserved"},
      {"scores alone", scheme(1, 0), "'layer.0.scores'", ErrorCode::kUnsupported},
      {"weightless weight-only", [=](PackedImage& i) { scheme(1, 1)(i), scheme(2, 1)(i); }, "'layer.0.scores'",
       ErrorCode::kUnsupported},
      {"scheme other than the weights", scheme(3, 0), "tensor 'layer.0.attention_output.weight': dtype",
       ErrorCode::kUnsupported},
      {"product reserved", [](PackedImage& i) { i.body<format::ProductEntry>("products").reserved[1] = 1; },
       "reserved"},
  };
}

Lie tensor_lie(const char* name, const std::function<void(format::TensorEntry&)>& tell, const char* message,
               ErrorCode code = ErrorCode::kFormat) {
  return {name, [=](PackedImage& i) { tell(i.tensor("layer.0.qkv.weight")); }, message, code};
}

std::vector<Lie> tensor_lies() {
  using Entry = format::TensorEntry;
  return {
      tensor_lie(
          "renamed", [](Entry& t) { t.name[0] = 'k'; }, "no tensor 'layer.0.qkv.weight'"),
      tensor_lie(
          "twin", [](Entry& t) { std::strcpy(t.name, "layer.0.qkv.scale"); }, "two tensors named"),
      tensor_lie(
          "name", [](Entry& t) { std::memset(t.name, 'x', sizeof t.name); }, "printable"),
      tensor_lie(
          "dtype", [](Entry& t) { t.dtype = 0; }, "layer.0.qkv.weight': dtype is 0", ErrorCode::kUnsupported),
      tensor_lie(
          "unknown dtype", [](Entry& t) { t.dtype = 9; }, "dtype is 9", ErrorCode::kUnsupported),
      tensor_lie(
          "row-major", [](Entry& t) { t.layout = 0; }, "size"),
      tensor_lie(
          "unknown layout", [](Entry& t) { t.layout = 5; }, "layout is 5", ErrorCode::kUnsupported),
      tensor_lie(
          "section", [](Entry& t) { t.section = 0; }, "section 0 is not one of weights"),
      tensor_lie(
          "no section", [](Entry& t) { t.section = 0xffffffff; }, "section 4294967295"),
      tensor_lie(
          "rank 0", [](Entry& t) { t.rank = 0; }, "rank 0"),
      tensor_lie(
          "rank 3", [](Entry& t) { t.rank = 3; }, "rank 3"),
      tensor_lie(
          "rank 1", [](Entry& t) { t.rank = 1; }, "rank 1"),
      tensor_lie(
          "rows", [](Entry& t) { t.dims[0] = 33; }, "size"),
      tensor_lie(
          "rows within the panel", [](Entry& t) { t.dims[0] = 23; }, "dims[0] is 23, expected 24"),
      tensor_lie(
          "rows huge", [](Entry& t) { t.dims[0] = ~uint64_t{0}; }, "size"),
      tensor_lie(
          "columns huge", [](Entry& t) { t.dims[1] = uint64_t{1} << 62; }, "size"),
      tensor_lie(
          "columns 0", [](Entry& t) { t.dims[1] = 0, t.size = 0; }, "dimension of 0"),
      tensor_lie(
          "unaligned", [](Entry& t) { t.offset += 32; }, "not aligned"),
      tensor_lie(
          "offset", [](Entry& t) { t.offset = uint64_t{1} << 40; }, "outside its section"),
      tensor_lie(
          "offset wraps", [](Entry& t) { t.offset = ~uint64_t{63}; }, "outside its section"),
      tensor_lie(
          "size", [](Entry& t) { t.size -= 64; }, "size"),
      tensor_lie(
          "size huge", [](Entry& t) { t.size = ~uint64_t{0}; }, "outside its section"),
      {"overlap", [](PackedImage& i) { i.tensor("layer.0.qkv.bias").offset = i.tensor("layer.0.qkv.scale").offset; },
       "overlaps tensor"},
      {"table size", [](PackedImage& i) { i.section("tensors").size -= 1; }, "expected a multiple of 112"},
      {"no tensors", [](PackedImage& i) { i.section("tensors").size = 0; }, "no tensor 'embeddings.word'"},
  };
}

// Of a model whose query, key and value quantize the input each in their own way: tests of the tensors that say so.
std::vector<Lie> input_part_lies() {
  using Entry = format::TensorEntry;
  const auto entry = [](const char* name, const std::function<void(Entry&)>& tell) {
    return [=](PackedImage& i) { tell(i.tensor(name)); };
  };
  const auto zero = [](size_t part, int32_t value) {
    return [=](PackedImage& i) { i.data<int32_t>(i.tensor("layer.0.qkv.input_zero"))[part] = value; };
  };
  const auto rows = [](uint64_t count, uint64_t columns) {
    return [=](Entry& t) { t.dims[0] = count, t.dims[1] = columns, t.size = 4 * count * columns; };
  };
  return {
      {"last zero point above", zero(2, 128), "'layer.0.qkv.input_zero' is 128"},
      {"last zero point below", zero(2, -128), "'layer.0.qkv.input_zero' is -128"},
      {"middle zero point huge", zero(1, std::numeric_limits<int32_t>::min()), "expected -127 to 127"},
      {"one zero point", entry("layer.0.qkv.input_zero", rows(1, 1)), "dims[0] is 1, expected 3"},
      {"two parts", entry("layer.0.qkv.input_inv", rows(2, 16)), "dims[0] is 2, expected 3"},
      {"short parts", entry("layer.0.qkv.input_inv", rows(3, 15)), "dims[1] is 15, expected 16"},
      {"one part",
       entry("layer.0.qkv.input_inv", [](Entry& t) { t.rank = 1, t.dims[0] = 16, t.dims[1] = 1, t.size = 64; }),
       "'layer.0.qkv.input_zero': dims[0] is 3, expected 1"},
      {"parts of a product that has one",
       [](PackedImage& i) {
         Entry &split = i.tensor("layer.0.qkv.input_inv"), &ffn1 = i.tensor("layer.0.ffn1.input_inv");
         std::swap(split.name, ffn1.name);
       },
       "'layer.0.qkv.input_zero': dims[0] is 3, expected 1"},
      {"dynamic", [](PackedImage& i) { i.body<format::ProductEntry>("products").scheme = 2; }, "dims[0] is 3"},
  };
}

class InputPartLies : public testing::TestWithParam<Lie> {};

class Lies : public testing::TestWithParam<Lie> {};
TEST_P(Lies, AreNamed) {
  PackedImage image(tiny_image());
  GetParam().tell(image);
  expect_refused(image, GetParam().code, GetParam().message);
}
std::string lie_name(const testing::TestParamInfo<Lie>& info) {
  std::string name;
  for (const char c : std::string(info.param.name)) name += std::isalnum(static_cast<unsigned char>(c)) ? c : '_';
  return name;
}
TEST_P(InputPartLies, AreNamed) {
  TinySpec spec{.hidden = 16, .layers = 1, .heads = 2, .intermediate = 16, .vocab = 12, .positions = 6};
  spec.scheme = format::Scheme::kStatic;
  spec.split_inputs = true;
  PackedImage image(TinyModel(spec).pack());
  ASSERT_EQ(open_image(image.view()).message, "");
  GetParam().tell(image);
  expect_refused(image, GetParam().code, GetParam().message);
}
TEST(InputParts, AreWholePanels) {
  TinySpec spec{.hidden = 24, .layers = 1, .heads = 2, .scheme = format::Scheme::kStatic};
  PackedImage image(TinyModel(spec).pack());
  format::TensorEntry& inv = image.tensor("layer.0.qkv.input_inv");
  inv.rank = 2, inv.dims[0] = 2, inv.dims[1] = 16;  // K' is 32
  expect_refused(image, ErrorCode::kFormat, "'layer.0.qkv.input_inv': dims[0] is 2, expected 32");
}
INSTANTIATE_TEST_SUITE_P(InputParts, InputPartLies, testing::ValuesIn(input_part_lies()), lie_name);
INSTANTIATE_TEST_SUITE_P(Header, Lies, testing::ValuesIn(header_lies()), lie_name);
INSTANTIATE_TEST_SUITE_P(Section, Lies, testing::ValuesIn(section_lies()), lie_name);
INSTANTIATE_TEST_SUITE_P(Config, Lies, testing::ValuesIn(config_lies()), lie_name);
INSTANTIATE_TEST_SUITE_P(Body, Lies, testing::ValuesIn(body_lies()), lie_name);
INSTANTIATE_TEST_SUITE_P(Tensor, Lies, testing::ValuesIn(tensor_lies()), lie_name);

}  // namespace
}  // namespace octobert::test
