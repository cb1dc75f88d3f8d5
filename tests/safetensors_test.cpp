// The safetensors reader: every way that SPECS of the format lets a file be wrong, and the exactness of its floats.
#include "converter/safetensors.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "octobert/error.h"
#include "tests/temporary_folder.h"

namespace octobert::converter {
namespace {

using test::TemporaryFolder;
using test::write_file;

std::string file_with(const std::string& header, size_t data_bytes) {
  const uint64_t length = header.size();
  std::string file(sizeof(length), '\0');
  std::memcpy(file.data(), &length, sizeof(length));
  return file + header + std::string(data_bytes, '\0');
}

// The message of the error that opening such a file gives, or "" if there is none.
std::string error_of(const std::string& content, ErrorCode expected = ErrorCode::kFormat) {
  const TemporaryFolder folder;
  write_file(folder / "t.safetensors", content);
  try {
    const SafetensorsFile file(folder / "t.safetensors");
    return "";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), expected) << e.what();
    EXPECT_NE(std::string(e.what()).find("t.safetensors"), std::string::npos) << e.what();
    return e.what();
  }
}

#define EXPECT_REFUSED(content, part) EXPECT_PRED_FORMAT2(testing::IsSubstring, part, error_of(content))

constexpr const char* kGood = R"({"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}})";

TEST(Safetensors, ReadsWhatFollowsTheRules) {
  EXPECT_EQ(error_of(file_with(kGood, 24)), "");
  EXPECT_EQ(error_of(file_with(std::string(kGood) + "   ", 24)), "");
  EXPECT_EQ(error_of(file_with("{}", 0)), "");
  EXPECT_EQ(error_of(file_with(R"({"__metadata__":{"format":"pt","dtype":"x"}})", 0)), "");
  // A scalar, an empty tensor between others, an odd length that leaves the data unaligned, any order of keys.
  EXPECT_EQ(error_of(file_with(R"({"s":{"data_offsets":[0,2],"shape":[],"dtype":"F16"},)"
                               R"("e":{"dtype":"I64","shape":[4,0],"data_offsets":[2,2]},)"
                               R"("u":{"dtype":"U8","shape":[1],"data_offsets":[2,3]}})",
                               3)),
            "");
}

TEST(Safetensors, HeaderLength) {
  EXPECT_REFUSED("", "0 bytes");
  EXPECT_REFUSED("1234567", "7 bytes");
  std::string lies = file_with(kGood, 24);
  for (const uint64_t length : {uint64_t{1} << 63, uint64_t{100'000'001}, uint64_t{lies.size() - 7}, ~uint64_t{0}}) {
    std::memcpy(lies.data(), &length, sizeof(length));
    EXPECT_REFUSED(lies, "header length");
  }
  for (size_t size = 8; size < 8 + std::strlen(kGood); ++size) {
    EXPECT_REFUSED(file_with(kGood, 24).substr(0, size), "truncated");
  }
}

TEST(Safetensors, Syntax) {
  EXPECT_REFUSED(file_with("", 0), "'{'");
  EXPECT_REFUSED(file_with(" {}", 0), "'{'");
  EXPECT_REFUSED(file_with("[]", 0), "'{'");
  EXPECT_REFUSED(file_with("{", 0), "not valid JSON");
  EXPECT_REFUSED(file_with("{}x", 0), "not valid JSON");
  EXPECT_REFUSED(file_with("{\"\xff\":{}}", 0), "not valid JSON");
  EXPECT_REFUSED(file_with(R"({"a":[]})", 0), "'a': expected an object");
  EXPECT_REFUSED(file_with(R"({"a":null})", 0), "'a': expected an object");
  EXPECT_REFUSED(file_with(R"({"a":{}})", 0), "field 'dtype' is missing");
  EXPECT_REFUSED(file_with(R"({"a":{"dtype":"F32","shape":[]}})", 4), "field 'data_offsets' is missing");
  EXPECT_REFUSED(file_with(R"({"a":{"dtype":"F32","data_offsets":[0,4]}})", 4), "field 'shape' is missing");
  EXPECT_REFUSED(file_with(R"({"a":{"dtype":32,"shape":[],"data_offsets":[0,4]}})", 4), "field 'dtype'");
  EXPECT_REFUSED(file_with(R"({"a":{"dtype":["F32"],"shape":[],"data_offsets":[0,4]}})", 4), "field 'dtype'");
  EXPECT_REFUSED(file_with(R"({"a":{"dtype":"F32","shape":1,"data_offsets":[0,4]}})", 4), "field 'shape'");
  EXPECT_REFUSED(file_with(R"({"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}})", 4), "field 'shape'");
  EXPECT_REFUSED(file_with(R"({"a":{"dtype":"F32","shape":[1.0],"data_offsets":[0,4]}})", 4), "field 'shape'");
  EXPECT_REFUSED(file_with(R"({"a":{"dtype":"F32","shape":[[1]],"data_offsets":[0,4]}})", 4), "field 'shape'");
  EXPECT_REFUSED(file_with(R"({"a":{"dtype":"F32","shape":["1"],"data_offsets":[0,4]}})", 4), "field 'shape'");
  EXPECT_REFUSED(file_with(R"({"a":{"dtype":"F32","shape":{},"data_offsets":[0,4]}})", 4), "field 'shape'");
  EXPECT_REFUSED(file_with(R"({"a":{"dtype":"F32","shape":[],"data_offsets":[0]}})", 4), "expected 2 numbers");
  EXPECT_REFUSED(file_with(R"({"a":{"dtype":"F32","shape":[],"data_offsets":[0,4,8]}})", 4), "expected 2 numbers");
  EXPECT_REFUSED(file_with(R"({"a":{"dtype":"F32","shape":[],"data_offsets":[0,4],"x":1}})", 4), "unknown field 'x'");
  EXPECT_REFUSED(file_with(R"({"__metadata__":{"format":1}})", 0), "__metadata__ field 'format'");
  EXPECT_REFUSED(file_with(R"({"__metadata__":{"format":{}}})", 0), "__metadata__ field 'format'");
  EXPECT_REFUSED(file_with(R"({"__metadata__":"pt"})", 0), "expected an object");
}

