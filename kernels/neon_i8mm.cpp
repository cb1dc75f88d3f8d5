// NEON with the int8 matrix extension: Neoverse V1, N2, V2; Cortex-A510, A710; Apple M2. One smmla multiplies 2 rows of
// 8 inputs with 2 outputs of 8 inputs: twice the work of sdot.
//
// Its operands hold 8 inputs of each of two rows or outputs, so two groups of the packed layout are zipped by words,
// and two rows by halves. Both cost SIMD instructions beside the products. For more than a few rows, a panel is
// therefore zipped once, into a buffer that stays in the cache while all rows pass over it:
//
//   8 inputs of 6 rows by a panel        in place   zipped before   Neoverse V2 (4 SIMD pipes, 3 for loads)
//   smmla                                24         24              4 a cycle: 6 cycles
//   zip1, zip2 (weights)                 8          -               4 a cycle
//   ld1 of a half (activations)          3          3               takes a SIMD pipe too
//   all SIMD                             35         27              8.75 and 6.75 cycles
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

inline int8x16_t load_bytes(const char* p) { return vld1q_s8(reinterpret_cast<const int8_t*>(p)); }

// Eight bytes of each of two rows.
inline int8x16_t load_halves(const char* p, const char* q) {
  return vcombine_s8(vld1_s8(reinterpret_cast<const int8_t*>(p)), vld1_s8(reinterpret_cast<const int8_t*>(q)));
}

// Outputs 0, 1 and 2, 3 of 16 bytes of each of two groups.
struct Zipped {
  int8x16_t low, high;
};
inline Zipped zip(int8x16_t w0, int8x16_t w1) {
  const int32x4_t x = vreinterpretq_s32_s8(w0), y = vreinterpretq_s32_s8(w1);
  return {vreinterpretq_s8_s32(vzip1q_s32(x, y)), vreinterpretq_s8_s32(vzip2q_s32(x, y))};
}

// Volatile for the order, as in tile_neon-inl.h. acc = row0 x (out0, out1), row1 x (out0, out1).
inline int32x4_t smmla(int32x4_t acc, int8x16_t rows, int8x16_t outputs) {
  asm volatile("smmla %0.4s, %1.16b, %2.16b" : "+w"(acc) : "w"(rows), "w"(outputs));
  return acc;
}

// Of two rows and 16 outputs: outputs 4i, 4i + 1 in low, 4i + 2, 4i + 3 in high.
inline NeonI first_row(NeonI low, NeonI high) {
  const auto pick = [](int32x4_t x, int32x4_t y) {
    return vreinterpretq_s32_s64(vzip1q_s64(vreinterpretq_s64_s32(x), vreinterpretq_s64_s32(y)));
  };
  return {pick(low.a, high.a), pick(low.b, high.b), pick(low.c, high.c), pick(low.d, high.d)};
}
inline NeonI second_row(NeonI low, NeonI high) {
  const auto pick = [](int32x4_t x, int32x4_t y) {
    return vreinterpretq_s32_s64(vzip2q_s64(vreinterpretq_s64_s32(x), vreinterpretq_s64_s32(y)));
  };
  return {pick(low.a, high.a), pick(low.b, high.b), pick(low.c, high.c), pick(low.d, high.d)};
}

// NOLINTBEGIN(bugprone-macro-parentheses): the arguments are parts of names
#define OCTOBERT_I8MM_PAIRS(DO, ...) DO(0, __VA_ARGS__) DO(1, __VA_ARGS__) DO(2, __VA_ARGS__)

// Rows 2i and 2i + 1; past the last row, the last one again.
#define OCTOBERT_I8MM_DECLARE(i, ...)                                                  \
  [[maybe_unused]] NeonI low##i = Vec::zero_i(), high##i = Vec::zero_i();              \
  [[maybe_unused]] const char* even##i = a + (2 * i < R ? 2 * i : R - 1) * lda;        \
  [[maybe_unused]] const char* odd##i = a + (2 * i + 1 < R ? 2 * i + 1 : R - 1) * lda; \
  [[maybe_unused]] int8x16_t x##i = vdupq_n_s8(0);

#define OCTOBERT_I8MM_LOAD(i, ...)       \
  if constexpr (2 * i < R) {             \
    x##i = load_halves(even##i, odd##i); \
    even##i += 8;                        \
    odd##i += 8;                         \
  }

#define OCTOBERT_I8MM_MAC(i, half, part) \
  if constexpr (2 * i < R) half##i.part = smmla(half##i.part, x##i, half);

// Four outputs: their two operands are either ready at b, or zipped from two groups (the second 64 bytes later).
#define OCTOBERT_I8MM_PART(part, index)                          \
  {                                                              \
    int8x16_t low = load_bytes(b + (kZipped ? 32 : 16) * index); \
    int8x16_t high = kZipped ? load_bytes(b + 32 * index + 16)   \
                     : both  ? load_bytes(b + 16 * index + 64)   \
                             : vdupq_n_s8(0);                     \
    if constexpr (!kZipped) {                                    \
      const Zipped z = zip(low, high);                           \
      low = z.low;                                               \
      high = z.high;                                             \
    }                                                            \
    OCTOBERT_I8MM_PAIRS(OCTOBERT_I8MM_MAC, low, part)            \
    OCTOBERT_I8MM_PAIRS(OCTOBERT_I8MM_MAC, high, part)           \
  }

