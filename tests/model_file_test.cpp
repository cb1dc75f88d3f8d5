// Every way for a packed file to be wrong, and a few to be right.
#include "engine/model_file.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <limits>

#include "converter/model_writer.h"
#include "kernels/numerics.h"
#include "octobert/error.h"
#include "tests/packed_image.h"
#include "tests/temporary_folder.h"
#include "tests/tiny_model.h"

namespace octobert::test {
namespace {

using format::SectionType;

std::vector<std::byte> tiny_image() {
  return TinyModel({.hidden = 8, .layers = 1, .heads = 2, .intermediate = 12, .vocab = 12, .positions = 6}).pack();
}

// What opening says, through make_bert_model; "" if nothing.
struct Outcome {
  ErrorCode code;
  std::string message;
};
Outcome open_image(std::span<const std::byte> bytes, const ModelFileOptions& options = {}) {
  try {
    const ModelFile file = ModelFile::open_memory(bytes, options, "test.octo");
    make_bert_model(file);
    return {ErrorCode::kIo, ""};
  } catch (const Error& e) {
    return {e.code(), e.what()};
  }
}

void expect_refused(PackedImage& image, ErrorCode code, const std::string& part) {
  image.fix_checksums();
  const Outcome outcome = open_image(image.view());
  EXPECT_NE(outcome.message.find(part), std::string::npos) << "said: " << outcome.message;
  EXPECT_NE(outcome.message.find("test.octo"), std::string::npos) << "said: " << outcome.message;
  EXPECT_EQ(outcome.code, code) << outcome.message;
}

TEST(ModelFile, OpensWhatTheWriterWrote) {
  const TinyModel tiny({.hidden = 20, .layers = 3, .heads = 5, .labels = 7});
  const auto bytes = tiny.pack({{.text = "a b", .ids = {2, 4, 6, 3}, .logits = std::vector<float>(28, 0.5f)}});
  const ModelFile file = ModelFile::open_memory(bytes, {.verify_all = true});
  EXPECT_EQ(file.config().hidden_size, 20u);
  EXPECT_EQ(file.labels().size(), 7u);
  EXPECT_EQ(file.labels()[1], "B-L1");
  EXPECT_EQ(file.products().size(), 19u);
  EXPECT_EQ(file.strings(SectionType::kProvenance).at(0), "made_by");
  EXPECT_TRUE(file.strings(SectionType::kQuantReport).empty());
  const BertModel model = make_bert_model(file);
  ASSERT_EQ(model.layers.size(), 3u);
  for (size_t l = 0; l < 3; ++l) {
    const Linear &a = model.layers[l].ffn1, &b = tiny.model().layers[l].ffn1;
    ASSERT_EQ(a.n, b.n);
    EXPECT_EQ(std::memcmp(a.weight_s8, b.weight_s8, packed_s8_bytes(40, 20)), 0);
    EXPECT_EQ(std::memcmp(a.bias, b.bias, 48 * sizeof(float)), 0);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(a.weight_s8) % 64, 0u);
  }
}

TEST(ModelFile, SameCallsGiveTheSameBytes) { EXPECT_EQ(tiny_image(), tiny_image()); }

TEST(ModelFile, FileAndMemoryAreEqualBytes) {
  const TemporaryFolder folder;
  const auto path = folder / "tiny.octo";
  const format::ModelConfig config{};
  const auto write = [&](ModelWriter& writer) {
    writer.add_section(SectionType::kConfig, "config", std::as_bytes(std::span(&config, 1)), true);
    writer.begin_weights("w");
    const std::vector<float> big(100000, 1.5f);  // past the writer's buffer
    const std::array<uint64_t, 1> dims{big.size()};
    writer.add_tensor("big", format::DType::kF32, Layout::kRowMajor, dims, std::as_bytes(std::span(big)));
    writer.finish();
  };
  ModelWriter to_file(path, 5), to_memory(5);
  write(to_file);
  write(to_memory);
  const auto memory = to_memory.take();
  EXPECT_EQ(read_file(path), std::string(reinterpret_cast<const char*>(memory.data()), memory.size()));
}

TEST(ModelFile, UnfinishedWriterLeavesNothing) {
  const TemporaryFolder folder;
  write_file(folder / "model.octo", "what was there before");
  {
    ModelWriter writer(folder / "model.octo", 5);
    writer.add_section(SectionType::kProvenance, "provenance", {}, false);
  }
  EXPECT_EQ(read_file(folder / "model.octo"), "what was there before");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), {}), 1);
  EXPECT_THROW(ModelWriter(folder / "no such folder" / "model.octo", 5), Error);
}

