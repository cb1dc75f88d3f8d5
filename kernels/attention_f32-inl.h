// attention_f32 over an Op: attention-inl.h in floats.
#ifndef OCTOBERT_KERNELS_ATTENTION_F32_INL_H_
#define OCTOBERT_KERNELS_ATTENTION_F32_INL_H_

#include <string.h>

#include "kernels/attention-inl.h"

namespace octobert {
namespace {

struct ScoresF32Epilogue {
  float* scores;
  size_t stride;
  float factor;

  void skip_panels(int panels) { scores += panels * kPanelWidth; }
  F init(int, int) const { return Vec::zero(); }
  F column(int) const { return Vec::zero(); }  // none
  template <class... Panels>
  [[gnu::always_inline]] void row(int r, const Panels&... panel) const {
    float* to = scores + static_cast<size_t>(r) * stride;
    int p = 0;
    (Vec::store(to + kPanelWidth * p++, Vec::mul(panel.sums, Vec::set(factor))), ...);
  }
};

template <bool kWhole>
struct ContextF32Epilogue {
  float* dst;
  size_t ldd;
  int columns;  // left from dst on

  void skip_panels(int panels) {
    dst += panels * kPanelWidth;
    columns -= panels * kPanelWidth;
  }
  F init(int, int) const { return Vec::zero(); }
  F column(int) const { return Vec::zero(); }  // none
  template <class... Panels>
  [[gnu::always_inline]] void row(int r, const Panels&... panel) const {
    float* y = dst + static_cast<size_t>(r) * ldd;
    int n = 0;
    ((store_columns<kWhole>(y + n, panel.sums, columns - n), n += kPanelWidth), ...);
  }
};

// K to panels of 16 tokens, V to panels of 16 columns, in kN16K1.
inline void pack_float_keys_and_values(const AttentionArgs& g, float* k_panels, float* v_panels) {
  const size_t d = static_cast<size_t>(g.head_dim);
  for (int j = 0; j < g.s; j += kPanelWidth) {
    float* panel = k_panels + static_cast<size_t>(j) * d;
    const int tokens = g.s - j < kPanelWidth ? g.s - j : kPanelWidth;
    if (tokens < kPanelWidth) memset(panel, 0, d * kPanelWidth * sizeof(float));
    transpose_words(reinterpret_cast<const char*>(g.k + static_cast<size_t>(j) * g.ld), g.ld * sizeof(float), tokens,
                    g.head_dim, reinterpret_cast<char*>(panel));
  }
  for (int n = 0; n < g.head_dim; n += kPanelWidth) {
    float* panel = v_panels + static_cast<size_t>(n) * static_cast<size_t>(g.s);
    const int count = g.head_dim - n < kPanelWidth ? g.head_dim - n : kPanelWidth;
    for (int j = 0; j < g.s; ++j) {
      Vec::store(panel + j * kPanelWidth, load(g.v + static_cast<size_t>(j) * g.ld + n, count));
    }
  }
}

template <class Op>
inline void attention_f32_with(const AttentionArgs& g) {
  const size_t s = static_cast<size_t>(g.s);
  const size_t d = static_cast<size_t>(g.head_dim);
  const AttentionF32Layout at = attention_f32_layout(s, d);
  float* k_panels = scratch_at<float>(g.scratch, at.k_panels);
  float* v_panels = scratch_at<float>(g.scratch, at.v_panels);
  float* scores = scratch_at<float>(g.scratch, at.scores);
  const size_t stride = padded_outputs(s);
  const float c = static_cast<float>(1.0 / __builtin_sqrt(static_cast<double>(g.head_dim)));
  pack_float_keys_and_values(g, k_panels, v_panels);
  for_row_blocks<kRowsAtOnce<Op>>(g.row_begin, g.row_end, [&](int row, int rows) {
    attention_product<Op>(rows, g.q + static_cast<size_t>(row) * g.ld, g.ld * sizeof(float), k_panels,
                          packed_f32_panel_floats(d) * sizeof(float), g.head_dim, static_cast<int>(panel_count(s)),
                          ScoresF32Epilogue{scores, stride, c});
    for (int r = 0; r < rows; ++r) {
      float* p = scores + static_cast<size_t>(r) * stride;
      softmax_row(p, p, g.s);
    }
    with_whole_panels(g.head_dim, [&]<bool kWhole>() {
      attention_product<Op>(rows, scores, stride * sizeof(float), v_panels, packed_f32_panel_floats(s) * sizeof(float),
                            g.s, static_cast<int>(panel_count(d)),
                            ContextF32Epilogue<kWhole>{g.dst + static_cast<size_t>(row) * g.ldd, g.ldd, g.head_dim});
    });
  });
}

}  // namespace
}  // namespace octobert

#endif  // OCTOBERT_KERNELS_ATTENTION_F32_INL_H_
