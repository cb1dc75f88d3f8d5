// pytorch_model.bin: pickles are read and never run, archives are checked before anything is read from them.
#include "converter/torch_file.h"

#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <iterator>
#include <string>

#include "converter/checkpoint.h"
#include "converter/pickle.h"
#include "converter/zip_directory.h"
#include "octobert/error.h"
#include "tests/errors.h"
#include "tests/temporary_folder.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);  // fuzz/fuzz_torch_file.cpp

namespace octobert {
namespace {

using converter::Pickle;
using converter::TorchFile;
using test::TemporaryFolder;
using namespace std::string_literals;

const std::filesystem::path kQat =
    std::filesystem::path(OCTOBERT_SOURCE_DIR) / "tests/data/quantized/torch-qat/pytorch_model.bin";

std::string read_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

constexpr std::string_view kAllowed[] = {"collections OrderedDict", "torch Size"};

std::string pickle_error(const std::string& bytes) {
  try {
    const Pickle pickle(bytes, kAllowed, "test");
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(PickleTest, Values) {
  // {"a": (1, -2, 3.5, None, True), "b": [u"x", 70000]} as Python's pickle.dumps(..., 2) writes it
  const std::string bytes = "\x80\x02}q\x00(X\x01\x00\x00\x00"s +
                            "aq\x01(K\x01J\xfe\xff\xff\xffG@\x0c\x00\x00\x00\x00\x00\x00N\x88tq\x02X\x01\x00\x00\x00"s +
                            "bq\x03]q\x04(X\x01\x00\x00\x00xq\x05J\x70\x11\x01\x00"s + "eu."s;
  const Pickle pickle(bytes, kAllowed, "test");
  const auto& items = pickle.root().items;
  ASSERT_EQ(items.size(), 4U);
  EXPECT_EQ(items[0]->text, "a");
  ASSERT_EQ(items[1]->items.size(), 5U);
  EXPECT_EQ(items[1]->items[1]->integer, -2);
  EXPECT_EQ(items[1]->items[2]->real, 3.5);
  EXPECT_EQ(items[3]->items[1]->integer, 70000);
}

TEST(PickleTest, LongIntegers) {
  EXPECT_EQ(Pickle("\x80\x02\x8a\x01\xff."s, kAllowed, "test").root().integer, -1);
  EXPECT_EQ(Pickle("\x80\x02\x8a\x05\x00\x00\x00\x00\x01."s, kAllowed, "test").root().integer, int64_t{1} << 32);
  EXPECT_EQ(Pickle("\x80\x02\x8a\x00."s, kAllowed, "test").root().integer, 0);
  EXPECT_NE(pickle_error("\x80\x02\x8a\x09\x00\x00\x00\x00\x00\x00\x00\x00\x01."s).find("64 bits"), std::string::npos);
}

TEST(PickleTest, NamesOutsideTheListAreRefusedAndNothingRuns) {
  EXPECT_NE(pickle_error("\x80\x02"
                         "cos\nsystem\nX\x04\x00\x00\x00"
                         "exit\x85R."s)
                .find("'os system'"),
            std::string::npos);
  EXPECT_NE(pickle_error("\x80\x04\x8c\x08"
                         "builtins\x8c\x04"
                         "eval\x93."s)
                .find("'builtins eval'"),
            std::string::npos);
  EXPECT_EQ(pickle_error("\x80\x02"
                         "ccollections\nOrderedDict\n)R."s),
            "");
}

TEST(PickleTest, DamageIsNamed) {
  const std::string good =
      "\x80\x02}q\x00(X\x01\x00\x00\x00"
      "aq\x01K\x01u."s;
  EXPECT_EQ(pickle_error(good), "");
  for (size_t length = 0; length < good.size(); ++length) EXPECT_NE(pickle_error(good.substr(0, length)), "") << length;
  for (const char* bad : {"t.", "u.", "R.", "Q.", "s.", "a.", "b.", "0.", "h\x05.", "(.", "K\x01K\x01R.", "]K\x01u."}) {
    EXPECT_NE(pickle_error("\x80\x02"s + bad), "") << bad;
  }
  EXPECT_NE(pickle_error("\x80\x09N."s).find("protocol 9"), std::string::npos);
  EXPECT_NE(pickle_error("\x80\x02}(K\x01u."s).find("a key without a value"), std::string::npos);
}

std::string open_error(const std::string& bytes) {
  const TemporaryFolder folder;
  const std::filesystem::path path = folder.path() / "pytorch_model.bin";
  std::ofstream(path, std::ios::binary) << bytes;
  try {
    const TorchFile file(path);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(TorchFileTest, TensorsOfATrainersFile) {
  const TorchFile file(kQat);
  const converter::TensorInfo* weight = file.find("classifier.weight");  // stored transposed
  ASSERT_NE(weight, nullptr);
  EXPECT_EQ(weight->shape, (std::vector<uint64_t>{3, 16}));
  std::vector<float> whole(48), part(7);
  file.read(*weight, 0, whole);
  file.read(*weight, 13, part);
  EXPECT_TRUE(std::equal(part.begin(), part.end(), whole.begin() + 13));
  // The same model was written contiguously by another form.
  const std::filesystem::path other = kQat.parent_path().parent_path() / "pytorch-quantization";
  std::vector<float> expected(48);
  converter::Checkpoint(other).read("classifier.weight", expected);
  EXPECT_EQ(whole, expected);
}

TEST(TorchFileTest, EveryTruncationIsNamed) {
  const std::string good = read_file(kQat);
  ASSERT_EQ(open_error(good), "");
  for (size_t length = 0; length < good.size(); length += 997) EXPECT_NE(open_error(good.substr(0, length)), "");
}

TEST(TorchFileTest, DamagedBytesOfTheDirectoryAndThePickleNeverCrash) {
  const std::string good = read_file(kQat);
  const size_t pickle = good.find("\x80\x02");
  for (size_t i = 0; i < 400; ++i) {
    std::string bad = good;
    bad[pickle + i * 7] = static_cast<char>(bad[pickle + i * 7] ^ static_cast<char>(1 + i % 255));
    open_error(bad);
    bad = good;
    bad[good.size() - 1 - i * 5] = static_cast<char>(bad[good.size() - 1 - i * 5] ^ static_cast<char>(1 + i % 255));
    open_error(bad);
  }
}

TEST(TorchFileTest, TheFormBefore16IsRefusedByName) {
  EXPECT_NE(open_error("\x80\x02\x8a\x0al\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."s).find("before PyTorch 1.6"),
            std::string::npos);
}

const std::filesystem::path kSeeds = std::filesystem::path(OCTOBERT_SOURCE_DIR) / "tests/fuzz/corpus/torch_file";

// What the fuzz target begins with, in builds without a fuzzer too: among it what has once been a fault.
TEST(TorchFileTest, SeedsOfTheFuzzTargetAreReplayed) {
  size_t seeds = 0;
  for (const auto& entry : std::filesystem::directory_iterator(kSeeds)) {
    const std::string bytes = read_file(entry.path());
    LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
    ++seeds;
  }
  EXPECT_GE(seeds, 13U);
}

// What a seed is refused with; "no error" if it is not.
std::string seed_error(const std::string& name, ErrorCode code) {
  const std::string bytes = read_file(kSeeds / name);
  EXPECT_FALSE(bytes.empty()) << name;
  return test::error_of(
      [&] {
        if (bytes.front() == 'P') {
          const auto read = [&](uint64_t offset, void* dst, size_t count) {
            if (count != 0) std::memcpy(dst, bytes.data() + offset, count);
          };
          converter::read_zip_directory(bytes.size(), read, "test");
        } else {
          converter::read_torch_state(bytes, {{"0", 32}}, "test");
        }
      },
      code);
}

TEST(TorchFileTest, SeedsReachWhatTheyAreNamedAfter) {
  const auto refused = [](const char* name, const char* part, ErrorCode code = ErrorCode::kFormat) {
    const std::string message = seed_error(name, code);
    EXPECT_NE(message.find(part), std::string::npos) << name << ": " << message;
  };
  EXPECT_EQ(seed_error("archive_empty", ErrorCode::kFormat), "no error");  // once copied from null: an empty directory
  refused("archive_truncated", "no end record");
  refused("archive_huge_directory", "a directory of 4294967295 bytes");
  refused("archive_huge_entry", "lies outside the file");
  refused("pickle_truncated", "ends too early");
  refused("pickle_forbidden_global", "'os system'", ErrorCode::kUnsupported);
  refused("pickle_forbidden_stack_global", "'builtins eval'", ErrorCode::kUnsupported);
  refused("pickle_huge_string", "ends too early");
  refused("pickle_huge_long", "64 bits");
  refused("pickle_huge_shape", "overflows");
}

TEST(TorchFileTest, TensorsBeyondTheirStorageAreRefused) {
  const std::string call =
      "ctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x00"s
      "0X\x03\x00\x00\x00"
      "cpuK\x08tQ"s;
  const auto state = [&](const std::string& geometry) {
    const std::string pickle = "\x80\x02}(X\x01\x00\x00\x00w"s + call + geometry + "\x89}tRu."s;
    try {
      const auto read = converter::read_torch_state(pickle, {{"0", 32}}, "test");
      return std::to_string(read.infos.at(0).elements);
    } catch (const Error& error) {
      return std::string(error.what());
    }
  };
  EXPECT_EQ(state("K\x00K\x02K\x04\x86K\x04K\x01\x86"s), "8");   // [2, 4] contiguous
  EXPECT_EQ(state("K\x00K\x04K\x02\x86K\x01K\x04\x86"s), "8");   // transposed
  EXPECT_EQ(state("K\x07K\x05K\x03\x86K\x00K\x00\x86"s), "15");  // one element, expanded
  EXPECT_EQ(state("K\x63K\x00K\x03\x86K\x03K\x01\x86"s), "0");   // empty
  for (const std::string& bad :
       {"K\x01K\x02K\x04\x86K\x04K\x01\x86"s, "K\x00K\x02K\x04\x86K\x05K\x01\x86"s, "K\x08K\x01\x85K\x01\x85"s,
        "K\x00K\x02K\x02\x86\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7fK\x01\x86"s}) {
    EXPECT_NE(state(bad).find("beyond its storage"), std::string::npos) << state(bad);
  }
  EXPECT_NE(state("K\x00\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7fK\x04\x86K\x00K\x00\x86"s).find("overflows"),
            std::string::npos);
}

}  // namespace
}  // namespace octobert
