// The inner loop of every matrix product: R rows of A by P panels of B, the accumulators in registers over all of K.
//
// One step takes 4 bytes of each row (4 activations, or one float) and 64 bytes of each panel (a group of kN16K4, or
// 16 floats of kN16K1), so integer and float products share this text. An Op says how:
//   Acc, A, B          accumulators of 16 outputs; 4 bytes of A in every lane; 64 bytes of B
//   kRows, kPanels     the largest tile that its registers hold: kRows * kPanels accumulators and a few more
//   load_a, load_b, mac(acc, a, b)
//   negative_sums      optional: what its sums lack, per output of a panel (avx2.cpp); goes into the start
//   tile               optional: a loop of its own, where its instructions or registers want another order
//   kParts, load_part  optional: a step takes kParts words of each row, one after the other, against as many parts of
//                      the panel's 64 bytes, load_part<i>(p) instead of load_b
//
// The accumulators are separate variables because g++ 12 keeps an array of them in memory (37 % of the peak against
// 93 %), and mac is one asm statement where g++ spills intrinsics' accumulators; tests/isa_symbols.py looks for spills
// in the object code.
#ifndef OCTOBERT_KERNELS_TILE_INL_H_
#define OCTOBERT_KERNELS_TILE_INL_H_

#include <stddef.h>
#include <stdint.h>

