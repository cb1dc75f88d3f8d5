#include "kernels/cpu.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <string_view>

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__)
#include <sys/auxv.h>
#endif

namespace octobert {
namespace {

constexpr bool has_all(uint64_t value, uint64_t bits) { return (value & bits) == bits; }
constexpr uint32_t bit(int position) { return uint32_t{1} << position; }

// Reads a file of /sys, which is one short line. Empty if there is none.
std::string_view read_line(const char* directory, int index, const char* name, std::array<char, 64>& buffer) {
  char path[256];
  const int length = snprintf(path, sizeof(path), "%s/index%d/%s", directory, index, name);
  if (length < 0 || length >= static_cast<int>(sizeof(path))) return {};
  const int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return {};
  const ssize_t count = read(file, buffer.data(), buffer.size());
  close(file);
  if (count <= 0) return {};
  std::string_view line(buffer.data(), static_cast<size_t>(count));
  return line.substr(0, line.find('\n'));
}

// "48K", "1024K", "2M" or plain bytes; 0 if it is none of these.
size_t parse_size(std::string_view text) {
  size_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc()) return 0;
  const std::string_view unit = text.substr(static_cast<size_t>(end - text.data()));
  if (unit.empty()) return value;
  if (unit == "K") return value << 10;
  if (unit == "M") return value << 20;
  return 0;
}

using Vendor = std::array<char, 13>;  // and a zero

void keep_size(CacheSizes& sizes, int level, size_t bytes) {
  if (bytes == 0) return;
  if (level == 1) sizes.l1d = bytes;
  if (level == 2) sizes.l2 = bytes;
  if (level == 3) sizes.l3 = bytes;
}

#if defined(__x86_64__)
X86Registers read_x86_registers() {
  X86Registers registers = {};
  uint32_t eax, ebx, ecx, edx;
  if (__get_cpuid(1, &eax, &ebx, &ecx, &edx)) registers.leaf1_ecx = ecx;
  if (__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx)) {
    registers.leaf7_0_ebx = ebx;
    registers.leaf7_0_ecx = ecx;
    const uint32_t last_subleaf = eax;
    if (last_subleaf >= 1 && __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx)) registers.leaf7_1_eax = eax;
  }
  // XGETBV is an illegal instruction where the system has not set CR4.OSXSAVE. The assembly
  // spares the baseline unit -mxsave.
  if (registers.leaf1_ecx & bit(27)) {
    uint32_t low, high;
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    registers.xcr0 = (uint64_t{high} << 32) | low;
  }
  return registers;
}

CacheSizes cache_sizes_from_cpuid() {
  // Deterministic cache parameters: AMD's leaf (it leaves 4 empty), then Intel's.
  for (const uint32_t leaf : {0x8000001Du, 4u}) {
    CacheSizes sizes = {};
    for (uint32_t index = 0; index < 16; ++index) {
      X86CacheLeaf cache;
      uint32_t edx;
      if (!__get_cpuid_count(leaf, index, &cache.eax, &cache.ebx, &cache.ecx, &edx)) break;
      if (!add_x86_cache(cache, sizes)) break;
    }
    if (sizes.l1d != 0) return sizes;
  }
  return {};
}

Vendor read_vendor() {
  uint32_t last_leaf, letters[3];  // in the order ebx, edx, ecx
  Vendor vendor = {};
  if (__get_cpuid(0, &last_leaf, &letters[0], &letters[2], &letters[1])) {
    memcpy(vendor.data(), letters, sizeof(letters));
  }
  return vendor;
}
#else
CacheSizes cache_sizes_from_cpuid() { return {}; }
Vendor read_vendor() { return {}; }
#endif

bool is_amd(const char* vendor) { return std::string_view(vendor) == "AuthenticAMD"; }

}  // namespace

