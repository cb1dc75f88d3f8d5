// attention_static over an Op: attention-inl.h with every scale fixed, bytes in and floats or bytes out.
#ifndef OCTOBERT_KERNELS_ATTENTION_STATIC_INL_H_
#define OCTOBERT_KERNELS_ATTENTION_STATIC_INL_H_

#include <string.h>

#include "kernels/attention-inl.h"

namespace octobert {
namespace {

// Activation bytes to int8, four at a time.
constexpr uint32_t kFlip = kActivationOffset == 0 ? 0 : 0x80808080u;
inline I flipped(I words) {
  if constexpr (kFlip == 0) return words;
  const I flip = Vec::set_i(static_cast<int32_t>(kFlip));
  return Vec::sub_i(Vec::or_i(words, flip), Vec::and_i(words, flip));  // xor
}

// K's bytes as panels of 16 tokens. The scale is 1, past the last token NaN (see pack_keys).
template <class Op>
inline void pack_static_keys(const AttentionStaticArgs& g, const AttentionS8& a) {
  const int words = g.head_dim / kGroupDepth, rest = g.head_dim % kGroupDepth;
  for (int panel = 0; panel < a.k_panel_count; ++panel) {
    char* dst = reinterpret_cast<char*>(a.k_panels) + static_cast<size_t>(panel) * a.k_panel_bytes;
    const int tokens = g.s - panel * kPanelWidth < kPanelWidth ? g.s - panel * kPanelWidth : kPanelWidth;
    if (tokens < kPanelWidth) memset(dst, kFlip & 255, a.k_panel_bytes);
    Vec::store(a.k_scale + panel * kPanelWidth, Vec::first(Vec::set(1.0f), tokens, Vec::set(nan_value())));
    const char* rows = reinterpret_cast<const char*>(g.k) + static_cast<size_t>(panel * kPanelWidth) * g.ld;
    transpose_words(rows, g.ld, tokens, words, dst);
    for (int t = 0; t < tokens; ++t) prefetch_rows(g, panel * kPanelWidth + t);
    for (int t = 0; rest != 0 && t < tokens; ++t) {
      uint32_t word = kFlip;  // 0 where the group goes past the head's columns
      memcpy(&word, rows + static_cast<size_t>(t) * g.ld + words * kGroupDepth, static_cast<size_t>(rest));
      memcpy(dst + words * 64 + t * 4, &word, sizeof word);
    }
    if constexpr (kFlip != 0) {
      for (int step = 0; step < a.k_steps; ++step) Vec::store_i(dst + step * 64, flipped(Vec::load_i(dst + step * 64)));
    }
    int32_t* start = a.k_start + panel * kPanelWidth;
    if constexpr (kActivationOffset != 0) panel_sums<Op>(dst, a.k_steps, start);
    start_panel<Op>(dst, a.k_steps, start, start);
  }
}

// V's bytes as panels of 16 columns with 4 tokens a group; v_scale and, for an output in bytes, inv padded with zeros.
template <class Op>
inline void pack_static_values(const AttentionStaticArgs& g, const AttentionS8& a) {
  for (int panel = 0; panel < a.v_panel_count; ++panel) {
    const int column = panel * kPanelWidth;
    const int count = g.head_dim - column < kPanelWidth ? g.head_dim - column : kPanelWidth;
    Vec::store(a.v_scale + column, load(g.v_scale + column, count));
    if (g.dst_q) Vec::store(a.inv + column, load(g.inv + column, count));
    const auto bytes_of_token = [&](int j) {
      if (j >= g.s) return Vec::set_i(kActivationOffset);  // 0, when it is flipped
      const uint8_t* v = g.v + static_cast<size_t>(j) * g.ld + column;
      if (count == kPanelWidth) return Vec::load_bytes(v);
      uint8_t part[kPanelWidth] = {};
      memcpy(part, v, static_cast<size_t>(count));
      return Vec::load_bytes(part);
    };
    char* dst = reinterpret_cast<char*>(a.v_panels) + static_cast<size_t>(panel) * a.v_panel_bytes;
    for (int step = 0; step < a.v_steps; ++step) {
      const int j = step * kGroupDepth;
      const I low = Vec::or_i(bytes_of_token(j), Vec::shift_left<8>(bytes_of_token(j + 1)));
      const I high = Vec::or_i(Vec::shift_left<16>(bytes_of_token(j + 2)), Vec::shift_left<24>(bytes_of_token(j + 3)));
      Vec::store_i(dst + step * 64, flipped(Vec::or_i(low, high)));
    }
    start_values<Op>(dst, a.v_steps, a.v_start + column);
  }
}

// As ContextS8Epilogue, into bytes.
template <bool kWhole>
struct ContextBytesEpilogue {
  const int32_t* start;
  const float *v_scale, *inv;
  const float* inverse;  // per row
  StaticQuantizer* quantizer;
  uint8_t* dst;
  size_t ldd;
  int columns;  // left from dst on