TEST(Safetensors, DuplicateKeys) {
  const std::string tensor = R"({"dtype":"F32","shape":[],"data_offsets":[0,4]})";
  EXPECT_REFUSED(file_with(R"({"a":)" + tensor + R"(,"a":)" + tensor + "}", 4), "'a' appears twice");
  EXPECT_REFUSED(file_with(R"({"a":)" + tensor + R"(,"\u0061":)" + tensor + "}", 4), "'a' appears twice");
  EXPECT_REFUSED(file_with(R"({"a":{"dtype":"F32","dtype":"F32","shape":[],"data_offsets":[0,4]}})", 4),
                 "'dtype' appears twice");
  EXPECT_REFUSED(file_with(R"({"__metadata__":{},"__metadata__":{}})", 0), "'__metadata__' appears twice");
}

TEST(Safetensors, DataTypes) {
  for (const char* type : {"F8_E4M3", "F8_E5M2", "U16", "U64", "C64", "", "f32"}) {
    const std::string content =
        file_with(R"({"w":{"dtype":")" + std::string(type) + R"(","shape":[],"data_offsets":[0,1]}})", 1);
    const std::string message = error_of(content, ErrorCode::kUnsupported);
    EXPECT_NE(message.find("'w'"), std::string::npos) << message;
  }
}

TEST(Safetensors, SizesAndExtents) {
  EXPECT_REFUSED(file_with(R"({"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,23]}})", 23), "expected 24 bytes");
  EXPECT_REFUSED(file_with(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}})", 8), "expected 8 bytes");
  // 2^32 * 2^32 * 4 wraps to 0.
  EXPECT_REFUSED(file_with(R"({"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}})", 0),
                 "overflows");
  EXPECT_REFUSED(file_with(R"({"a":{"dtype":"U8","shape":[18446744073709551616],"data_offsets":[0,1]}})", 1),
                 "field 'shape'");
  EXPECT_REFUSED(file_with(kGood, 23), "truncated");
  EXPECT_REFUSED(file_with(kGood, 25), "25 bytes follow");
  const auto two = [](int b0, int e0, int b1, int e1) {
    return R"({"a":{"dtype":"U8","shape":[)" + std::to_string(e0 - b0) + R"(],"data_offsets":[)" + std::to_string(b0) +
           "," + std::to_string(e0) + R"(]},"b":{"dtype":"U8","shape":[)" + std::to_string(e1 - b1) +
           R"(],"data_offsets":[)" + std::to_string(b1) + "," + std::to_string(e1) + "]}}";
  };
  EXPECT_EQ(error_of(file_with(two(4, 8, 0, 4), 8)), "");
  EXPECT_REFUSED(file_with(two(0, 4, 3, 8), 8), "'b': data_offsets [3, 8] overlap");
  EXPECT_REFUSED(file_with(two(0, 4, 0, 4), 4), "overlap");
  EXPECT_REFUSED(file_with(two(0, 4, 5, 8), 8), "'b': data_offsets [5, 8] leave a hole");
  EXPECT_REFUSED(file_with(two(1, 4, 4, 8), 8), "'a': data_offsets [1, 4] leave a hole");
  EXPECT_REFUSED(file_with(two(0, 4, 4, 12), 8), "truncated");
}

TEST(Safetensors, NotAFile) {
  const TemporaryFolder folder;
  EXPECT_THROW(SafetensorsFile(folder / "absent"), Error);
  EXPECT_THROW(SafetensorsFile{folder.path()}, Error);
  EXPECT_THROW(SafetensorsFile{"/dev/zero"}, Error);
}

