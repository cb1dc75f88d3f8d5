// Packed files: what is read, what is ignored, damage by bits and bytes, files that change while they are open.
#include "engine/model_file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstring>

#include "converter/model_writer.h"
#include "kernels/numerics.h"
#include "tests/model_file_test_util.h"
#include "tests/packed_image.h"
#include "tests/temporary_folder.h"
#include "tests/tiny_model.h"

namespace octobert::test {
namespace {

using format::SectionType;

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
    EXPECT_TRUE(std::equal(a.bias, a.bias + 48, b.bias));
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
  ASSERT_EQ(::mkfifo((folder / "pipe.octo").c_str(), 0600), 0);
  fails_with("pipe.octo", ErrorCode::kIo, "not a regular file");
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
