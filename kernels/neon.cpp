// NEON of ARMv8.0, which has no dot product: Cortex-A53, A57, A72 (Raspberry Pi 3 and 4).
//
// Two products of an activation (|q| <= 127) and a weight (|w| <= 128) are at most 2 * 127 * 128 = 32512 and fit int16
// whatever the file holds, so a multiply and a multiply-accumulate in 16 bits precede each widening to 32:
//
//   8 inputs of 4 outputs, a row      count   Cortex-A72
//   smull, smull2, smlal, smlal2      4       F0, one a cycle: 4 cycles
//   sadalp                            2       F1, one a cycle
//
// so 8 products a cycle, bound by F0. Widening to int16 first (smlal by lane) makes 4. The sums of inputs 0 + 1 and
// 2 + 3 of a group stay apart (sadalp adds neighbours), which takes 8 accumulators a row and panel: 2 rows.
#include "kernels/cpu.h"
#include "kernels/vec_neon.h"

namespace octobert {
namespace {

constexpr int32_t kActivationOffset = 0;

}  // namespace
}  // namespace octobert

#include "kernels/attention_f32-inl.h"
#include "kernels/attention_static-inl.h"
#include "kernels/gemm-inl.h"
#include "kernels/tile_neon-inl.h"

namespace octobert {
namespace {

// Two groups' words of a row, each in all four lanes.
struct Words {
  int8x16_t first, second;
};

// Two groups: w0 and w1 are their 16 bytes of weights. Volatile assembly, because g++ 12 spills the accumulators
// otherwise; the chains of 4 and 8 outputs alternate for the CPUs that do not reorder.
inline void add_groups(int32x4_t& p, int32x4_t& p2, Words x, int8x16_t w0, int8x16_t w1) {
  int16x8_t low, high;
  asm volatile(
      "smull %2.8h, %4.8b, %5.8b\n\t"
      "smull2 %3.8h, %4.16b, %5.16b\n\t"
      "smlal %2.8h, %6.8b, %7.8b\n\t"
      "smlal2 %3.8h, %6.16b, %7.16b\n\t"
      "sadalp %0.4s, %2.8h\n\t"
      "sadalp %1.4s, %3.8h"
      : "+w"(p), "+w"(p2), "=&w"(low), "=&w"(high)
      : "w"(w0), "w"(x.first), "w"(w1), "w"(x.second));
}

// Two rows, four chains.
inline void add_groups(int32x4_t& p, int32x4_t& p2, int32x4_t& q, int32x4_t& q2, Words x, Words y, int8x16_t w0,
                       int8x16_t w1) {
  int16x8_t p_low, p_high, q_low, q_high;
  asm volatile(
      "smull %4.8h, %8.8b, %10.8b\n\t"
      "smull2 %5.8h, %8.16b, %10.16b\n\t"
      "smull %6.8h, %8.8b, %12.8b\n\t"
      "smull2 %7.8h, %8.16b, %12.16b\n\t"
      "smlal %4.8h, %9.8b, %11.8b\n\t"
      "smlal2 %5.8h, %9.16b, %11.16b\n\t"
      "smlal %6.8h, %9.8b, %13.8b\n\t"
      "smlal2 %7.8h, %9.16b, %13.16b\n\t"
      "sadalp %0.4s, %4.8h\n\t"
      "sadalp %1.4s, %5.8h\n\t"
      "sadalp %2.4s, %6.8h\n\t"
      "sadalp %3.4s, %7.8h"
      : "+w"(p), "+w"(p2), "+w"(q), "+w"(q2), "=&w"(p_low), "=&w"(p_high), "=&w"(q_low), "=&w"(q_high)
      : "w"(w0), "w"(w1), "w"(x.first), "w"(x.second), "w"(y.first), "w"(y.second));
}

inline int8x16_t load_bytes(const char* p) { return vld1q_s8(reinterpret_cast<const int8_t*>(p)); }

template <int kLane>
inline Words words(int8x16_t x) {
  const int32x4_t lanes = vreinterpretq_s32_s8(x);
  return {vreinterpretq_s8_s32(vdupq_laneq_s32(lanes, kLane)), vreinterpretq_s8_s32(vdupq_laneq_s32(lanes, kLane + 1))};
}

// Outputs 4i, 4i + 1 in `low` and 4i + 2, 4i + 3 in `high`, two partial sums of each, to sums of 4i .. 4i + 3.
inline NeonI sums(NeonI low, NeonI high) {
  return {vpaddq_s32(low.a, high.a), vpaddq_s32(low.b, high.b), vpaddq_s32(low.c, high.c), vpaddq_s32(low.d, high.d)};
}

struct DotS8 {
  static constexpr int kRows = 2;
  static constexpr int kPanels = 1;

