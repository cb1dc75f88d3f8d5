// attention_s8 over an Op (tile-inl.h), and what all forms of attention share. K and V are packed like weights, with
// the text's tokens as K's outputs and as V's inputs; then a few queries at a time: scores, softmax, context, all
// within L1.
#ifndef OCTOBERT_KERNELS_ATTENTION_INL_H_
#define OCTOBERT_KERNELS_ATTENTION_INL_H_

#include <string.h>

#include "kernels/attention_scratch-inl.h"
#include "kernels/gemm-inl.h"

namespace octobert {
namespace {

// Probabilities 0..254 are stored as they are where activations are unsigned, and as u - 127 where they are signed.
constexpr int32_t kProbabilityOffset = kActivationOffset == 0 ? -127 : 0;

template <class T>
inline T* scratch_at(void* scratch, size_t offset) {
  return reinterpret_cast<T*>(static_cast<char*>(scratch) + offset);
}

// A product over whole panels without prefetch: what attention needs of gemm-inl.h's walk.
template <class Op, class Epilogue>
inline void attention_product(int rows, const void* a, size_t lda, const void* b, size_t panel_bytes, int steps,
                              int panels, const Epilogue& whole) {
  const char* rows_at = static_cast<const char*>(a);
  const char* panel_at = static_cast<const char*>(b);
  for (int panel = 0; panel < panels;) {
    const int count = tile_panels<Op>(panels - panel);
    Epilogue epilogue = whole;
    epilogue.skip_panels(panel);
    const Prefetch none = {};
    if constexpr (Op::kPanels >= 3) {
      if (count == 3) tile_rows<Op, 3, false>(rows, rows_at, lda, panel_at, panel_bytes, steps, none, epilogue);
    }
    if constexpr (Op::kPanels >= 2) {
      if (count == 2) tile_rows<Op, 2, false>(rows, rows_at, lda, panel_at, panel_bytes, steps, none, epilogue);
    }
    if (count == 1) tile_rows<Op, 1, false>(rows, rows_at, lda, panel_at, panel_bytes, steps, none, epilogue);
    panel += count;
    panel_at += static_cast<size_t>(count) * panel_bytes;
  }
}

// 32-bit words [rows][words] to [words][16], the order of a panel; rows <= 16.
inline void transpose_words(const char* src, size_t src_stride, int rows, int words, char* dst) {
  if (rows == kPanelWidth) {
    for (; words >= 4; words -= 4, src += 16, dst += 4 * 64) {
      // Row 4 l + i in quad l of x_i, so that the words of a column come out in order.
      const auto rows_from = [=](size_t i) { return Vec::load_quads(src + i * src_stride, 4 * src_stride); };
      I x0 = rows_from(0), x1 = rows_from(1), x2 = rows_from(2), x3 = rows_from(3);
      Vec::transpose_quads(x0, x1, x2, x3);
      Vec::store_i(dst, x0);
      Vec::store_i(dst + 64, x1);
      Vec::store_i(dst + 128, x2);
      Vec::store_i(dst + 192, x3);
    }
  }
  for (int r = 0; r < rows; ++r) {
    const char* from = src + static_cast<size_t>(r) * src_stride;
    char* to = dst + r * 4;
    for (int w = 0; w < words; ++w) memcpy(to + w * 64, from + w * 4, 4);
  }
}

struct SumsEpilogue {
  const int32_t* start;
  int32_t* to;
  I init(int, int) const { return Vec::load_i(start); }
  I column(int) const { return Vec::zero_i(); }  // none
  template <class Panel>
  [[gnu::always_inline]] void row(int, const Panel& panel) const {
    Vec::store_i(to, panel.sums);
  }
};

// sums[16] of a panel's int8 weights, one output each: a product with a row of ones.
template <class Op>
inline void panel_sums(const char* panel, int steps, int32_t* sums) {
  constexpr int kAtOnce = 16;
  alignas(64) char ones[kAtOnce * kGroupDepth];
  memset(ones, 1, sizeof ones);
  alignas(64) int32_t start[kPanelWidth] = {};
  Vec::store_i(sums, Vec::zero_i());
  for (int i = 0; i < steps; i += kAtOnce, panel += kAtOnce * 64) {
    const int count = steps - i < kAtOnce ? steps - i : kAtOnce;
    if constexpr (kActivationOffset == 0) start_panel<Op>(panel, count, nullptr, start);
    alignas(64) int32_t part[kPanelWidth];
    tile<Op, 1, 1, false>(ones, 0, panel, 0, count, {}, SumsEpilogue{start, part});
    Vec::store_i(sums, Vec::add_i(Vec::load_i(sums), Vec::load_i(part)));
  }
}

// body.template operator()<kWhole>(): whether a head's columns are whole panels, as they nearly always are. Asked for
// each panel and row, it is 7 % of attention of 128 tokens, as g++ 12 makes calls of it.
template <class Body>
inline void with_whole_panels(int head_dim, const Body& body) {
  head_dim % kPanelWidth == 0 ? body.template operator()<true>() : body.template operator()<false>();
}

// Stores a panel's results. `left`: the head's columns from y on; what lies past them is the next head's.
template <bool kWhole>
[[gnu::always_inline]] inline void store_columns(float* y, F x, int left) {
  if constexpr (kWhole) {
    Vec::store(y, x);
  } else {
    store(y, x, left < kWidth ? left : kWidth);
  }
}

// A head's rows lie a whole row of the projection apart, mostly on pages of their own, which no hardware prefetcher
// follows: half of the time of attention without products was waiting for them.
constexpr int kRowsAhead = kPanelWidth;

template <int kLocality, class T>
inline void prefetch_row(const T* x, int head_dim) {
  constexpr int kLine = 64 / sizeof(T);
  for (int i = 0; i < head_dim; i += kLine) fetch_line<kLocality>(x + i);
}

// While K's row j is worked on: K's next rows into L1; V's and Q's, whose turn comes, into L2.
template <class Args>
inline void prefetch_rows(const Args& g, int j) {
  if (j + kRowsAhead < g.s) prefetch_row<3>(g.k + static_cast<size_t>(j + kRowsAhead) * g.ld, g.head_dim);
  prefetch_row<2>(g.v + static_cast<size_t>(j) * g.ld, g.head_dim);
  if (j >= g.row_begin && j < g.row_end) prefetch_row<2>(g.q + static_cast<size_t>(j) * g.ld, g.head_dim);
}

// ---- integers ----

// The pieces of the scratch, and the shape, in the types that they are used in.
struct AttentionS8 {
  int8_t* k_panels;
  float* k_scale;
  int32_t* k_start;
  int8_t* v_panels;
  float* v_scale;
  int32_t* v_start;
  float* inv;
  uint8_t* q;
  float* scores;
  uint8_t* p;
  size_t q_stride, scores_stride, p_stride;
  size_t k_panel_bytes, v_panel_bytes;
  int k_steps, v_steps;
  int k_panel_count, v_panel_count;
};

inline AttentionS8 attention_s8_pieces(void* scratch, int length, int head_dim) {
  const size_t s = static_cast<size_t>(length);
  const size_t d = static_cast<size_t>(head_dim);
  const AttentionS8Layout at = attention_s8_layout(s, d);
  AttentionS8 a = {};
  a.k_panels = scratch_at<int8_t>(scratch, at.k_panels);
  a.k_scale = scratch_at<float>(scratch, at.k_scale);
  a.k_start = scratch_at<int32_t>(scratch, at.k_start);
  a.v_panels = scratch_at<int8_t>(scratch, at.v_panels);
  a.v_scale = scratch_at<float>(scratch, at.v_scale);
  a.v_start = scratch_at<int32_t>(scratch, at.v_start);
  a.inv = scratch_at<float>(scratch, at.inv);
  a.q = scratch_at<uint8_t>(scratch, at.q);
  a.scores = scratch_at<float>(scratch, at.scores);
  a.p = scratch_at<uint8_t>(scratch, at.p);
  a.q_stride = activation_stride(d);
  a.scores_stride = padded_outputs(s);
  a.p_stride = activation_stride(s);
  a.k_panel_bytes = packed_s8_panel_bytes(d);
  a.v_panel_bytes = packed_s8_panel_bytes(s);
  a.k_steps = static_cast<int>(group_count(d));
  a.v_steps = static_cast<int>(group_count(s));
  a.k_panel_count = static_cast<int>(panel_count(s));
  a.v_panel_count = static_cast<int>(panel_count(d));
  return a;
}

// Lane r: the lanes of x[r] put together by `both`, whose order must not matter; lanes from `rows` on anything. Of 16
// rows at once: each by itself is a chain of shuffles. x is used up.
template <class Both>
inline I fold_rows(I (&x)[kWidth], int rows, const Both& both) {
  alignas(64) char parts[kWidth / 4 * 64] = {};  // 16 lanes for each four rows, quad l of them from the rows' quads l
  for (int r = rows; r % 4 != 0; ++r) x[r] = Vec::zero_i();
  for (int four = 0; four * 4 < rows; ++four) {
    I* row = x + four * 4;
    Vec::transpose_quads(row[0], row[1], row[2], row[3]);
    Vec::store_i(parts + four * 64, both(both(row[0], row[1]), both(row[2], row[3])));
  }
  const auto quads = [&](int l) { return Vec::load_quads(parts + l * 16, 64); };
  return both(both(quads(0), quads(1)), both(quads(2), quads(3)));
}

// quant_scale for 16 rows or columns at once; `keep` is 0 where all q are 0.
struct QuantScales {
  F inverse, scale;
  I keep;
};

inline QuantScales quant_scales(I absmax_bits) {
  const F a = Vec::as_float(absmax_bits);
  const I tiny = Vec::less(a, Vec::set(numerics::kTinyAbsMax));
  const I finite = Vec::less(a, Vec::as_float(Vec::set_i(kInfBits)));
  const I all = Vec::set_i(-1);
  const I keep = Vec::and_i(finite, Vec::sub_i(all, tiny));  // -1 - x is not x
  const F limit = Vec::set(127.0f);
  I scale = Vec::and_i(keep, Vec::as_int(Vec::div(a, limit)));
  scale = Vec::or_i(scale, Vec::and_i(tiny, Vec::as_int(Vec::set(1.0f))));
  scale = Vec::or_i(scale, Vec::and_i(Vec::sub_i(all, finite), Vec::as_int(Vec::set(nan_value()))));
  return {Vec::div(limit, a), Vec::as_float(scale), keep};
}

// Rows of a head, up to 16, `ld` floats apart, to bytes q + kOffset; returns their scales in as many lanes. before(r)
// is called for each row first.
static_assert(kWidth == kPanelWidth);  // rows of the scratch's q, tokens of a panel of keys
template <int32_t kOffset, class Before>
inline F quantize_head_rows(const float* x, size_t ld, int rows, int head_dim, uint8_t* q, size_t q_stride,
                            const Before& before) {
  I largest[kWidth];
  for (int r = 0; r < rows; ++r) {
    before(r);
    largest[r] = absmax_lanes(Plain{x + static_cast<size_t>(r) * ld}, head_dim);
  }
  const QuantScales scales = quant_scales(fold_rows(largest, rows, Vec::max_i));
  alignas(64) float inverse[kWidth];
  Vec::store(inverse, Vec::as_float(Vec::and_i(scales.keep, Vec::as_int(scales.inverse))));
  for (int r = 0; r < rows; ++r) {
    const size_t at = static_cast<size_t>(r);
    quantize_row_as<kOffset>(Plain{x + at * ld}, head_dim, inverse[r], q + at * q_stride);
  }
  return scales.scale;
}

// K in int8, a scale per token, as panels of 16 tokens. The scale past the last token is NaN: its score is then NaN,
// which the maximum passes over and exp2_q8 makes 0. Returns whether the scale of a real token is NaN.
template <class Op>
inline bool pack_keys(const AttentionArgs& g, const AttentionS8& a) {
  bool broken = false;
  for (int panel = 0; panel < a.k_panel_count; ++panel) {
    char* dst = reinterpret_cast<char*>(a.k_panels) + static_cast<size_t>(panel) * a.k_panel_bytes;
    const int tokens = g.s - panel * kPanelWidth < kPanelWidth ? g.s - panel * kPanelWidth : kPanelWidth;
    if (tokens < kPanelWidth) memset(a.q, 0, kPanelWidth * a.q_stride);
    const float* rows = g.k + static_cast<size_t>(panel * kPanelWidth) * g.ld;
    const auto ahead = [&](int t) { prefetch_rows(g, panel * kPanelWidth + t); };
    const F scales = Vec::first(quantize_head_rows<0>(rows, g.ld, tokens, g.head_dim, a.q, a.q_stride, ahead), tokens,
                                Vec::set(nan_value()));
    Vec::store(a.k_scale + panel * kPanelWidth, scales);
    broken = broken || Vec::fold_max_i(Vec::abs_bits(Vec::first(scales, tokens, Vec::zero()))) > kInfBits;
    transpose_words(reinterpret_cast<const char*>(a.q), a.q_stride, kPanelWidth, a.k_steps, dst);
    int32_t* start = a.k_start + panel * kPanelWidth;
    if constexpr (kActivationOffset != 0) panel_sums<Op>(dst, a.k_steps, start);
    start_panel<Op>(dst, a.k_steps, start, start);
  }
  return broken;
}

// The accumulators of V's panel before the first step: where probabilities are stored as u - 127, 127 * sum of v.
template <class Op>
inline void start_values([[maybe_unused]] const char* panel, [[maybe_unused]] int steps, int32_t* start) {
  Vec::store_i(start, Vec::zero_i());
  if constexpr (kProbabilityOffset != 0) {
    alignas(64) int32_t lacking[kPanelWidth];
    start_panel<Op>(panel, steps, nullptr, lacking);
    panel_sums<Op>(panel, steps, start);
    const I sum = Vec::load_i(start);
    Vec::store_i(start, Vec::add_i(Vec::sub_i(Vec::shift_left<7>(sum), sum), Vec::load_i(lacking)));
  }
}

// V in int8, a scale per column over the text, as panels of 16 columns with 4 tokens a group.
template <class Op>
inline void pack_values(const AttentionArgs& g, const AttentionS8& a) {
  for (int panel = 0; panel < a.v_panel_count; ++panel) {
    const int column = panel * kPanelWidth;
    const int count = g.head_dim - column < kPanelWidth ? g.head_dim - column : kPanelWidth;
    const float* v = g.v + column;
    I largest = Vec::zero_i();
    for (int j = 0; j < g.s; ++j) {
      largest = Vec::max_i(largest, Vec::abs_bits(load(v + static_cast<size_t>(j) * g.ld, count)));
    }
    const QuantScales scales = quant_scales(largest);
    Vec::store(a.v_scale + column, scales.scale);
    const auto quantized = [&](int j) {
      if (j >= g.s) return Vec::zero_i();
      return round_within_absmax(load(v + static_cast<size_t>(j) * g.ld, count), scales.inverse);
    };
    char* dst = reinterpret_cast<char*>(a.v_panels) + static_cast<size_t>(panel) * a.v_panel_bytes;
    for (int step = 0; step < a.v_steps; ++step) {
      const int j = step * kGroupDepth;
      const I q = Vec::join_bytes(quantized(j), quantized(j + 1), quantized(j + 2), quantized(j + 3));
      Vec::store_i(dst + step * 64, Vec::and_i(q, scales.keep));
    }
    start_values<Op>(dst, a.v_steps, a.v_start + column);
  }
}

// Scores before softmax, without the factor of the query, and each row's maximum in 16 lanes.
struct ScoresS8Epilogue {
  const int32_t* start;
  const float* k_scale;
  float* scores;
  size_t stride;
  F* largest;

