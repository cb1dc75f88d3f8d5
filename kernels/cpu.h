// What this CPU and the operating system let us use, and the sizes of its caches.
#ifndef OCTOBERT_KERNELS_CPU_H_
#define OCTOBERT_KERNELS_CPU_H_

#include <stddef.h>
#include <stdint.h>

namespace octobert {

// Bits of KernelTable::required_features. Each x86 bit means: CPUID has it and XCR0 says that the
// system saves its registers (OSXSAVE is read first, Intel SDM vol. 1, 14.3).
enum CpuFeature : uint64_t {
  kFeatureAvx2 = 1u << 0,
  kFeatureFma = 1u << 1,
  kFeatureAvxVnni = 1u << 2,
  kFeatureAvx512F = 1u << 3,
  kFeatureAvx512Bw = 1u << 4,
  kFeatureAvx512Dq = 1u << 5,
  kFeatureAvx512Vl = 1u << 6,
  kFeatureAvx512Vnni = 1u << 7,
  kFeatureNeon = 1u << 16,
  kFeatureDotprod = 1u << 17,
  kFeatureI8mm = 1u << 18,
};
using CpuFeatures = uint64_t;

// CPUID and XCR0 as read, so that the decision can be tested on made-up machines.
struct X86Registers {
  uint32_t leaf1_ecx, leaf7_0_ebx, leaf7_0_ecx, leaf7_1_eax;  // 0 where the leaf does not exist
  uint64_t xcr0;                                              // 0 without OSXSAVE
};
CpuFeatures features_from_x86(const X86Registers& registers);
CpuFeatures features_from_hwcaps(uint64_t hwcap, uint64_t hwcap2);  // AArch64 Linux AT_HWCAP, AT_HWCAP2

CpuFeatures detect_cpu_features();  // read once, cached

struct CacheSizes {
  size_t l1d, l2, l3;
};                                // bytes; 32 KiB, 512 KiB, 0 where unknown. l2, l3 as one core sees them
CacheSizes detect_cache_sizes();  // from the system's tables (/sys) or CPUID; read once, cached

// The parts of detect_cache_sizes, for tests; 0 where they find nothing.
CacheSizes read_cache_sizes(const char* directory);  // laid out as /sys/devices/system/cpu/cpu0/cache
struct X86CacheLeaf {
  uint32_t eax, ebx, ecx;
};                                                                // one subleaf of CPUID 4 or 0x8000001D
bool add_x86_cache(const X86CacheLeaf& leaf, CacheSizes& sizes);  // false: there is no such cache, nor one after it

// Whether integer products fetch the lines that a tile of float results goes to before the tile is computed
// (GemmS8Args::fetch_results): on AMD's processors, of which Zen 4 was measured (BERT-base 1 to 2 % faster), and not on
// others: Intel's Emerald Rapids is 1.0 to 1.4 % slower with it, and elsewhere nothing is known.
bool fetches_results();                    // on this CPU; read once, cached
bool fetches_results(const char* vendor);  // CPUID's, 12 characters; empty where there is none

// Bytes of an L3 that each core can stream from several times faster than from memory, all at once, 0 where there is
// none or nothing is known: AMD's, of a few cores each (Zen 4: 80 to 90 GB/s to one core, 181 to 199 to two; from
// memory 22 to 29 and 24 to 67). Emerald Rapids' gives a core no more than its memory does.
size_t near_l3_bytes();                                             // on this CPU; read once, cached
size_t near_l3_bytes(const char* vendor, const CacheSizes& sizes);  // CPUID's, as above

}  // namespace octobert

#endif  // OCTOBERT_KERNELS_CPU_H_