TEST(ModelFile, CutOffAnywhere) {
  const auto bytes = tiny_image();
  for (size_t length = 0; length < bytes.size(); ++length) {
    // A copy of exactly this size, so that a sanitizer sees the first byte past it.
    const std::vector<std::byte> cut(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(length));
    const Outcome outcome = open_image(cut);
    ASSERT_NE(outcome.message, "") << length;
    ASSERT_EQ(outcome.code, ErrorCode::kFormat) << outcome.message;
  }
}

TEST(ModelFile, AnyBitOfHeaderAndTableFlipped) {
  auto bytes = tiny_image();
  const size_t end =
      sizeof(format::FileHeader) + PackedImage(bytes).header().section_count * sizeof(format::SectionEntry);
  for (size_t i = 0; i < end; ++i) {
    for (int bit = 0; bit < 8; ++bit) {
      bytes[i] ^= std::byte{1} << bit;
      ASSERT_NE(open_image(bytes).message, "") << "byte " << i << " bit " << bit;
      bytes[i] ^= std::byte{1} << bit;
    }
  }
}

TEST(ModelFile, AnyByteOfTheFileFlippedIsFoundByVerify) {
  auto bytes = tiny_image();
  for (size_t i = 0; i < bytes.size(); ++i) {
    bytes[i] ^= std::byte{1} << (i % 8);
    ASSERT_NE(open_image(bytes, {.verify_all = true}).message, "") << "byte " << i;
    bytes[i] ^= std::byte{1} << (i % 8);
  }
}

TEST(ModelFile, BytesAfterTheEnd) {
  PackedImage image(tiny_image());
  image.bytes().resize(image.bytes().size() + 64);
  expect_refused(image, ErrorCode::kFormat, "file_size");
}

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