  void skip_panels(int panels) {
    start += panels * kPanelWidth;
    k_scale += panels * kPanelWidth;
    scores += panels * kPanelWidth;
  }
  I init(int, int p) const { return Vec::load_i(start + p * kPanelWidth); }
  F column(int p) const { return Vec::load(k_scale + p * kPanelWidth); }
  template <class... Panels>
  [[gnu::always_inline]] void row(int r, const Panels&... panel) const {
    float* to = scores + static_cast<size_t>(r) * stride;
    F most = largest[r];
    int j = 0;
    const auto one = [&](I sums, F scale) {
      const F x = Vec::mul(Vec::to_float(sums), scale);
      Vec::store(to + j, x);
      most = Vec::max(x, most);
      j += kPanelWidth;
    };
    (one(panel.sums, panel.column), ...);
    largest[r] = most;
  }
};

// One row of scores to probability levels; returns their sum, spread over the lanes. The levels past S are 0.
inline I softmax_levels(const AttentionS8& a, int r, float largest, float factor) {
  const float* x = a.scores + static_cast<size_t>(r) * a.scores_stride;
  uint8_t* p = a.p + static_cast<size_t>(r) * a.p_stride;
  const F m = Vec::set(largest);
  const F f = Vec::set(factor);
  I den = Vec::zero_i();
  const auto level = [&](int j) { return exp2_q8(Vec::mul(Vec::sub_beside_adds(Vec::load(x + j), m), f)); };
  const int count = a.k_panel_count * kPanelWidth;
  int j = 0;
  for (; j + 4 * kWidth <= count; j += 4 * kWidth) {
    const I u0 = level(j), u1 = level(j + kWidth), u2 = level(j + 2 * kWidth), u3 = level(j + 3 * kWidth);
    den = Vec::store_levels_64<kProbabilityOffset>(p + j, den, u0, u1, u2, u3);
  }
  for (; j < count; j += kWidth) {
    const I u = level(j);
    den = Vec::add_i(den, u);
    Vec::store_bytes(p + j, Vec::add_i(u, Vec::set_i(kProbabilityOffset)));
  }
  return den;
}

// Rows of scores, whose largest are lanes of largest[r], times factor[r]; inverse[r] = 1 / the sum of the levels.
static_assert(kAttentionRows <= kWidth);
inline void softmax_rows(const AttentionS8& a, int rows, const F (&largest)[kAttentionRows], const float* factor,
                         float (&inverse)[kWidth]) {
  I lanes[kWidth];
  for (int r = 0; r < rows; ++r) lanes[r] = Vec::as_int(largest[r]);
  alignas(64) float most[kWidth];
  Vec::store_i(
      most, fold_rows(lanes, rows, [](I x, I y) { return Vec::as_int(Vec::max(Vec::as_float(x), Vec::as_float(y))); }));
  for (int r = 0; r < rows; ++r) lanes[r] = softmax_levels(a, r, most[r], factor[r]);
  Vec::store(inverse, Vec::div(Vec::set(1.0f), Vec::to_float(fold_rows(lanes, rows, Vec::add_i))));
}

template <bool kWhole>
struct ContextS8Epilogue {
  const int32_t* start;
  const float* v_scale;
  const float* inverse;  // per row
  float* dst;
  size_t ldd;
  int columns;  // left from dst on