  // Reads 16 bytes of a row at a time: what lies past K there meets weights taken as zero.
  template <int R, int P, bool kPrefetch, class Epilogue>
  [[gnu::noinline]] static void tile(const char* a, size_t lda, const char* b, size_t, int steps,
                                     [[maybe_unused]] const Prefetch& ahead, const Epilogue& epilogue) {
    static_assert(R <= 2);
    [[maybe_unused]] Prefetch prefetch = ahead;
    NeonI low0 = Vec::zero_i(), high0 = low0, low1 = low0, high1 = low0;
    const char* a1 = a + (R - 1) * lda;
    for (; steps >= 4; steps -= 4, a += 16, a1 += 16, b += 256) {
      if constexpr (kPrefetch) {
        for (int i = 0; i < 4; ++i, prefetch.from += prefetch.step) __builtin_prefetch(prefetch.from, 0, 2);
      }
      const int8x16_t x = load_bytes(a), y = load_bytes(a1);
      two_groups<R, true>(low0, high0, low1, high1, words<0>(x), words<0>(y), b);
      two_groups<R, true>(low0, high0, low1, high1, words<2>(x), words<2>(y), b + 128);
    }
    if (steps > 0) {
      const int8x16_t x = load_bytes(a), y = load_bytes(a1);
      if (steps >= 2) two_groups<R, true>(low0, high0, low1, high1, words<0>(x), words<0>(y), b);
      if (steps == 3) two_groups<R, false>(low0, high0, low1, high1, words<2>(x), words<2>(y), b + 128);
      if (steps == 1) two_groups<R, false>(low0, high0, low1, high1, words<0>(x), words<0>(y), b);
    }
    const auto column = epilogue.column(0);
    epilogue.row(0, PanelSums{column, Vec::add_i(sums(low0, high0), epilogue.init(0, 0))});
    if constexpr (R > 1) epilogue.row(1, PanelSums{column, Vec::add_i(sums(low1, high1), epilogue.init(1, 0))});
  }

 private:
  // kBoth: there is a second group in b. Always inlined: accumulators behind references would be in memory.
  template <int R, bool kBoth>
  [[gnu::always_inline]] static inline void two_groups(NeonI& low0, NeonI& high0, NeonI& low1, NeonI& high1, Words x,
                                                       Words y, const char* b) {
    part<R, kBoth>(low0.a, high0.a, low1.a, high1.a, x, y, b);
    part<R, kBoth>(low0.b, high0.b, low1.b, high1.b, x, y, b + 16);
    part<R, kBoth>(low0.c, high0.c, low1.c, high1.c, x, y, b + 32);
    part<R, kBoth>(low0.d, high0.d, low1.d, high1.d, x, y, b + 48);
  }
  template <int R, bool kBoth>
  [[gnu::always_inline]] static inline void part(int32x4_t& low0, int32x4_t& high0, int32x4_t& low1, int32x4_t& high1,
                                                 Words x, Words y, const char* b) {
    const int8x16_t w0 = load_bytes(b);
    const int8x16_t w1 = kBoth ? load_bytes(b + 64) : vdupq_n_s8(0);
    // Copies: what an asm statement writes through a reference, g++ 12 keeps in memory.
    int32x4_t p = low0, p2 = high0;
    if constexpr (R > 1) {
      int32x4_t q = low1, q2 = high1;
      add_groups(p, p2, q, q2, x, y, w0, w1);
      low1 = q;
      high1 = q2;
    } else {
      add_groups(p, p2, x, w0, w1);
    }
    low0 = p;
    high0 = p2;
  }
};

void gemm_s8(const GemmS8Args& g) { gemm_s8_with<DotS8>(g); }
void gemm_f32(const GemmF32Args& g) { gemm_f32_with<FmaF32>(g); }
void attention_s8(const AttentionArgs& g) { attention_s8_with<DotS8>(g); }
void attention_static(const AttentionStaticArgs& g) { attention_static_with<DotS8>(g); }
void attention_f32(const AttentionArgs& g) { attention_f32_with<FmaF32>(g); }

}  // namespace

constinit const KernelTable kNeonTable = {
    .name = "neon",
    .isa = Isa::kNeon,
    .required_features = kFeatureNeon,
    .activation_offset = kActivationOffset,
    .gemm_s8 = gemm_s8,
    .gemm_f32 = gemm_f32,
    .unpack_panel = unpack_panel,
    .unpack_panel_s4 = unpack_panel_s4,
    .unpack_panel_codebook = unpack_panel_codebook,
    .quantize_rows = quantize_rows,
    .quantize_static = quantize_static,
    .layer_norm = layer_norm,
    .embed = embed,
    .attention_s8 = attention_s8,
    .attention_static = attention_static,
    .attention_f32 = attention_f32,
    .softmax = softmax,
    .activate = activate,
};

}  // namespace octobert