CpuFeatures features_from_x86(const X86Registers& r) {
  constexpr uint32_t kFma = bit(12), kSse42 = bit(20), kPopcnt = bit(23), kOsxsave = bit(27), kAvx = bit(28),
                     kF16c = bit(29);
  constexpr uint64_t kYmmState = 0x6;   // XCR0: SSE and AVX registers
  constexpr uint64_t kZmmState = 0xe6;  // these, and opmask, upper halves of zmm0-15, zmm16-31
  // -mavx2 lets a compiler use SSE4.2 and POPCNT as well.
  if (!has_all(r.leaf1_ecx, kOsxsave | kAvx | kSse42 | kPopcnt) || !has_all(r.xcr0, kYmmState)) return 0;

  CpuFeatures features = 0;
  if (r.leaf7_0_ebx & bit(5)) features |= kFeatureAvx2;
  if (r.leaf1_ecx & kFma) features |= kFeatureFma;
  if (r.leaf7_1_eax & bit(4)) features |= kFeatureAvxVnni;
  // clang's -mavx512f brings FMA and F16C with it, and both compilers' AVX2.
  const bool avx512_base = has_all(r.leaf1_ecx, kFma | kF16c) && (features & kFeatureAvx2) != 0;
  if (!avx512_base || !has_all(r.xcr0, kZmmState) || !(r.leaf7_0_ebx & bit(16))) return features;
  features |= kFeatureAvx512F;
  if (r.leaf7_0_ebx & bit(17)) features |= kFeatureAvx512Dq;
  if (r.leaf7_0_ebx & bit(30)) features |= kFeatureAvx512Bw;
  if (r.leaf7_0_ebx & bit(31)) features |= kFeatureAvx512Vl;
  if (r.leaf7_0_ecx & bit(11)) features |= kFeatureAvx512Vnni;
  return features;
}

// Values of <asm/hwcap.h>, written out so that this can be tested on any machine.
CpuFeatures features_from_hwcaps(uint64_t hwcap, uint64_t hwcap2) {
  constexpr uint64_t kAsimd = 1u << 1, kCrc32 = 1u << 7, kAtomics = 1u << 8, kAsimdRdm = 1u << 12, kAsimdDp = 1u << 20;
  constexpr uint64_t kI8mm = 1u << 13;  // in hwcap2
  if (!has_all(hwcap, kAsimd)) return 0;
  CpuFeatures features = kFeatureNeon;
  // -march=armv8.2-a, which the intrinsics of sdot ask for, lets a compiler use these as well.
  constexpr uint64_t kArmv82 = kCrc32 | kAtomics | kAsimdRdm;
  if (!has_all(hwcap, kArmv82)) return features;
  if (has_all(hwcap, kAsimdDp)) features |= kFeatureDotprod;
  if (has_all(hwcap2, kI8mm)) features |= kFeatureI8mm;
  return features;
}

CpuFeatures detect_cpu_features() {
#if defined(__x86_64__)
  static const CpuFeatures kFeatures = features_from_x86(read_x86_registers());
#elif defined(__aarch64__)
  static const CpuFeatures kFeatures = features_from_hwcaps(getauxval(AT_HWCAP), getauxval(AT_HWCAP2));
#endif
  return kFeatures;
}

bool add_x86_cache(const X86CacheLeaf& leaf, CacheSizes& sizes) {
  const uint32_t type = leaf.eax & 0x1f;  // 0 none, 1 data, 2 instructions, 3 unified
  if (type == 0) return false;
  const size_t ways = (leaf.ebx >> 22) + size_t{1};
  const size_t partitions = ((leaf.ebx >> 12) & 0x3ff) + size_t{1};
  const size_t line = (leaf.ebx & 0xfff) + size_t{1};
  const size_t sets = leaf.ecx + size_t{1};
  if (type != 2) keep_size(sizes, static_cast<int>((leaf.eax >> 5) & 7), ways * partitions * line * sets);
  return true;
}

CacheSizes read_cache_sizes(const char* directory) {
  CacheSizes sizes = {};
  for (int index = 0; index < 16; ++index) {
    std::array<char, 64> buffer;
    const std::string_view type = read_line(directory, index, "type", buffer);
    if (type.empty()) break;
    if (type == "Instruction") continue;
    const size_t level = parse_size(read_line(directory, index, "level", buffer));
    keep_size(sizes, static_cast<int>(level), parse_size(read_line(directory, index, "size", buffer)));
  }
  return sizes;
}

CacheSizes detect_cache_sizes() {
  static const CacheSizes kSizes = [] {
    CacheSizes found = read_cache_sizes("/sys/devices/system/cpu/cpu0/cache");
    if (found.l1d == 0) found = cache_sizes_from_cpuid();
    if (found.l1d == 0) found.l1d = size_t{32} << 10;
    if (found.l2 == 0) found.l2 = size_t{512} << 10;
    return found;
  }();
  return kSizes;
}

bool fetches_results(const char* vendor) { return is_amd(vendor); }

bool fetches_results() {
  static const bool kFetches = fetches_results(read_vendor().data());
  return kFetches;
}

size_t near_l3_bytes(const char* vendor, const CacheSizes& sizes) { return is_amd(vendor) ? sizes.l3 : 0; }

size_t near_l3_bytes() {
  static const size_t kBytes = near_l3_bytes(read_vendor().data(), detect_cache_sizes());
  return kBytes;
}

}  // namespace octobert
