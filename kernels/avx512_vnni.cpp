// AVX-512 with VNNI: Ice Lake, Zen 4 and later. Tiles of 8 rows by 3 panels: 24 accumulators, 3 registers of weights
// and one of activations, of 32.
//
//   per step of 8 x 3          count   Zen 4 (256-bit units)     Zen 5, Ice Lake server
//   vpdpbusd zmm               24      1 a cycle: 24 cycles      2 a cycle: 12 cycles
//   vmovdqu64 zmm (weights)    3       1 a cycle                 2 a cycle
//   vpbroadcastd (activations) 8       2 a cycle                 2 a cycle
#include "kernels/cpu.h"
#include "kernels/vec_avx512.h"

namespace octobert {
namespace {

constexpr int32_t kActivationOffset = 128;  // vpdpbusd takes unsigned activations

}  // namespace
}  // namespace octobert

#include "kernels/attention_f32-inl.h"
#include "kernels/attention_static-inl.h"
#include "kernels/gemm-inl.h"

namespace octobert {
namespace {

struct DotS8 {
  using Acc = __m512i;
  using A = __m512i;
  using B = __m512i;
  static constexpr int kRows = 8;
  static constexpr int kPanels = 3;
  static A load_a(const char* p) {
    int32_t four = 0;
    __builtin_memcpy(&four, p, sizeof four);
    return _mm512_set1_epi32(four);
  }
  static B load_b(const char* p) { return _mm512_loadu_si512(p); }
  static Acc mac(Acc acc, A a, B b) {
    asm("vpdpbusd %2, %1, %0" : "+v"(acc) : "v"(a), "v"(b));
    return acc;
  }
};

struct FmaF32 {
  using Acc = __m512;
  using A = __m512;
  using B = __m512;
  static constexpr int kRows = 8;
  static constexpr int kPanels = 3;
  static A load_a(const char* p) { return _mm512_set1_ps(*reinterpret_cast<const float*>(p)); }
  static B load_b(const char* p) { return _mm512_loadu_ps(p); }
  static Acc mac(Acc acc, A a, B b) {
    asm("vfmadd231ps %2, %1, %0" : "+v"(acc) : "v"(a), "v"(b));
    return acc;
  }
};

// Floats times int8 weights. What makes floats of them runs beside the multipliers on Zen 4.
struct FmaW8 : FmaF32 {
  static constexpr int kParts = kGroupDepth;
  template <int kPart>
  static B load_part(const char* p) {
    return group_weights<kPart>(Vec::load_i(p));
  }
};

void gemm_s8(const GemmS8Args& g) { gemm_s8_with<DotS8>(g); }
void gemm_f32(const GemmF32Args& g) { gemm_f32_with<FmaF32>(g); }
void gemm_w8(const GemmF32Args& g) { gemm_w8_with<FmaW8>(g); }
void attention_s8(const AttentionArgs& g) { attention_s8_with<DotS8>(g); }
void attention_static(const AttentionStaticArgs& g) { attention_static_with<DotS8>(g); }
void attention_f32(const AttentionArgs& g) { attention_f32_with<FmaF32>(g); }

}  // namespace

constinit const KernelTable kAvx512VnniTable = {
    .name = "avx512_vnni",
    .isa = Isa::kAvx512Vnni,
    .required_features = kFeatureAvx2 | kFeatureFma | kFeatureAvx512F | kFeatureAvx512Bw | kFeatureAvx512Dq |
                         kFeatureAvx512Vl | kFeatureAvx512Vnni,
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
    .gemm_w8 = gemm_w8,
};

}  // namespace octobert