  void skip_panels(int panels) {
    start += panels * kPanelWidth;
    v_scale += panels * kPanelWidth;
    dst += panels * kPanelWidth;
    columns -= panels * kPanelWidth;
  }
  I init(int, int p) const { return Vec::load_i(start + p * kPanelWidth); }
  F column(int p) const { return Vec::load(v_scale + p * kPanelWidth); }
  template <class... Panels>
  [[gnu::always_inline]] void row(int r, const Panels&... panel) const {
    float* y = dst + static_cast<size_t>(r) * ldd;
    const F factor = Vec::set(inverse[r]);
    int n = 0;
    ((store_columns<kWhole>(y + n, Vec::mul(Vec::mul(Vec::to_float(panel.sums), panel.column), factor), columns - n),
      n += kPanelWidth),
     ...);
  }
};

// Scores, softmax and context of some queries, whose bytes are at q; the scores of each are to be multiplied by its
// factor.
template <class Op>
inline void attention_s8_rows(const AttentionArgs& g, const AttentionS8& a, const uint8_t* q, const float* factor,
                              int row, int rows) {
  F largest[kAttentionRows];
  for (int r = 0; r < rows; ++r) largest[r] = Vec::set(minus_inf());
  attention_product<Op>(rows, q, a.q_stride, a.k_panels, a.k_panel_bytes, a.k_steps, a.k_panel_count,
                        ScoresS8Epilogue{a.k_start, a.k_scale, a.scores, a.scores_stride, largest});
  alignas(64) float inverse[kWidth];
  softmax_rows(a, rows, largest, factor, inverse);
  with_whole_panels(g.head_dim, [&]<bool kWhole>() {
    attention_product<Op>(rows, a.p, a.p_stride, a.v_panels, a.v_panel_bytes, a.v_steps, a.v_panel_count,
                          ContextS8Epilogue<kWhole>{a.v_start, a.v_scale, inverse,
                                                    g.dst + static_cast<size_t>(row) * g.ldd, g.ldd, g.head_dim});
  });
}

// body(row, rows) over [row_begin, row_end) in blocks of nearly equal height, at most kMost.
template <int kMost, class Body>
inline void for_row_blocks(int row_begin, int row_end, const Body& body) {
  int blocks = (row_end - row_begin + kMost - 1) / kMost;
  for (int row = row_begin; row < row_end; --blocks) {
    const int rows = (row_end - row) / blocks;
    body(row, rows);
    row += rows;
  }
}

template <class Op>
constexpr int kRowsAtOnce = Op::kRows < static_cast<int>(kAttentionRows) ? Op::kRows : static_cast<int>(kAttentionRows);

template <class Op>
inline void attention_s8_with(const AttentionArgs& g) {
  const AttentionS8 a = attention_s8_pieces(g.scratch, g.s, g.head_dim);
  const bool broken = pack_keys<Op>(g, a);
  pack_values<Op>(g, a);
  const float c2 = static_cast<float>(0x1.71547652b82fep+0 / __builtin_sqrt(static_cast<double>(g.head_dim)));
  constexpr int kQueries = kWidth / kRowsAtOnce<Op> * kRowsAtOnce<Op>;  // whole tiles of at most 16
  for (int first = g.row_begin; first < g.row_end; first += kQueries) {
    const int count = g.row_end - first < kQueries ? g.row_end - first : kQueries;
    const F scales = quantize_head_rows<kActivationOffset>(g.q + static_cast<size_t>(first) * g.ld, g.ld, count,
                                                           g.head_dim, a.q, a.q_stride, [](int) {});
    alignas(64) float factor[kWidth];
    Vec::store(factor, broken ? Vec::set(nan_value()) : Vec::mul(scales, Vec::set(c2)));
    for_row_blocks<kRowsAtOnce<Op>>(0, count, [&](int row, int rows) {
      attention_s8_rows<Op>(g, a, a.q + static_cast<size_t>(row) * a.q_stride, factor + row, first + row, rows);
    });
  }
}

}  // namespace
}  // namespace octobert

#endif  // OCTOBERT_KERNELS_ATTENTION_INL_H_