Lie tensor_lie(const char* name, std::function<void(format::TensorEntry&)> tell, const char* message,
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
INSTANTIATE_TEST_SUITE_P(Header, Lies, testing::ValuesIn(header_lies()), lie_name);
INSTANTIATE_TEST_SUITE_P(Section, Lies, testing::ValuesIn(section_lies()), lie_name);
INSTANTIATE_TEST_SUITE_P(Config, Lies, testing::ValuesIn(config_lies()), lie_name);
INSTANTIATE_TEST_SUITE_P(Body, Lies, testing::ValuesIn(body_lies()), lie_name);
INSTANTIATE_TEST_SUITE_P(Tensor, Lies, testing::ValuesIn(tensor_lies()), lie_name);

TEST(ModelFile, UnknownOptionalSectionIsIgnored) {
  PackedImage image(tiny_image());
  image.section("provenance").type = 1000;
  image.fix_checksums();
  EXPECT_EQ(open_image(image.view(), {.verify_all = true}).message, "");
}

TEST(ModelFile, UnknownTensorIsIgnored) {
  PackedImage image(TinyModel({.layers = 1}).pack());
  auto& tensor = image.tensor("embeddings.type");
  const uint64_t size = tensor.size;
  std::strncpy(tensor.name, "something.new", sizeof tensor.name);  // pads with NULs
  tensor.dtype = 200;
  tensor.dims[0] = ~uint64_t{0};
  image.fix_checksums();
  const ModelFile file = ModelFile::open_memory(image.view());  // the file is well-formed,
  EXPECT_EQ(file.find_tensor("something.new")->bytes.size(), size);
  EXPECT_NE(open_image(image.view()).message.find("no tensor 'embeddings.type'"), std::string::npos);  // the model not
}

TEST(ModelFile, OtherNumericsOnDemand) {
  PackedImage image(tiny_image());
  image.header().numerics_version = numerics::kNumericsVersion + 1;
  image.fix_checksums();
  EXPECT_EQ(open_image(image.view()).code, ErrorCode::kUnsupported);
  EXPECT_EQ(open_image(image.view(), {.allow_other_numerics = true}).message, "");
}

TEST(ModelFile, NewerVersionIsSaidBeforeTheChecksums) {
  auto bytes = tiny_image();
  PackedImage image(bytes);
  image.header().format_version = 3;  // checksums as they were: a later format may keep them elsewhere
  const Outcome outcome = open_image(image.view());
  EXPECT_EQ(outcome.code, ErrorCode::kUnsupported);
  EXPECT_NE(outcome.message.find("version 3"), std::string::npos) << outcome.message;
}

TEST(ModelFile, DamagedSectionsAreFoundWhenTheyAreRead) {
  for (const char* name : {"config", "labels", "tokenizer", "tensors", "products"}) {
    PackedImage image(tiny_image());
    image.body<char>(name) ^= 1;
    const Outcome outcome = open_image(image.view());
    EXPECT_NE(outcome.message.find(std::string("section '") + name + "' is damaged"), std::string::npos)
        << outcome.message;
  }
  PackedImage image(tiny_image());
  image.body<char>("provenance") ^= 1;
  const ModelFile file = ModelFile::open_memory(image.view());
  EXPECT_THROW(file.strings(SectionType::kProvenance), Error);
  EXPECT_THROW(file.verify(), Error);
}

TEST(ModelFile, WrongSumsAreFoundByVerify) {
  PackedImage image(tiny_image());
  *image.data<int32_t>(image.tensor("layer.0.ffn2.sum")) += 1;
  image.fix_checksums();
  EXPECT_EQ(open_image(image.view()).message, "");
  EXPECT_NE(open_image(image.view(), {.verify_all = true}).message.find("layer.0.ffn2.sum"), std::string::npos);
}

TEST(ModelFile, WeightsInTheInputPaddingAreFoundByVerify) {
  PackedImage image(TinyModel({.hidden = 6, .layers = 1, .heads = 2}).pack());
  auto* weights = image.data<int8_t>(image.tensor("layer.0.qkv.weight"));
  weights[packed_s8_offset(0, 4, 6) + 2] = 1;  // input 6 of 6
  image.fix_checksums();
  EXPECT_NE(open_image(image.view(), {.verify_all = true}).message.find("padding that is not zero"), std::string::npos);
}

TEST(ModelFile, UnalignedMemoryIsCopied) {
  const auto bytes = tiny_image();
  std::vector<std::byte> shifted(bytes.size() + 1);
  std::copy(bytes.begin(), bytes.end(), shifted.begin() + 1);
  const ModelFile file = ModelFile::open_memory(std::span(shifted).subspan(1), {.verify_all = true});
  EXPECT_EQ(file.config().hidden_size, 8u);
}

TEST(ModelFile, FilesThatCanNotBeRead) {
  const TemporaryFolder folder;
  write_file(folder / "empty.octo", "");
  write_file(folder / "text.octo", std::string(1000, 'x'));
  const auto fails_with = [&](const std::string& name, ErrorCode code, const std::string& part) {
    for (const bool load : {false, true}) {
      try {
        ModelFile::open(folder / name, {.load_into_memory = load});
        ADD_FAILURE() << name << " was opened";
      } catch (const Error& e) {
        EXPECT_EQ(e.code(), code) << e.what();
        EXPECT_NE(std::string(e.what()).find(name), std::string::npos) << e.what();
        EXPECT_NE(std::string(e.what()).find(part), std::string::npos) << e.what();
      }
    }
  };
  fails_with("missing.octo", ErrorCode::kIo, "can't be opened");
  fails_with("", ErrorCode::kIo, "not a regular file");
  fails_with("empty.octo", ErrorCode::kFormat, "too short");
  fails_with("text.octo", ErrorCode::kFormat, "not a packed octobert model");
}

TEST(ModelFile, ReplacedByRenameWhileMapped) {
  const TemporaryFolder folder;
  const auto bytes = tiny_image();
  const std::string content(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  write_file(folder / "model.octo", content);
  const ModelFile file = ModelFile::open(folder / "model.octo");
  write_file(folder / "other", "gone");
  std::filesystem::rename(folder / "other", folder / "model.octo");
  file.verify();  // reads every byte of what was opened
}

TEST(ModelFile, LoadedIntoMemoryItSurvivesTruncation) {
  const TemporaryFolder folder;
  const auto bytes = tiny_image();
  write_file(folder / "model.octo", std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
  const ModelFile file = ModelFile::open(folder / "model.octo", {.load_into_memory = true});
  std::filesystem::resize_file(folder / "model.octo", 0);
  file.verify();
}

}  // namespace
}  // namespace octobert::test
