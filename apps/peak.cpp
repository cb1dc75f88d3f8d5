#include "apps/peak.h"

#include <algorithm>
#include <chrono>
#include <string_view>

namespace octobert::bench {

#if defined(__x86_64__)
namespace {

// ---- loops over one instruction sequence ----
// `.irp` makes one copy of the sequence for each accumulator. 12 or 24 independent ones hide the longest latency times
// issue width there is (5 cycles, 2 a cycle, 2 instructions of the chain on one port). Operands hold zeros: speed does
// not depend on them, and float chains meet no denormals.
#define PEAK_12 "0,1,2,3,4,5,6,7,8,9,10,11"
#define PEAK_24 PEAK_12 ",12,13,14,15,16,17,18,19,20,21,22,23"
#define PEAK_LOOP(prepare, accumulators, sequence, trips)                                                        \
  asm volatile("vzeroall\n" prepare "1:\n.irp n," accumulators "\n" sequence ".endr\ndec %0\njnz 1b\nvzeroupper" \
               : "+r"(trips)                                                                                     \
               :                                                                                                 \
               : "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10",  \
                 "xmm11", "xmm12", "xmm13", "xmm14", "xmm15")
#define PEAK_256(sequence) PEAK_LOOP("", PEAK_12, sequence "\n", trips)
// Registers 16 to 31 are not named as clobbered: this file is compiled for the baseline, which never uses them.
#define PEAK_512(sequence)                                                                                 \
  PEAK_LOOP(".irp n,16,17,18,19,20,21,22,23,30,31\nvpxord %%zmm\\n, %%zmm\\n, %%zmm\\n\n.endr\n", PEAK_24, \
            sequence "\n", trips)

void vpdpbusd_512(uint64_t trips) { PEAK_512("vpdpbusd %%zmm30, %%zmm31, %%zmm\\n"); }
void vpdpbusd_256(uint64_t trips) { PEAK_256("%{evex%} vpdpbusd %%ymm14, %%ymm15, %%ymm\\n"); }
void vpdpbusd_vex(uint64_t trips) { PEAK_256("%{vex%} vpdpbusd %%ymm14, %%ymm15, %%ymm\\n"); }
void fma_512(uint64_t trips) { PEAK_512("vfmadd231ps %%zmm30, %%zmm31, %%zmm\\n"); }
void fma_256(uint64_t trips) { PEAK_256("vfmadd231ps %%ymm14, %%ymm15, %%ymm\\n"); }

// AVX2 has no 8-bit dot product. Pairs to 16 bits (which saturates), fours to 32, add; with one instruction more it is
// exact: the sign of the weight goes to the activation, |w| stays unsigned.
void maddubs_256(uint64_t trips) {
  PEAK_256(
      "vpmaddubsw %%ymm13, %%ymm14, %%ymm12\n"
      "vpmaddwd %%ymm15, %%ymm12, %%ymm12\n"
      "vpaddd %%ymm12, %%ymm\\n, %%ymm\\n");
}
void sign_maddubs_256(uint64_t trips) {
  PEAK_256(
      "vpsignb %%ymm13, %%ymm14, %%ymm12\n"
      "vpmaddubsw %%ymm12, %%ymm14, %%ymm12\n"
      "vpmaddwd %%ymm15, %%ymm12, %%ymm12\n"
      "vpaddd %%ymm12, %%ymm\\n, %%ymm\\n");
}
// The same without vpsignb, which competes for the multipliers: a ^ -1 is -a - 1, and what that lacks does not depend
// on the activations (kernels/avx2.cpp).
void xor_maddubs_256(uint64_t trips) {
  PEAK_256(
      "vpxor %%ymm13, %%ymm14, %%ymm12\n"
      "vpmaddubsw %%ymm12, %%ymm14, %%ymm12\n"
      "vpmaddwd %%ymm15, %%ymm12, %%ymm12\n"
      "vpaddd %%ymm12, %%ymm\\n, %%ymm\\n\n");
}
// Two pairs in a 16-bit lane before they are widened, which the rows are prepared for (kernels/split_avx2-inl.h).
void split_maddubs_256(uint64_t trips) {
  PEAK_256(
      "vpmaddubsw %%ymm13, %%ymm14, %%ymm12\n"
      "vpmaddubsw %%ymm13, %%ymm14, %%ymm15\n"
      "vpaddw %%ymm15, %%ymm12, %%ymm12\n"
      "vpmaddwd %%ymm13, %%ymm12, %%ymm12\n"
      "vpaddd %%ymm12, %%ymm\\n, %%ymm\\n\n");
}
// Both operands widened to 16 bits beforehand.
void madd_256(uint64_t trips) { PEAK_256("vpmaddwd %%ymm14, %%ymm15, %%ymm12\nvpaddd %%ymm12, %%ymm\\n, %%ymm\\n"); }
// A chain of additions that depend on each other takes a cycle each: the clock. Of two registers, since Golden Cove
// adds constants for nothing, where registers are renamed.
void add_chain(uint64_t trips) {
  const uint64_t one = 1;
  uint64_t sum = 0;
  asm volatile("1:\n.irp n," PEAK_24 "\nadd %2, %1\n.endr\ndec %0\njnz 1b"
               : "+&r"(trips), "+&r"(sum)
               : "r"(one)
               : "cc");
}

constexpr CpuFeatures kAvx512Vnni = kFeatureAvx512F | kFeatureAvx512Vnni;
constexpr PeakLoop kLoops[] = {
    {"clock", "GHz", 0, add_chain, 24},
    {"vpdpbusd_512", "GMAC/s", kAvx512Vnni, vpdpbusd_512, 24 * 64},
    {"vpdpbusd_256", "GMAC/s", kAvx512Vnni | kFeatureAvx512Vl, vpdpbusd_256, 12 * 32},
    {"vpdpbusd_vex", "GMAC/s", kFeatureAvxVnni, vpdpbusd_vex, 12 * 32},
    {"maddubs_256", "GMAC/s", kFeatureAvx2, maddubs_256, 12 * 32},
    {"sign_maddubs_256", "GMAC/s", kFeatureAvx2, sign_maddubs_256, 12 * 32},
    {"xor_maddubs_256", "GMAC/s", kFeatureAvx2, xor_maddubs_256, 12 * 32},
    {"split_maddubs_256", "GMAC/s", kFeatureAvx2, split_maddubs_256, 12 * 64},
    {"madd_256", "GMAC/s", kFeatureAvx2, madd_256, 12 * 16},
    {"fma_512", "GMAC/s", kFeatureAvx512F, fma_512, 24 * 16},
    {"fma_256", "GMAC/s", kFeatureFma, fma_256, 12 * 8},
};

}  // namespace

std::span<const PeakLoop> peak_loops() { return kLoops; }
#else
std::span<const PeakLoop> peak_loops() { return {}; }
#endif

const PeakLoop* peak_loop_of(const KernelTable& kernels, bool floats) {
  constexpr struct {
    std::string_view kernels, integers, floats;
  } kNames[] = {{"avx512_vnni", "vpdpbusd_512", "fma_512"},
                {"avx_vnni", "vpdpbusd_vex", "fma_256"},
                {"avx_vnni_evex", "vpdpbusd_256", "fma_256"},
                {"avx2", "split_maddubs_256", "fma_256"}};
  for (const auto& names : kNames) {
    if (names.kernels != kernels.name) continue;
    for (const PeakLoop& loop : peak_loops()) {
      const bool there = (detect_cpu_features() & loop.needs) == loop.needs;
      if (there && loop.name == (floats ? names.floats : names.integers)) return &loop;
    }
  }
  return nullptr;
}

namespace {

double seconds_of(const PeakLoop& loop, uint64_t trips) {
  const auto begin = std::chrono::steady_clock::now();
  loop.run(trips);
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

// Trips that take about so long.
uint64_t trips_of(const PeakLoop& loop, double seconds) {
  uint64_t trips = 1000;
  double took = 0;
  while ((took = seconds_of(loop, trips)) < 1e-3) trips *= 2;
  return static_cast<uint64_t>(static_cast<double>(trips) * std::max(seconds / took, 0.1)) + 1;
}

}  // namespace

double measure_peak(const PeakLoop& loop, double seconds) {
  constexpr int kTrials = 9;
  const uint64_t trips = trips_of(loop, seconds / kTrials);
  double best = 0;
  for (int i = 0; i < kTrials; ++i) {
    best = std::max(best, loop.work * static_cast<double>(trips) / seconds_of(loop, trips) / 1e9);
  }
  return best;
}

PeakTurns::PeakTurns(const PeakLoop* loop) : loop_(loop) {
  constexpr double kTurn = 5e-4;
  if (loop != nullptr) trips_ = trips_of(*loop, kTurn);
}

void PeakTurns::turn() {
  if (loop_ == nullptr) return;
  // A core whose vectors work harder than just before is throttled for some 50 us.
  loop_->run(trips_ / 2);
  seconds_.push_back(seconds_of(*loop_, trips_));
}

double PeakTurns::rate() const {
  if (seconds_.empty()) return 0;
  std::vector<double> sorted = seconds_;
  std::sort(sorted.begin(), sorted.end());
  return loop_->work * static_cast<double>(trips_) / sorted[sorted.size() / 2] / 1e9;
}

}  // namespace octobert::bench
