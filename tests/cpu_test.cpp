// What may run where, on made-up machines, and the dispatch that follows from it.
#include "kernels/cpu.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "kernels/dispatch.h"

namespace octobert {
namespace {

// Bits as Intel's and AMD's manuals number them.
constexpr uint32_t kFma = 1u << 12, kSse42 = 1u << 20, kPopcnt = 1u << 23, kOsxsave = 1u << 27, kAvx = 1u << 28,
                   kF16c = 1u << 29;
constexpr uint32_t kLeaf1Haswell = kFma | kSse42 | kPopcnt | kOsxsave | kAvx | kF16c;
constexpr uint32_t kAvx2 = 1u << 5, kF = 1u << 16, kDq = 1u << 17, kBw = 1u << 30, kVl = 1u << 31;
constexpr uint32_t kVnni = 1u << 11;
constexpr uint32_t kAvxVnni = 1u << 4;
constexpr CpuFeatures kHaswellFeatures = kFeatureAvx2 | kFeatureFma;
constexpr CpuFeatures kFull512 =
    kHaswellFeatures | kFeatureAvx512F | kFeatureAvx512Dq | kFeatureAvx512Bw | kFeatureAvx512Vl | kFeatureAvx512Vnni;

struct Machine {
  const char* name;
  X86Registers registers;
  CpuFeatures features;
  const char* best;
};

class X86Machines : public testing::TestWithParam<Machine> {};

TEST_P(X86Machines, Features) { EXPECT_EQ(features_from_x86(GetParam().registers), GetParam().features); }

#if defined(__x86_64__)
TEST_P(X86Machines, BestTable) {
  EXPECT_STREQ(best_table(features_from_x86(GetParam().registers)).name, GetParam().best);
}
#endif

const Machine kMachines[] = {
    {"Core2", {0, 0, 0, 0, 0}, 0, "scalar"},
    {"Nehalem", {kSse42 | kPopcnt, 0, 0, 0, 0}, 0, "scalar"},
    {"SandyBridge", {kSse42 | kPopcnt | kOsxsave | kAvx, 0, 0, 0, 0x7}, 0, "scalar"},
    {"Haswell", {kLeaf1Haswell, kAvx2, 0, 0, 0x7}, kHaswellFeatures, "avx2"},
    {"HaswellWithoutFma", {kLeaf1Haswell & ~kFma, kAvx2, 0, 0, 0x7}, kFeatureAvx2, "scalar"},
    // CPUID of Haswell under a system that never set CR4.OSXSAVE; XCR0 can't be read there.
    {"HaswellWithoutOsxsave", {kLeaf1Haswell & ~kOsxsave, kAvx2, 0, 0, 0}, 0, "scalar"},
    {"HaswellSseStateOnly", {kLeaf1Haswell, kAvx2, 0, 0, 0x3}, 0, "scalar"},
    {"AlderLake", {kLeaf1Haswell, kAvx2, 0, kAvxVnni, 0x7}, kHaswellFeatures | kFeatureAvxVnni, "avx_vnni"},
    {"AvxVnniWithoutAvxState", {kLeaf1Haswell, kAvx2, 0, kAvxVnni, 0x1}, 0, "scalar"},
    {"SkylakeServer",
     {kLeaf1Haswell, kAvx2 | kF | kDq | kBw | kVl, 0, 0, 0xe7},
     kFull512 & ~CpuFeatures{kFeatureAvx512Vnni},
     "avx2"},
    {"KnightsMill", {kLeaf1Haswell, kAvx2 | kF, 0, 0, 0xe7}, kHaswellFeatures | kFeatureAvx512F, "avx2"},
    {"CascadeLake", {kLeaf1Haswell, kAvx2 | kF | kDq | kBw | kVl, kVnni, 0, 0xe7}, kFull512, "avx512_vnni"},
    {"VnniWithoutVl",
     {kLeaf1Haswell, kAvx2 | kF | kDq | kBw, kVnni, 0, 0xe7},
     kFull512 & ~CpuFeatures{kFeatureAvx512Vl},
     "avx2"},
    {"VnniWithoutBw",
     {kLeaf1Haswell, kAvx2 | kF | kDq | kVl, kVnni, 0, 0xe7},
     kFull512 & ~CpuFeatures{kFeatureAvx512Bw},
     "avx2"},
    // A virtual machine whose CPUID promises AVX-512 and whose XCR0 does not save its registers.
    {"CascadeLakeNoZmmState", {kLeaf1Haswell, kAvx2 | kF | kDq | kBw | kVl, kVnni, 0, 0x7}, kHaswellFeatures, "avx2"},
    {"CascadeLakeNoHighZmm", {kLeaf1Haswell, kAvx2 | kF | kDq | kBw | kVl, kVnni, 0, 0x67}, kHaswellFeatures, "avx2"},
    {"CascadeLakeNoOpmask", {kLeaf1Haswell, kAvx2 | kF | kDq | kBw | kVl, kVnni, 0, 0xc7}, kHaswellFeatures, "avx2"},
    {"CascadeLakeWithoutF16c",
     {kLeaf1Haswell & ~kF16c, kAvx2 | kF | kDq | kBw | kVl, kVnni, 0, 0xe7},
     kHaswellFeatures,
     "avx2"},
    {"SapphireRapids",
     {kLeaf1Haswell, kAvx2 | kF | kDq | kBw | kVl, kVnni, kAvxVnni, 0x600e7},
     kFull512 | kFeatureAvxVnni,
     "avx512_vnni"},
    {"SapphireRapidsNoZmmState",
     {kLeaf1Haswell, kAvx2 | kF | kDq | kBw | kVl, kVnni, kAvxVnni, 0x7},
     kHaswellFeatures | kFeatureAvxVnni,
     "avx_vnni"},
    {"EverythingButXcr0", {~0u, ~0u, ~0u, ~0u, 0}, 0, "scalar"},
};
INSTANTIATE_TEST_SUITE_P(All, X86Machines, testing::ValuesIn(kMachines),
                         [](const auto& info) { return std::string(info.param.name); });

struct ArmMachine {
  const char* name;
  uint64_t hwcap, hwcap2;
  CpuFeatures features;
  const char* best;
};

class ArmMachines : public testing::TestWithParam<ArmMachine> {};

TEST_P(ArmMachines, Features) {
  EXPECT_EQ(features_from_hwcaps(GetParam().hwcap, GetParam().hwcap2), GetParam().features);
}

#if defined(__aarch64__)
TEST_P(ArmMachines, BestTable) {
  EXPECT_STREQ(best_table(features_from_hwcaps(GetParam().hwcap, GetParam().hwcap2)).name, GetParam().best);
}
#endif

// AT_HWCAP as Linux prints it on these machines (/proc/cpuinfo's names, <asm/hwcap.h>'s numbers).
constexpr uint64_t kCortexA72 = 0xff;       // fp asimd evtstrm aes pmull sha1 sha2 crc32
constexpr uint64_t kNeoverseN1 = 0x119fff;  // … atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp
constexpr uint64_t kAsimdDp = 1u << 20, kAtomics = 1u << 8, kI8mm = 1u << 13;
const ArmMachine kArmMachines[] = {
    {"NoAsimd", 0x1, 0, 0, "scalar"},
    {"CortexA72", kCortexA72, 0, kFeatureNeon, "neon"},
    {"NeoverseN1", kNeoverseN1, 0, kFeatureNeon | kFeatureDotprod, "neon_dotprod"},
    {"Armv82WithoutDotprod", kNeoverseN1 & ~kAsimdDp, 0, kFeatureNeon, "neon"},
    {"DotprodWithoutAtomics", kNeoverseN1 & ~kAtomics, kI8mm, kFeatureNeon, "neon"},
    {"NeoverseV1", kNeoverseN1, kI8mm, kFeatureNeon | kFeatureDotprod | kFeatureI8mm, "neon_i8mm"},
    {"I8mmWithoutDotprod", kNeoverseN1 & ~kAsimdDp, kI8mm, kFeatureNeon | kFeatureI8mm, "neon"},
};
INSTANTIATE_TEST_SUITE_P(All, ArmMachines, testing::ValuesIn(kArmMachines),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(Dispatch, ScalarComesFirstAndRunsAnywhere) {
  ASSERT_FALSE(compiled_tables().empty());
  const KernelTable& scalar = *compiled_tables().front();
  EXPECT_STREQ(scalar.name, "scalar");
  EXPECT_EQ(scalar.isa, Isa::kScalar);
  EXPECT_TRUE(is_available(scalar, 0));
  EXPECT_EQ(&best_table(0), &scalar);
}

TEST(Dispatch, EveryInstructionSetOfTheArchitectureIsThere) {
  std::vector<std::string> names;
  for (const KernelTable* table : compiled_tables()) names.emplace_back(table->name);
#if defined(__x86_64__)
  EXPECT_EQ(names, (std::vector<std::string>{"scalar", "avx2", "avx_vnni", "avx512_vnni"}));
#else
  EXPECT_EQ(names, (std::vector<std::string>{"scalar", "neon", "neon_dotprod", "neon_i8mm"}));
#endif
}

TEST(Dispatch, TablesAreCompleteAndFoundByName) {
  for (const KernelTable* table : compiled_tables()) {
    SCOPED_TRACE(table->name);
    EXPECT_EQ(find_table(table->name), table);
    EXPECT_TRUE(table->activation_offset == 0 || table->activation_offset == 128);
    EXPECT_TRUE(table->gemm_s8 && table->gemm_f32 && table->unpack_panel && table->quantize_rows && table->layer_norm);
    EXPECT_TRUE(table->embed && table->attention_s8 && table->attention_f32 && table->softmax && table->activate);
  }
  EXPECT_EQ(find_table(""), nullptr);
  EXPECT_EQ(find_table("avx2 "), nullptr);
  EXPECT_EQ(find_table("SCALAR"), nullptr);
}

TEST(Dispatch, EveryRequiredFeatureIsNeeded) {
  for (const KernelTable* table : compiled_tables()) {
    const CpuFeatures required = table->required_features;
    EXPECT_TRUE(is_available(*table, required));
    for (int i = 0; i < 64; ++i) {
      const CpuFeatures one = CpuFeatures{1} << i;
      EXPECT_EQ(is_available(*table, ~one), (required & one) == 0) << table->name << " bit " << i;
    }
  }
}

// What the machine runs is what its owner expects: scripts/test_arm.sh and scripts/test_old_x86.sh
// name the table that an emulated CPU must choose.
TEST(Dispatch, ThisMachineChoosesTheExpectedTable) {
  const CpuFeatures features = detect_cpu_features();
  const KernelTable& best = best_table(features);
  const char* expected = std::getenv("OCTOBERT_TEST_EXPECT_ISA");
  EXPECT_STREQ(best.name, expected != nullptr ? expected : best.name);
  EXPECT_TRUE(is_available(best, features));
  bool after_best = false;
  for (const KernelTable* table : compiled_tables()) {
    EXPECT_FALSE(after_best && is_available(*table, features)) << table->name;
    after_best = after_best || table == &best;
  }
}

#if defined(__x86_64__)
// The system's own list of flags is another witness of the detection.
TEST(Dispatch, DetectionAgreesWithProcCpuinfo) {
  // qemu-user shows the host's file, whatever CPU it emulates.
  if (std::getenv("OCTOBERT_TEST_EXPECT_ISA") != nullptr) GTEST_SKIP() << "emulated CPU";
  std::ifstream cpuinfo("/proc/cpuinfo");
  std::string line, flags;
  while (std::getline(cpuinfo, line)) {
    if (line.starts_with("flags")) flags = line + " ";
  }
  if (flags.empty()) GTEST_SKIP() << "no flags in /proc/cpuinfo";
  const std::pair<const char*, CpuFeatures> names[] = {
      {"avx2", kFeatureAvx2},         {"fma", kFeatureFma},
      {"avx_vnni", kFeatureAvxVnni},  {"avx512f", kFeatureAvx512F},
      {"avx512bw", kFeatureAvx512Bw}, {"avx512dq", kFeatureAvx512Dq},
      {"avx512vl", kFeatureAvx512Vl}, {"avx512_vnni", kFeatureAvx512Vnni}};
  for (const auto& [name, feature] : names) {
    const bool listed = flags.find(" " + std::string(name) + " ") != std::string::npos;
    EXPECT_EQ((detect_cpu_features() & feature) != 0, listed) << name;
  }
}
#endif

// ---- caches ----

class FakeCaches : public testing::Test {
 protected:
  FakeCaches() : root_(std::filesystem::path(testing::TempDir()) / ("caches." + std::to_string(getpid()))) {}
  ~FakeCaches() override { std::filesystem::remove_all(root_); }
  void add(int index, const char* type, const char* level, const char* size) {
    const auto directory = root_ / ("index" + std::to_string(index));
    std::filesystem::create_directories(directory);
    std::ofstream(directory / "type") << type << "\n";
    std::ofstream(directory / "level") << level << "\n";
    std::ofstream(directory / "size") << size << "\n";
  }
  std::filesystem::path root_;
};

TEST_F(FakeCaches, ThreeLevels) {
  add(0, "Data", "1", "48K");
  add(1, "Instruction", "1", "32K");
  add(2, "Unified", "2", "2048K");
  add(3, "Unified", "3", "105M");
  const CacheSizes sizes = read_cache_sizes(root_.c_str());
  EXPECT_EQ(sizes.l1d, 48u << 10);
  EXPECT_EQ(sizes.l2, 2u << 20);
  EXPECT_EQ(sizes.l3, 105u << 20);
}

TEST_F(FakeCaches, NoneAndNonsense) {
  EXPECT_EQ(read_cache_sizes(root_.c_str()).l1d, 0u);
  EXPECT_EQ(read_cache_sizes(std::string(1000, 'x').c_str()).l1d, 0u);
  add(0, "Data", "1", "48 apples");
  add(1, "Unified", "two", "1M");
  add(2, "Unified", "7", "1M");
  const CacheSizes sizes = read_cache_sizes(root_.c_str());
  EXPECT_EQ(sizes.l1d + sizes.l2 + sizes.l3, 0u);
}

TEST(Caches, FromCpuid) {
  CacheSizes sizes = {};
  // Zen 5: 48 KiB, 12 ways, 64 sets; 32 KiB of instructions; 1 MiB, 16 ways; 32 MiB, 16 ways.
  EXPECT_TRUE(add_x86_cache({0x4121, 0x2c0003f, 63}, sizes));
  EXPECT_TRUE(add_x86_cache({0x4122, 0x1c0003f, 63}, sizes));
  EXPECT_TRUE(add_x86_cache({0x4143, 0x3c0003f, 1023}, sizes));
  EXPECT_TRUE(add_x86_cache({0x1c163, 0x3c0003f, 32767}, sizes));
  EXPECT_FALSE(add_x86_cache({0, 0, 0}, sizes));
  EXPECT_EQ(sizes.l1d, 48u << 10);
  EXPECT_EQ(sizes.l2, 1u << 20);
  EXPECT_EQ(sizes.l3, 32u << 20);
}

TEST(Caches, ThisMachineHasSensibleOnes) {
  const CacheSizes sizes = detect_cache_sizes();
  EXPECT_GE(sizes.l1d, 4u << 10);
  EXPECT_LE(sizes.l1d, 1u << 20);
  EXPECT_GT(sizes.l2, sizes.l1d);
  EXPECT_TRUE(sizes.l3 == 0 || sizes.l3 >= sizes.l2 / 2);
}

TEST(Vendor, AnL3IsNearOnAmd) {
  const CacheSizes sizes = {.l1d = 1, .l2 = 2, .l3 = 3};
  EXPECT_EQ(near_l3_bytes("AuthenticAMD", sizes), 3u);
  EXPECT_EQ(near_l3_bytes("GenuineIntel", sizes), 0u);
  EXPECT_EQ(near_l3_bytes("", sizes), 0u);
  EXPECT_EQ(near_l3_bytes(), fetches_results() ? detect_cache_sizes().l3 : 0u);
}

TEST(Vendor, ResultsAreFetchedWhereThatIsFaster) {
  EXPECT_TRUE(fetches_results("AuthenticAMD"));
  EXPECT_FALSE(fetches_results("GenuineIntel"));
  EXPECT_FALSE(fetches_results(""));
#if defined(__x86_64__)
  EXPECT_EQ(fetches_results(), __builtin_cpu_is("amd") != 0);
#else
  EXPECT_FALSE(fetches_results());
#endif
}

}  // namespace
}  // namespace octobert