  void skip_panels(int panels) {
    start += panels * kPanelWidth;
    v_scale += panels * kPanelWidth;
    inv += panels * kPanelWidth;
    dst += panels * kPanelWidth;
    columns -= panels * kPanelWidth;
  }
  struct Column {
    F scale, inv;
  };

  I init(int, int p) const { return Vec::load_i(start + p * kPanelWidth); }
  Column column(int p) const { return {Vec::load(v_scale + p * kPanelWidth), Vec::load(inv + p * kPanelWidth)}; }
  // Not inlined by force, as the others' are: 3 to 7 % of attention slower (AVX-512, 64 columns).
  template <class... Panels>
  void row(int r, const Panels&... panel) const {
    uint8_t* q = dst + static_cast<size_t>(r) * ldd;
    const F factor = Vec::set(inverse[r]);
    StaticQuantizer quantized = *quantizer;  // a copy: see quantize_block_as
    int n = 0;
    const auto one = [&](I sums, const Column& column) {
      F x = Vec::mul(Vec::mul(Vec::to_float(sums), column.scale), factor);
      const int count = kWhole || columns - n >= kWidth ? kWidth : columns - n;
      if (count < kWidth) x = Vec::first(x, count, Vec::zero());
      const I bytes = quantized(x, column.inv);
      if (count == kWidth) {
        Vec::store_bytes(q + n, bytes);
      } else {  // the next head's bytes are another thread's
        uint8_t part[kWidth];
        Vec::store_bytes(part, bytes);
        memcpy(q + n, part, static_cast<size_t>(count));
      }
      n += kPanelWidth;
    };
    (one(panel.sums, panel.column), ...);
    *quantizer = quantized;
  }
};

template <class Op>
inline void attention_static_rows(const AttentionStaticArgs& g, const AttentionS8& a, int row, int rows, float factor,
                                  StaticQuantizer& quantizer) {
  F largest[kAttentionRows];
  float factors[kAttentionRows];
  for (float& f : factors) f = factor;
  for (int r = 0; r < rows; ++r) largest[r] = Vec::set(minus_inf());
  attention_product<Op>(rows, g.q + static_cast<size_t>(row) * g.ld, g.ld, a.k_panels, a.k_panel_bytes, a.k_steps,
                        a.k_panel_count, ScoresS8Epilogue{a.k_start, a.k_scale, a.scores, a.scores_stride, largest});
  alignas(64) float inverse[kWidth];
  softmax_rows(a, rows, largest, factors, inverse);
  const auto context = [&](const auto& epilogue) {
    attention_product<Op>(rows, a.p, a.p_stride, a.v_panels, a.v_panel_bytes, a.v_steps, a.v_panel_count, epilogue);
  };
  const size_t first = static_cast<size_t>(row);
  with_whole_panels(g.head_dim, [&]<bool kWhole>() {
    if (g.dst_q) {
      context(ContextBytesEpilogue<kWhole>{a.v_start, a.v_scale, a.inv, inverse, &quantizer, g.dst_q + first * g.ldq,
                                           g.ldq, g.head_dim});
    } else {
      context(ContextS8Epilogue<kWhole>{a.v_start, a.v_scale, inverse, g.dst + first * g.ldd, g.ldd, g.head_dim});
    }
  });
}

template <class Op>
inline void attention_static_with(const AttentionStaticArgs& g) {
  const AttentionS8 a = attention_s8_pieces(g.scratch, g.s, g.head_dim);
  const float c2 = static_cast<float>(0x1.71547652b82fep+0 / __builtin_sqrt(static_cast<double>(g.head_dim)));
  const float factor = g.score_factor * c2;
  StaticQuantizer quantizer(g.zero_point);
  pack_static_keys<Op>(g, a);
  pack_static_values<Op>(g, a);
  for_row_blocks<kRowsAtOnce<Op>>(g.row_begin, g.row_end, [&](int row, int rows) {
    attention_static_rows<Op>(g, a, row, rows, factor, quantizer);
  });
  quantizer.add_count_to(g.clipped);
}

}  // namespace
}  // namespace octobert

#endif  // OCTOBERT_KERNELS_ATTENTION_STATIC_INL_H_
