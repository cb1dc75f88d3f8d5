// AVX2 and FMA: Haswell, Zen 1 and later. There is no 8-bit product that is signed by signed, and the unsigned by
// signed one saturates where pairs pass 2^15. split_avx2-inl.h has the form for rows that were prepared, which most of
// a model's are. For others, and in attention, this chain cannot saturate, per 8 outputs by 4 inputs, with w as its
// magnitude |w| and m = -1 where w is negative, else 0:
//
//   vpxor       s = a ^ m                 a, or -a - 1 where w is negative
//   vpmaddubsw  p = |w| s + |w'| s'       s is in [-128, 127] and |w| <= 128: p is in [-2^15, 32512], exact
//   vpmaddwd    by ones, pairs to int32
//   vpaddd      into the accumulator
//
// The sum lacks |w| for every negative w, whatever the activations: negative_sums() counts it once a panel, and the
// accumulators start from it. The usual chain has vpsignb for vpxor, which needs no correction but shares the ports of
// the two multiplications: measured on Zen 4 from registers alone, 118 GMAC/s a core with vpxor and 74 with vpsignb.
//
// Tiles are 5 rows by 1 panel: 10 accumulators, |w| and m of both halves, an activation and a temporary are all 16
// registers, and the ones come from memory. Whole loops run at 89 GMAC/s: Zen 4 passes 4 operations a cycle to its
// vector unit, and the loads and what makes |w| and m are some of them.
#include "kernels/cpu.h"
#include "kernels/vec_avx2.h"

namespace octobert {
namespace {

constexpr int32_t kActivationOffset = 0;

}  // namespace
}  // namespace octobert

#include "kernels/attention_f32-inl.h"
#include "kernels/attention_static-inl.h"
#include "kernels/fma_avx2.h"
#include "kernels/gemm-inl.h"
#include "kernels/split_avx2-inl.h"

namespace octobert {
namespace {

struct MaddS8 {
  using Acc = Vec::I;
  using A = const char*;  // left in memory: mac loads it
  struct B {
    Vec::I magnitude, negative;
  };
  static constexpr int kRows = 5;
  static constexpr int kPanels = 1;

  static A load_a(const char* p) { return p; }
  static B load_b(const char* p) {
    const Vec::I w = Vec::load_i(p);
    return {{_mm256_abs_epi8(w.low), _mm256_abs_epi8(w.high)},
            {_mm256_cmpgt_epi8(_mm256_setzero_si256(), w.low), _mm256_cmpgt_epi8(_mm256_setzero_si256(), w.high)}};
  }
  static Acc mac(Acc acc, A a, const B& b) {
    __m256i x;
    __m256i t;
    asm("vpbroadcastd %[a], %[x]\n\t"
        "vpxor %[x], %[negative_low], %[t]\n\t"
        "vpmaddubsw %[t], %[magnitude_low], %[t]\n\t"
        "vpmaddwd %[ones], %[t], %[t]\n\t"
        "vpaddd %[t], %[low], %[low]\n\t"
        "vpxor %[x], %[negative_high], %[x]\n\t"
        "vpmaddubsw %[x], %[magnitude_high], %[x]\n\t"
        "vpmaddwd %[ones], %[x], %[x]\n\t"
        "vpaddd %[x], %[high], %[high]"
        : [low] "+x"(acc.low), [high] "+x"(acc.high), [x] "=&x"(x), [t] "=&x"(t)
        : [a] "m"(*reinterpret_cast<const char(*)[4]>(a)), [ones] "m"(kOnes16), [magnitude_low] "x"(b.magnitude.low),
          [magnitude_high] "x"(b.magnitude.high), [negative_low] "x"(b.negative.low),
          [negative_high] "x"(b.negative.high));
    return acc;
  }

  // Per output of a panel, the sum of |w| over negative w.
  static void negative_sums(const char* panel, int steps, int32_t* sums) {
    const __m256i bytes = _mm256_set1_epi8(1);
    const __m256i ones = _mm256_set1_epi16(1);
    Vec::I total = Vec::zero_i();
    for (int i = 0; i < steps; ++i, panel += 64) {
      const B b = load_b(panel);
      const __m256i low = _mm256_maddubs_epi16(_mm256_and_si256(b.magnitude.low, b.negative.low), bytes);
      const __m256i high = _mm256_maddubs_epi16(_mm256_and_si256(b.magnitude.high, b.negative.high), bytes);
      total = Vec::add_i(total, {_mm256_madd_epi16(low, ones), _mm256_madd_epi16(high, ones)});
    }
    Vec::store_i(sums, total);
  }
};

void gemm_s8(const GemmS8Args& g) { g.splits == nullptr ? gemm_s8_with<MaddS8>(g) : gemm_s8_split(g); }
void gemm_f32(const GemmF32Args& g) { gemm_f32_with<FmaF32>(g); }
void attention_s8(const AttentionArgs& g) { attention_s8_with<MaddS8>(g); }
void attention_static(const AttentionStaticArgs& g) { attention_static_with<MaddS8>(g); }
void attention_f32(const AttentionArgs& g) { attention_f32_with<FmaF32>(g); }

}  // namespace

constinit const KernelTable kAvx2Table = {
    .name = "avx2",
    .isa = Isa::kAvx2,
    .required_features = kFeatureAvx2 | kFeatureFma,
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
    .split_rows = split_rows,
    .join_rows = join_rows,
};

}  // namespace octobert
