// The tile of lane-indexed NEON instructions (sdot, fmla), R rows by one panel: 16 bytes of each row at a time, four
// steps whose words are the lanes of one register, so that A costs R loads in four steps.
//
// 6 rows are 24 accumulators and 6 registers of A, of 32; one or two more hold B. The order of instructions is the
// order here: mac is a volatile asm statement, because both g++ 12 and clang 14 otherwise load all of B first and
// spill.
#ifndef OCTOBERT_KERNELS_TILE_NEON_INL_H_
#define OCTOBERT_KERNELS_TILE_NEON_INL_H_

#include "kernels/gemm-inl.h"
#include "kernels/vec_neon.h"

namespace octobert {
namespace {

// NOLINTBEGIN(bugprone-macro-parentheses,bugprone-branch-clone): arguments are parts of names and row numbers
#define OCTOBERT_NEON_ROWS(DO, ...) \
  DO(0, __VA_ARGS__) DO(1, __VA_ARGS__) DO(2, __VA_ARGS__) DO(3, __VA_ARGS__) DO(4, __VA_ARGS__) DO(5, __VA_ARGS__)

#define OCTOBERT_NEON_DECLARE(r, ...)                           \
  [[maybe_unused]] typename Op::Acc c##r = epilogue.init(r, 0); \
  [[maybe_unused]] typename Op::Register x##r = {};             \
  [[maybe_unused]] const char* a##r = a + (R > r ? r : 0) * lda;

#define OCTOBERT_NEON_LOAD(r, load, bytes) \
  if constexpr (R > r) {                   \
    x##r = Op::load(a##r);                 \
    a##r += bytes;                         \
  }

#define OCTOBERT_NEON_MAC(r, part, lane) \
  if constexpr (R > r) Op::template mac<lane>(c##r.part, x##r, weights);

// Four outputs of all rows; then one step.
#define OCTOBERT_NEON_PART(part, lane, offset)                              \
  {                                                                         \
    const typename Op::Register weights = Op::load(b + 64 * lane + offset); \
    OCTOBERT_NEON_ROWS(OCTOBERT_NEON_MAC, part, lane)                       \
  }
#define OCTOBERT_NEON_STEP(lane)                                                           \
  if constexpr (kPrefetch) __builtin_prefetch(prefetch.from + lane * prefetch.step, 0, 2); \
  OCTOBERT_NEON_PART(a, lane, 0)                                                           \
  OCTOBERT_NEON_PART(b, lane, 16)                                                          \
  OCTOBERT_NEON_PART(c, lane, 32)                                                          \
  OCTOBERT_NEON_PART(d, lane, 48)

#define OCTOBERT_NEON_FINISH(r, ...) \
  if constexpr (R > r) epilogue.row(r, PanelSums{column, c##r});

// As tile() of tile-inl.h with one panel. Op has Register and Acc (four of them, a to d), load (16 bytes), load_word
// (4 bytes, in lane 0) and mac<lane>(four outputs, A, B).
template <class Op, int R, bool kPrefetch, class Epilogue>
[[gnu::noinline]] void lane_tile(const char* a, size_t lda, const char* b, int steps,
                                 [[maybe_unused]] const Prefetch& ahead, const Epilogue& epilogue) {
  static_assert(R >= 1 && R <= 6);
  [[maybe_unused]] Prefetch prefetch = ahead;
  OCTOBERT_NEON_ROWS(OCTOBERT_NEON_DECLARE)
  for (; steps >= 4; steps -= 4) {
    OCTOBERT_NEON_ROWS(OCTOBERT_NEON_LOAD, load, 16)
    OCTOBERT_NEON_STEP(0)
    OCTOBERT_NEON_STEP(1)
    OCTOBERT_NEON_STEP(2)
    OCTOBERT_NEON_STEP(3)
    b += 256;
    prefetch.from += 4 * prefetch.step;
  }
  asm("" : "+r"(steps));  // g++ 12 unrolls this loop where it sees that it runs 3 times at most, and spills
  for (; steps > 0; --steps) {
    OCTOBERT_NEON_ROWS(OCTOBERT_NEON_LOAD, load_word, 4)
    OCTOBERT_NEON_STEP(0)
    b += 64;
  }
  const auto column = epilogue.column(0);
  OCTOBERT_NEON_ROWS(OCTOBERT_NEON_FINISH)
}

// NOLINTEND(bugprone-macro-parentheses,bugprone-branch-clone)

#undef OCTOBERT_NEON_ROWS
#undef OCTOBERT_NEON_DECLARE
#undef OCTOBERT_NEON_LOAD
#undef OCTOBERT_NEON_MAC
#undef OCTOBERT_NEON_PART
#undef OCTOBERT_NEON_STEP
#undef OCTOBERT_NEON_FINISH

// Float products, the same on every NEON unit.
struct FmaF32 {
  using Acc = NeonF;
  using Register = float32x4_t;
  static constexpr int kRows = 6;
  static constexpr int kPanels = 1;
  static Register load(const char* p) { return vld1q_f32(reinterpret_cast<const float*>(p)); }
  static Register load_word(const char* p) { return vdupq_n_f32(*reinterpret_cast<const float*>(p)); }
  template <int kLane>
  static void mac(Register& acc, Register a, Register b) {
    asm volatile("fmla %0.4s, %1.4s, %2.s[%3]" : "+w"(acc) : "w"(b), "w"(a), "n"(kLane));
  }
  template <int R, int P, bool kPrefetch, class Epilogue>
  static void tile(const char* a, size_t lda, const char* b, size_t, int steps, const Prefetch& prefetch,
                   const Epilogue& epilogue) {
    lane_tile<FmaF32, R, kPrefetch>(a, lda, b, steps, prefetch, epilogue);
  }
};

}  // namespace
}  // namespace octobert

#endif  // OCTOBERT_KERNELS_TILE_NEON_INL_H_
