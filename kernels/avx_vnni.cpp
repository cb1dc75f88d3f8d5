// AVX-VNNI, the 256-bit form of vpdpbusd with VEX encoding: Alder Lake and later, Zen 5. Tiles of 6 rows by 1 panel:
// 12 accumulators, 2 registers of weights and 1 of activations, of 16.
//
//   per step of 6 x 1            count   Alder Lake P           Zen 5
//   vpdpbusd ymm                 12      2 a cycle: 6 cycles    2 a cycle
//   vmovdqu ymm (weights)        2       3 loads a cycle        4 loads a cycle
//   vpbroadcastd (activations)   6
//
// Tests and benches build this file a second time with OCTOBERT_AVX_VNNI_EVEX, as kAvxVnniEvexTable: the same
// instructions in AVX-512's encoding, for CPUs that have only that one.
#include "kernels/cpu.h"
#include "kernels/vec_avx2.h"

namespace octobert {
namespace {

constexpr int32_t kActivationOffset = 128;  // vpdpbusd takes unsigned activations

}  // namespace
}  // namespace octobert

#include "kernels/attention_f32-inl.h"
#include "kernels/attention_static-inl.h"
#include "kernels/fma_avx2.h"
#include "kernels/gemm-inl.h"

#ifdef OCTOBERT_AVX_VNNI_EVEX
#define OCTOBERT_VPDPBUSD "vpdpbusd"
#else
#define OCTOBERT_VPDPBUSD "%{vex%} vpdpbusd"
#endif

namespace octobert {
namespace {

struct DotS8 {
  using Acc = Vec::I;
  using A = __m256i;
  using B = Vec::I;
  static constexpr int kRows = 6;
  static constexpr int kPanels = 1;
  static A load_a(const char* p) {
    int32_t four = 0;
    memcpy(&four, p, sizeof four);
    return _mm256_set1_epi32(four);
  }
  static B load_b(const char* p) { return Vec::load_i(p); }
  static Acc mac(Acc acc, A a, B b) {
    asm(OCTOBERT_VPDPBUSD " %2, %1, %0" : "+x"(acc.low) : "x"(a), "x"(b.low));
    asm(OCTOBERT_VPDPBUSD " %2, %1, %0" : "+x"(acc.high) : "x"(a), "x"(b.high));
    return acc;
  }
};

void gemm_s8(const GemmS8Args& g) { gemm_s8_with<DotS8>(g); }
void gemm_f32(const GemmF32Args& g) { gemm_f32_with<FmaF32>(g); }
void attention_s8(const AttentionArgs& g) { attention_s8_with<DotS8>(g); }
void attention_static(const AttentionStaticArgs& g) { attention_static_with<DotS8>(g); }
void attention_f32(const AttentionArgs& g) { attention_f32_with<FmaF32>(g); }

}  // namespace

#ifdef OCTOBERT_AVX_VNNI_EVEX
extern const KernelTable kAvxVnniEvexTable;
constinit const KernelTable kAvxVnniEvexTable = {
    .name = "avx_vnni_evex",
    .isa = Isa::kAvxVnni,
    .required_features = kFeatureAvx2 | kFeatureFma | kFeatureAvx512F | kFeatureAvx512Vl | kFeatureAvx512Vnni,
#else
constinit const KernelTable kAvxVnniTable = {
    .name = "avx_vnni",
    .isa = Isa::kAvxVnni,
    .required_features = kFeatureAvx2 | kFeatureFma | kFeatureAvxVnni,
#endif
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
