// NEON with the dot product extension: ARMv8.2 and later (Cortex-A75, A55; Neoverse N1; Apple A11). One sdot takes
// 4 inputs of 4 outputs, with a row's 4 activations as a lane of a register of 16.
//
//   four steps of 6 rows by a panel   count   Neoverse N1 (2 SIMD, 2 load pipes)   Neoverse V2 (4 SIMD, 3 load pipes)
//   sdot                              96      2 a cycle: 48 cycles                 4 a cycle: 24 cycles
//   ldr q (weights)                   16      2 a cycle                            3 a cycle
//   ldr q (activations)               6       2 a cycle                            3 a cycle
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

struct DotS8 {
  using Acc = NeonI;
  using Register = int32x4_t;
  static constexpr int kRows = 6;
  static constexpr int kPanels = 1;
  static Register load(const char* p) { return vreinterpretq_s32_s8(vld1q_s8(reinterpret_cast<const int8_t*>(p))); }
  static Register load_word(const char* p) {
    int32_t word = 0;
    memcpy(&word, p, sizeof word);
    return vdupq_n_s32(word);
  }
  template <int kLane>
  static void mac(Register& acc, Register a, Register b) {
    asm volatile("sdot %0.4s, %1.16b, %2.4b[%3]" : "+w"(acc) : "w"(b), "w"(a), "n"(kLane));
  }
  template <int R, int P, bool kPrefetch, class Epilogue>
  static void tile(const char* a, size_t lda, const char* b, size_t, int steps, const Prefetch& prefetch,
                   const Epilogue& epilogue) {
    lane_tile<DotS8, R, kPrefetch>(a, lda, b, steps, prefetch, epilogue);
  }
};

void gemm_s8(const GemmS8Args& g) { gemm_s8_with<DotS8>(g); }
void gemm_f32(const GemmF32Args& g) { gemm_f32_with<FmaF32>(g); }
void attention_s8(const AttentionArgs& g) { attention_s8_with<DotS8>(g); }
void attention_static(const AttentionStaticArgs& g) { attention_static_with<DotS8>(g); }
void attention_f32(const AttentionArgs& g) { attention_f32_with<FmaF32>(g); }

}  // namespace

constinit const KernelTable kNeonDotprodTable = {
    .name = "neon_dotprod",
    .isa = Isa::kNeonDotprod,
    .required_features = kFeatureNeon | kFeatureDotprod,
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