TEST(Safetensors, HalfPrecisionIsExact) {
  // Every value against its definition: (-1)^s 2^(e - 15) (1 + f / 1024), or (-1)^s 2^-14 f / 1024.
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    const float found = f16_to_f32(static_cast<uint16_t>(bits));
    const int exponent = static_cast<int>(bits >> 10 & 31), fraction = static_cast<int>(bits & 1023);
    if (exponent == 31) {
      EXPECT_EQ(std::isnan(found), fraction != 0) << bits;
      EXPECT_EQ(std::isinf(found), fraction == 0) << bits;
    } else {
      const double magnitude =
          exponent == 0 ? std::ldexp(fraction, -24) : std::ldexp(1024 + fraction, exponent - 15 - 10);
      EXPECT_EQ(std::abs(found), magnitude) << bits;
    }
    EXPECT_EQ(std::signbit(found), bits >= 0x8000) << bits;
  }
  EXPECT_EQ(bf16_to_f32(0x3fc0), 1.5f);
  EXPECT_EQ(std::bit_cast<uint32_t>(bf16_to_f32(0x8001)), 0x80010000u);
}

template <typename T>
TensorToWrite to_write(const std::string& name, DataType type, std::vector<uint64_t> shape,
                       const std::vector<T>& values) {
  return {name, type, std::move(shape), std::as_bytes(std::span(values))};
}

TEST(Safetensors, ReadsFloatsOfEveryType) {
  const TemporaryFolder folder;
  // Longer than the conversion's buffer, and read from the middle.
  std::vector<float> f32(70001);
  std::vector<uint16_t> f16(f32.size()), bf16(f32.size());
  std::vector<double> f64(f32.size());
  for (size_t i = 0; i < f32.size(); ++i) {
    f16[i] = static_cast<uint16_t>(i * 7 % 31744);  // all finite
    bf16[i] = static_cast<uint16_t>(i * 5 % 32640);
    f64[i] = 1.0 / static_cast<double>(i + 3);
    f32[i] = static_cast<float>(i) * -0.25f;
  }
  const std::vector<int8_t> odd = {1, 2, 3};  // so that what follows is not aligned
  const std::vector<TensorToWrite> tensors = {
      to_write("odd", DataType::kI8, {3}, odd), to_write("f32", DataType::kF32, {70001}, f32),
      to_write("f16", DataType::kF16, {70001}, f16), to_write("bf16", DataType::kBF16, {1, 70001}, bf16),
      to_write("f64", DataType::kF64, {70001, 1}, f64)};
  write_safetensors(folder / "t.safetensors", tensors);
  const SafetensorsFile file(folder / "t.safetensors");
  ASSERT_EQ(file.tensors().size(), 5U);
  std::vector<float> read(70000);
  const auto read_from_1 = [&](const char* name) { file.read(*file.find(name), 1, read); };
  read_from_1("f32");
  for (size_t i = 0; i < read.size(); ++i) ASSERT_EQ(read[i], f32[i + 1]);
  read_from_1("f16");
  for (size_t i = 0; i < read.size(); ++i) ASSERT_EQ(read[i], f16_to_f32(f16[i + 1]));
  read_from_1("bf16");
  for (size_t i = 0; i < read.size(); ++i) ASSERT_EQ(read[i], bf16_to_f32(bf16[i + 1]));
  read_from_1("f64");
  for (size_t i = 0; i < read.size(); ++i) ASSERT_EQ(read[i], static_cast<float>(f64[i + 1]));
  EXPECT_THROW(file.read(*file.find("odd"), 0, std::span(read).first(3)), Error);
  EXPECT_THROW(file.read(*file.find("f32"), 2, read), Error);
  EXPECT_THROW(file.read(*file.find("f32"), ~uint64_t{0}, read), Error);
  EXPECT_EQ(file.find("f8"), nullptr);
  EXPECT_EQ(file.read_bytes(*file.find("odd")), (std::vector<std::byte>{std::byte{1}, std::byte{2}, std::byte{3}}));
}

TEST(Safetensors, WriterRefusesAndLeavesNothing) {
  const TemporaryFolder folder;
  const std::vector<float> values(6);
  const std::vector<TensorToWrite> wrong_shape = {to_write("a", DataType::kF32, {7}, values)};
  EXPECT_THROW(write_safetensors(folder / "t", wrong_shape), Error);
  const std::vector<TensorToWrite> twice = {to_write("a", DataType::kF32, {6}, values),
                                            to_write("a", DataType::kF32, {6}, values)};
  EXPECT_THROW(write_safetensors(folder / "t", twice), Error);
  const std::vector<TensorToWrite> good = {to_write("a \"quoted\"\n", DataType::kF32, {2, 3}, values)};
  EXPECT_THROW(write_safetensors(folder / "absent/t", good), Error);
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
  write_safetensors(folder / "t", good);
  EXPECT_NE(SafetensorsFile(folder / "t").find("a \"quoted\"\n"), nullptr);
}

}  // namespace
}  // namespace octobert::converter