namespace octobert {
namespace {

// Fetches the line of p into L1 (3) or L2 (2), to be read or written. The empty assembly is there because g++ 12 takes
// a function that only prefetches for one without effects, and drops all calls of it.
template <int kLocality, int kWrite = 0>
inline void fetch_line(const void* p) {
  __builtin_prefetch(p, kWrite, kLocality);
  asm volatile("");
}

// Weights that will be needed soon, fetched into L2 one line a panel and step.
struct Prefetch {
  const char* from;
  size_t panel_bytes;  // from one panel to the next
  size_t step;         // bytes
};

// A row's sums of one panel, as an epilogue takes them.
template <class Column, class Acc>
struct PanelSums {
  const Column& column;  // of the panel, the epilogue's
  Acc sums;
};
template <class Column, class Acc>
PanelSums(const Column&, Acc) -> PanelSums<Column, Acc>;  // clang 14 deduces no aggregates

template <class Op>
constexpr int tile_parts() {
  if constexpr (requires { Op::kParts; }) {
    return Op::kParts;
  } else {
    return 1;
  }
}

template <class Op, int kPart>
inline typename Op::B load_weights(const char* p) {
  if constexpr (tile_parts<Op>() > 1) {
    return Op::template load_part<kPart>(p);
  } else {
    return Op::load_b(p);
  }
}

#define OCTOBERT_TILE_ROWS(DO) DO(0) DO(1) DO(2) DO(3) DO(4) DO(5) DO(6) DO(7)

#define OCTOBERT_TILE_DECLARE(r)                                               \
  [[maybe_unused]] typename Op::Acc c##r##0 = epilogue.init(r, 0);             \
  [[maybe_unused]] typename Op::Acc c##r##1 = epilogue.init(r, P > 1 ? 1 : 0); \
  [[maybe_unused]] typename Op::Acc c##r##2 = epilogue.init(r, P > 2 ? 2 : 0);

#define OCTOBERT_TILE_STEP(r)                                                        \
  if constexpr (R > r) {                                                             \
    const typename Op::A x = Op::load_a((r < 4 ? a : a4) + r % 4 * lda + kPart * 4); \
    c##r##0 = Op::mac(c##r##0, x, b0);                                               \
    if constexpr (P > 1) c##r##1 = Op::mac(c##r##1, x, b1);                          \
    if constexpr (P > 2) c##r##2 = Op::mac(c##r##2, x, b2);                          \
  }

#define OCTOBERT_TILE_PART(part)                                                                           \
  if constexpr (tile_parts<Op>() > part) {                                                                 \
    constexpr int kPart = part;                                                                            \
    const typename Op::B b0 = load_weights<Op, kPart>(b);                                                  \
    [[maybe_unused]] const typename Op::B b1 = load_weights<Op, kPart>(b + (P > 1 ? panel_bytes : 0));     \
    [[maybe_unused]] const typename Op::B b2 = load_weights<Op, kPart>(b + (P > 2 ? 2 * panel_bytes : 0)); \
    OCTOBERT_TILE_ROWS(OCTOBERT_TILE_STEP)                                                                 \
  }

#define OCTOBERT_TILE_FINISH(r)                                        \
  if constexpr (R > r) {                                               \
    const PanelSums p0{k0, c##r##0}, p1{k1, c##r##1}, p2{k2, c##r##2}; \
    if constexpr (P == 1) epilogue.row(r, p0);                         \
    if constexpr (P == 2) epilogue.row(r, p0, p1);                     \
    if constexpr (P == 3) epilogue.row(r, p0, p1, p2);                 \
  }

// Row by row within a step. a: row 0; rows are lda bytes apart. b: the first panel's first step; panels are panel_bytes
// apart. The epilogue's init(r, p) gives row r's and panel p's initial accumulators, its column(p) what all rows of
// panel p want (scales, bias), loaded before the first result is stored: a load waits for a store before it whose
// address has the same low 12 bits, which cost 1.6 % of a product with K = 768 on Emerald Rapids. Its row(r,
// PanelSums...) takes the results, always inlined where that is faster (what it is given would go through the stack);
// it is copied, so that its members are known not to change with what it stores. It and `ahead` come by reference,
// never by value: a caller that copies a struct may load 16 bytes that it has just stored as twice 8, and such a load
// waits until all stores before it are in the cache, the results of the tile before among them (150 cycles of 2400). A
// function of its own, never inlined: the registers are then allocated for this loop and nothing else.
template <class Op, int R, int P, bool kPrefetch, class Epilogue>
[[gnu::noinline]] void tile_of_words(const char* a, size_t lda, const char* b, size_t panel_bytes, int steps,
                                     [[maybe_unused]] const Prefetch& ahead, const Epilogue& given) {
  static_assert(R <= 8 && P <= 3);
  const Epilogue epilogue = given;
  [[maybe_unused]] Prefetch prefetch = ahead;
  OCTOBERT_TILE_ROWS(OCTOBERT_TILE_DECLARE)
  [[maybe_unused]] const char* a4 = a + 4 * lda;
  for (int i = 0; i < steps; ++i) {
    if constexpr (kPrefetch) {
      __builtin_prefetch(prefetch.from, 0, 2);
      if constexpr (P > 1) __builtin_prefetch(prefetch.from + prefetch.panel_bytes, 0, 2);
      if constexpr (P > 2) __builtin_prefetch(prefetch.from + 2 * prefetch.panel_bytes, 0, 2);
      prefetch.from += prefetch.step;
    }
    OCTOBERT_TILE_PART(0)
    OCTOBERT_TILE_PART(1)
    OCTOBERT_TILE_PART(2)
    OCTOBERT_TILE_PART(3)
    a += 4 * tile_parts<Op>();
    a4 += 4 * tile_parts<Op>();
    b += 64;
  }
  [[maybe_unused]] const auto k0 = epilogue.column(0), k1 = epilogue.column(P > 1 ? 1 : 0),
                              k2 = epilogue.column(P > 2 ? 2 : 0);
  OCTOBERT_TILE_ROWS(OCTOBERT_TILE_FINISH)
}

#undef OCTOBERT_TILE_ROWS
#undef OCTOBERT_TILE_DECLARE
#undef OCTOBERT_TILE_STEP
#undef OCTOBERT_TILE_PART
#undef OCTOBERT_TILE_FINISH

// An Op whose instructions want another walk than word by word brings a tile of its own, with the same arguments.
template <class Op, int R, int P, bool kPrefetch, class Epilogue>
inline void tile(const char* a, size_t lda, const char* b, size_t panel_bytes, int steps, const Prefetch& prefetch,
                 const Epilogue& epilogue) {
  if constexpr (requires { &Op::template tile<R, P, kPrefetch, Epilogue>; }) {
    Op::template tile<R, P, kPrefetch>(a, lda, b, panel_bytes, steps, prefetch, epilogue);
  } else {
    tile_of_words<Op, R, P, kPrefetch>(a, lda, b, panel_bytes, steps, prefetch, epilogue);
  }
}

// tile with 1 <= rows <= R of them chosen at run time.
template <class Op, int P, bool kPrefetch, class Epilogue, int R = Op::kRows>
inline void tile_rows(int rows, const char* a, size_t lda, const char* b, size_t panel_bytes, int steps,
                      const Prefetch& prefetch, const Epilogue& epilogue) {
  if constexpr (R > 1) {
    if (rows < R) {
      return tile_rows<Op, P, kPrefetch, Epilogue, R - 1>(rows, a, lda, b, panel_bytes, steps, prefetch, epilogue);
    }
  }
  tile<Op, R, P, kPrefetch>(a, lda, b, panel_bytes, steps, prefetch, epilogue);
}

// Panels that the next tile takes when `left` remain: as many as fit, but never one alone where two by two do.
template <class Op>
inline int tile_panels(int left) {
  if (left <= Op::kPanels) return left;
  return Op::kPanels == 3 && left == 4 ? 2 : Op::kPanels;
}

}  // namespace
}  // namespace octobert

#endif  // OCTOBERT_KERNELS_TILE_INL_H_