#define OCTOBERT_I8MM_TWO_STEPS           \
  OCTOBERT_I8MM_PAIRS(OCTOBERT_I8MM_LOAD) \
  OCTOBERT_I8MM_PART(a, 0)                \
  OCTOBERT_I8MM_PART(b, 1)                \
  OCTOBERT_I8MM_PART(c, 2)                \
  OCTOBERT_I8MM_PART(d, 3)

#define OCTOBERT_I8MM_FINISH(i, ...)                                                                         \
  if constexpr (2 * i < R)                                                                                   \
    epilogue.row(2 * i, PanelSums{column, Vec::add_i(first_row(low##i, high##i), epilogue.init(2 * i, 0))}); \
  if constexpr (2 * i + 1 < R)                                                                               \
    epilogue.row(2 * i + 1, PanelSums{column, Vec::add_i(second_row(low##i, high##i), epilogue.init(2 * i + 1, 0))});

// NOLINTEND(bugprone-macro-parentheses)

// kZipped: b is a panel that zip_panel has made. Reads 8 bytes of a row at a time: what lies past K there meets weights
// that are zero.
template <bool kZipped>
struct MatmulS8 {
  static constexpr int kRows = 6;
  static constexpr int kPanels = 1;

  template <int R, int P, bool kPrefetch, class Epilogue>
  [[gnu::noinline]] static void tile(const char* a, size_t lda, const char* b, size_t, int steps,
                                     [[maybe_unused]] const Prefetch& ahead, const Epilogue& epilogue) {
    static_assert(R >= 1 && R <= 6);
    [[maybe_unused]] Prefetch prefetch = ahead;
    OCTOBERT_I8MM_PAIRS(OCTOBERT_I8MM_DECLARE)
    for (; steps >= 2; steps -= 2) {
      [[maybe_unused]] constexpr bool both = true;
      if constexpr (kPrefetch) {
        __builtin_prefetch(prefetch.from, 0, 2);
        __builtin_prefetch(prefetch.from + prefetch.step, 0, 2);
        prefetch.from += 2 * prefetch.step;
      }
      OCTOBERT_I8MM_TWO_STEPS
      b += 128;
    }
    if (steps > 0) {
      [[maybe_unused]] constexpr bool both = false;
      OCTOBERT_I8MM_TWO_STEPS
    }
    const auto column = epilogue.column(0);
    OCTOBERT_I8MM_PAIRS(OCTOBERT_I8MM_FINISH)
  }
};

#undef OCTOBERT_I8MM_PAIRS
#undef OCTOBERT_I8MM_DECLARE
#undef OCTOBERT_I8MM_LOAD
#undef OCTOBERT_I8MM_MAC
#undef OCTOBERT_I8MM_PART
#undef OCTOBERT_I8MM_TWO_STEPS
#undef OCTOBERT_I8MM_FINISH

// A panel's groups two by two, as smmla's operands, to dst: 128 bytes a pair of groups; a last single one meets zeros.
inline void zip_panel(const char* panel, int steps, char* dst) {
  for (int i = 0; i < steps; i += 2, panel += 128, dst += 128) {
    for (int j = 0; j < 4; ++j) {
      const Zipped z = zip(load_bytes(panel + 16 * j), i + 1 < steps ? load_bytes(panel + 16 * j + 64) : vdupq_n_s8(0));
      vst1q_s8(reinterpret_cast<int8_t*>(dst + 32 * j), z.low);
      vst1q_s8(reinterpret_cast<int8_t*>(dst + 32 * j + 16), z.high);
    }
  }
}

// Zipping a panel costs about as much as two row blocks of zipping in place; its buffer is on the stack.
constexpr int kZipFromRows = 3 * MatmulS8<true>::kRows;
constexpr int kZipToDepth = 4096;

void gemm_s8_zipped(const GemmS8Args& g) {
  alignas(64) char zipped[kZipToDepth * kPanelWidth];
  const GemmShape shape = gemm_s8_shape(g);
  for (int panel = g.panel_begin; panel < g.panel_end; ++panel) {
    zip_panel(shape.b + static_cast<size_t>(panel) * shape.panel_bytes, shape.steps, zipped);
    gemm_panels<MatmulS8<true>, 1, GemmS8Epilogue>(shape, g, panel, zipped, shape.ahead(panel + 1, g.panel_end),
                                                   g.row_max_bits);
  }
}

void gemm_s8(const GemmS8Args& g) {
  if (g.m >= kZipFromRows && g.k <= kZipToDepth) {
    gemm_s8_zipped(g);
  } else {
    gemm_s8_with<MatmulS8<false>>(g);
  }
}
void gemm_f32(const GemmF32Args& g) { gemm_f32_with<FmaF32>(g); }
void attention_s8(const AttentionArgs& g) { attention_s8_with<MatmulS8<false>>(g); }
void attention_static(const AttentionStaticArgs& g) { attention_static_with<MatmulS8<false>>(g); }
void attention_f32(const AttentionArgs& g) { attention_f32_with<FmaF32>(g); }

}  // namespace

constinit const KernelTable kNeonI8mmTable = {
    .name = "neon_i8mm",
    .isa = Isa::kNeonI8mm,
    .required_features = kFeatureNeon | kFeatureDotprod | kFeatureI8mm,
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
