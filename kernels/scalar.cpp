// The specification: docs/NUMERICS.md as plain loops. Every other instruction set gives these bits.
// Built for the baseline of each architecture; fma comes from the C library where the baseline has
// none (correct, slow).
#include <stddef.h>
#include <stdint.h>

#include "kernels/attention_scratch-inl.h"
#include "kernels/kernels.h"
#include "kernels/layout.h"
#include "kernels/scalar_ops-inl.h"

namespace octobert {
namespace {

// ---- products ----

// acc[n] += one row of signed activation bytes times one panel. Not inlined: by itself, g++ 12 turns it into
// vector code three times as fast.
[[gnu::noinline]] void accumulate_panel(const uint8_t* a, const int8_t* w, int groups, int32_t* acc) {
  for (int i = 0; i < groups; ++i, a += kGroupDepth, w += kGroupDepth * kPanelWidth) {
    const int8_t q[kGroupDepth] = {static_cast<int8_t>(a[0]), static_cast<int8_t>(a[1]), static_cast<int8_t>(a[2]),
                                   static_cast<int8_t>(a[3])};
    for (int n = 0; n < kPanelWidth; ++n) {
      acc[n] += q[0] * w[4 * n] + q[1] * w[4 * n + 1] + q[2] * w[4 * n + 2] + q[3] * w[4 * n + 3];
    }
  }
}

void gemm_s8_tile(const GemmS8Args& g, int m, int panel) {
  int32_t acc[kPanelWidth] = {};
  accumulate_panel(g.a + static_cast<size_t>(m) * g.lda,
                   g.b + static_cast<size_t>(panel) * packed_s8_panel_bytes(static_cast<size_t>(g.k)),
                   static_cast<int>(group_count(static_cast<size_t>(g.k))), acc);
  const int n0 = panel * kPanelWidth;
  const float a_scale = g.a_scale ? g.a_scale[m] : 1.0f;
  float y[kPanelWidth];
  float* dst = g.q ? y : g.dst + static_cast<size_t>(m) * g.ldd + n0;
  for (int n = 0; n < kPanelWidth; ++n) {
    // Unsigned: with the sums of a broken file it wraps, as every instruction set does.
    const uint32_t zeros = static_cast<uint32_t>(g.a_zero_point) * static_cast<uint32_t>(g.b_sum[n0 + n]);
    const auto sum = static_cast<int32_t>(static_cast<uint32_t>(acc[n]) - zeros);
    dst[n] = fma(static_cast<float>(sum), a_scale * g.b_scale[n0 + n], g.bias[n0 + n]);
  }
  activate(dst, dst, kPanelWidth, g.activation);
  if (g.q) {
    quantize_static_row(y, g.q_inv + n0, g.q_zero_point, kPanelWidth, g.q + static_cast<size_t>(m) * g.ldq + n0,
                        g.clipped);
  }
  if (g.row_max_bits) {
    uint32_t* largest = g.row_max_bits + m * kPanelWidth;
    for (int n = 0; n < kPanelWidth; ++n) largest[n] = abs_bits(dst[n]) > largest[n] ? abs_bits(dst[n]) : largest[n];
  }
}

void gemm_s8(const GemmS8Args& g) {
  for (int panel = g.panel_begin; panel < g.panel_end; ++panel) {
    for (int m = 0; m < g.m; ++m) gemm_s8_tile(g, m, panel);
  }
}

void gemm_f32_tile(const GemmF32Args& g, int m, int panel) {
  const float* a = g.a + static_cast<size_t>(m) * g.lda;
  const float* w = g.b + static_cast<size_t>(panel) * packed_f32_panel_floats(static_cast<size_t>(g.k));
  float acc[kPanelWidth] = {};
  for (int k = 0; k < g.k; ++k, w += kPanelWidth) {
    for (int n = 0; n < kPanelWidth; ++n) acc[n] = fma(a[k], w[n], acc[n]);
  }
  const int n0 = panel * kPanelWidth;
  float* dst = g.dst + static_cast<size_t>(m) * g.ldd + n0;
  for (int n = 0; n < kPanelWidth; ++n) {
    dst[n] = g.b_scale ? fma(acc[n], g.b_scale[n0 + n], g.bias[n0 + n]) : acc[n] + g.bias[n0 + n];
  }
  activate(dst, dst, kPanelWidth, g.activation);
}

void gemm_f32(const GemmF32Args& g) {
  for (int panel = g.panel_begin; panel < g.panel_end; ++panel) {
    for (int m = 0; m < g.m; ++m) gemm_f32_tile(g, m, panel);
  }
}

void unpack_panel(const int8_t* panel, int k, float* dst) {
  for (int i = 0; i < k; ++i) {
    for (int n = 0; n < kPanelWidth; ++n) {
      const int group = i / kGroupDepth;
      dst[i * kPanelWidth + n] = panel[(group * kPanelWidth + n) * kGroupDepth + i % kGroupDepth];
    }
  }
}

// Input i of output n: nibble i % 8 of the group's n-th 32-bit lane.
int nibble(const uint8_t* panel, int i, int n) {
  return panel[(i / kGroupDepth4 * kPanelWidth + n) * 4 + i % kGroupDepth4 / 2] >> (i % 2 * 4) & 15;
}

void unpack_panel_s4(const UnpackS4Args& g) {
  for (int i = 0; i < g.k; ++i) {
    const float* scale = g.group_scale + static_cast<size_t>(i / g.group_size) * g.group_stride;
    for (int n = 0; n < kPanelWidth; ++n) {
      const int w = (nibble(g.panel, i, n) ^ 8) - 8;  // two's complement
      g.dst[i * kPanelWidth + n] = static_cast<float>(w) * scale[n];
    }
  }
}

void unpack_panel_codebook(const uint8_t* panel, int k, const float* codebook, float* dst) {
  for (int i = 0; i < k; ++i) {
    for (int n = 0; n < kPanelWidth; ++n) dst[i * kPanelWidth + n] = codebook[nibble(panel, i, n)];
  }
}

// ---- rows ----

void layer_norm_row(const LayerNormArgs& g, int m) {
  const float* x = g.x + static_cast<size_t>(m) * g.ldx;
  const float* residual = g.residual ? g.residual + static_cast<size_t>(m) * g.ldr : nullptr;
  float* y = g.y + static_cast<size_t>(m) * g.ldy;
  const float count = static_cast<float>(g.n);

  float sum[kLanes] = {};
  for (int k = 0; k < g.n; ++k) {
    y[k] = residual ? x[k] + residual[k] : x[k];
    sum[k % kLanes] = sum[k % kLanes] + y[k];
  }
  const float mean = fold_lanes(sum) / count;

  float squares[kLanes] = {};
  for (int k = 0; k < g.n; ++k) {
    const float d = y[k] - mean;
    squares[k % kLanes] = fma(d, d, squares[k % kLanes]);
  }
  const float variance = fold_lanes(squares) / count;

  const float inverse = 1.0f / sqrt(variance + g.eps);
  for (int k = 0; k < g.n; ++k) y[k] = fma((y[k] - mean) * inverse, g.gamma[k], g.beta[k]);
  if (!g.q) return;
  uint8_t* q = g.q + static_cast<size_t>(m) * g.ldq;
  if (!g.scale) {
    quantize_static_row(y, g.inv, g.zero_point, g.n, q, g.clipped);
  } else if (g.inv) {
    g.scale[m] = quantize_row_smoothed(y, g.inv, g.n, q);
  } else {
    g.scale[m] = quantize_row(y, g.n, absmax_bits(y, static_cast<size_t>(g.n), 1), q);
  }
}

void layer_norm(const LayerNormArgs& g) {
  for (int m = 0; m < g.m; ++m) layer_norm_row(g, m);
}

void embed(const EmbedArgs& g) {
  const auto row = [&g](const float* table, int32_t index) {
    return table + static_cast<size_t>(index) * static_cast<size_t>(g.n);
  };
  for (int m = 0; m < g.m; ++m) {
    const size_t word = static_cast<size_t>(g.ids[m]) * static_cast<size_t>(g.n);
    const float* type = row(g.type, g.type_ids ? g.type_ids[m] : 0);
    const float* position = row(g.position, g.positions[m]);
    float* dst = g.dst + static_cast<size_t>(m) * g.ldd;
    for (int k = 0; k < g.n; ++k) {
      const size_t at = word + static_cast<size_t>(k);
      const float w = g.word_s8 ? static_cast<float>(g.word_s8[at]) * g.word_scale[g.ids[m]] : g.word_f32[at];
      dst[k] = (w + type[k]) + position[k];
    }
  }
}

void softmax_row(const float* x, float* y, int n) {
  float largest = from_bits(0xff800000u);  // -inf
  for (int k = 0; k < n; ++k) largest = max(x[k], largest);
  float sum[kLanes] = {};
  for (int k = 0; k < n; ++k) {
    y[k] = exp(x[k] - largest);
    sum[k % kLanes] = sum[k % kLanes] + y[k];
  }
  const float total = fold_lanes(sum);
  for (int k = 0; k < n; ++k) y[k] = y[k] / total;
}

void softmax(const SoftmaxArgs& g) {
  for (int m = 0; m < g.m; ++m) {
    softmax_row(g.x + static_cast<size_t>(m) * g.ldx, g.y + static_cast<size_t>(m) * g.ldy, g.n);
  }
}

// ---- attention ----

template <typename T>
T* at(void* scratch, size_t offset) {
  return reinterpret_cast<T*>(static_cast<char*>(scratch) + offset);
}

void attention_f32_row(const AttentionArgs& g, int row) {
  const auto layout = attention_f32_layout(static_cast<size_t>(g.s), static_cast<size_t>(g.head_dim));
  float* p = at<float>(g.scratch, layout.scores);
  const float* q = g.q + static_cast<size_t>(row) * g.ld;
  float* dst = g.dst + static_cast<size_t>(row) * g.ldd;
  const float c = static_cast<float>(1.0 / __builtin_sqrt(static_cast<double>(g.head_dim)));
  for (int j = 0; j < g.s; ++j) {
    const float* k = g.k + static_cast<size_t>(j) * g.ld;
    float acc = 0.0f;
    for (int i = 0; i < g.head_dim; ++i) acc = fma(q[i], k[i], acc);
    p[j] = acc * c;
  }
  softmax_row(p, p, g.s);
  for (int n = 0; n < g.head_dim; ++n) {
    float acc = 0.0f;
    for (int j = 0; j < g.s; ++j) acc = fma(p[j], g.v[static_cast<size_t>(j) * g.ld + static_cast<size_t>(n)], acc);
    dst[n] = acc;
  }
}

void attention_f32(const AttentionArgs& g) {
  for (int row = g.row_begin; row < g.row_end; ++row) attention_f32_row(g, row);
}

// K and V of the whole text in int8, row-major [S][head_dim] here: K with a scale per token, V per column.
struct QuantizedKeys {
  int8_t *k, *v;
  float *k_scale, *v_scale;
  bool broken;  // some k_scale is NaN
};

QuantizedKeys quantize_keys(const AttentionArgs& g, const AttentionS8Layout& layout) {
  const size_t d = static_cast<size_t>(g.head_dim);
  const size_t s = static_cast<size_t>(g.s);
  QuantizedKeys keys = {at<int8_t>(g.scratch, layout.k_panels), at<int8_t>(g.scratch, layout.v_panels),
                        at<float>(g.scratch, layout.k_scale), at<float>(g.scratch, layout.v_scale), false};
  for (size_t j = 0; j < s; ++j) {
    const QuantScale scale = quant_scale(absmax_bits(g.k + j * g.ld, d, 1));
    for (size_t i = 0; i < d; ++i) keys.k[j * d + i] = quantized(g.k[j * g.ld + i], scale);
    keys.k_scale[j] = scale.scale;
    keys.broken = keys.broken || scale.scale != scale.scale;
  }
  for (size_t n = 0; n < d; ++n) {
    const QuantScale scale = quant_scale(absmax_bits(g.v + n, s, g.ld));
    for (size_t j = 0; j < s; ++j) keys.v[j * d + n] = quantized(g.v[j * g.ld + n], scale);
    keys.v_scale[n] = scale.scale;
  }
  return keys;
}

// One row of probability levels in u from the scores x; returns their sum.
int32_t probability_levels(const float* x, int s, float f, uint8_t* u) {
  float largest = from_bits(0xff800000u);  // -inf
  for (int j = 0; j < s; ++j) largest = max(x[j], largest);
  int32_t den = 0;
  for (int j = 0; j < s; ++j) {
    u[j] = static_cast<uint8_t>(exp2_q8((x[j] - largest) * f));
    den += u[j];
  }
  return den;
}

void attention_s8_row(const AttentionArgs& g, const AttentionS8Layout& layout, const QuantizedKeys& keys, int row) {
  const int d = g.head_dim;
  uint8_t* q = at<uint8_t>(g.scratch, layout.q);
  float* x = at<float>(g.scratch, layout.scores);
  uint8_t* u = at<uint8_t>(g.scratch, layout.p);
  const float* src = g.q + static_cast<size_t>(row) * g.ld;
  const float q_scale = quantize_row(src, d, absmax_bits(src, static_cast<size_t>(d), 1), q);
  const float c2 = static_cast<float>(0x1.71547652b82fep+0 / __builtin_sqrt(static_cast<double>(d)));
  const float f = keys.broken ? from_bits(0x7fc00000u) : q_scale * c2;

  for (int j = 0; j < g.s; ++j) {
    int32_t acc = 0;
    for (int i = 0; i < d; ++i) acc += static_cast<int8_t>(q[i]) * keys.k[j * d + i];
    x[j] = static_cast<float>(acc) * keys.k_scale[j];
  }
  const float inverse = 1.0f / static_cast<float>(probability_levels(x, g.s, f, u));
  float* dst = g.dst + static_cast<size_t>(row) * g.ldd;
  for (int n = 0; n < d; ++n) {
    int32_t ctx = 0;
    for (int j = 0; j < g.s; ++j) ctx += u[j] * keys.v[j * d + n];
    dst[n] = (static_cast<float>(ctx) * keys.v_scale[n]) * inverse;
  }
}

void attention_s8(const AttentionArgs& g) {
  const auto layout = attention_s8_layout(static_cast<size_t>(g.s), static_cast<size_t>(g.head_dim));
  const QuantizedKeys keys = quantize_keys(g, layout);
  for (int row = g.row_begin; row < g.row_end; ++row) attention_s8_row(g, layout, keys, row);
}

void attention_static_row(const AttentionStaticArgs& g, const AttentionS8Layout& layout, int row) {
  const int d = g.head_dim;
  float* x = at<float>(g.scratch, layout.scores);
  uint8_t* u = at<uint8_t>(g.scratch, layout.p);
  float* out = at<float>(g.scratch, layout.v_scale);  // a row of the output, where it becomes bytes
  const uint8_t* q = g.q + static_cast<size_t>(row) * g.ld;
  for (int j = 0; j < g.s; ++j) {
    const uint8_t* k = g.k + static_cast<size_t>(j) * g.ld;
    int32_t acc = 0;
    for (int i = 0; i < d; ++i) acc += static_cast<int8_t>(q[i]) * static_cast<int8_t>(k[i]);
    x[j] = static_cast<float>(acc);
  }
  const float c2 = static_cast<float>(0x1.71547652b82fep+0 / __builtin_sqrt(static_cast<double>(d)));
  const int32_t den = probability_levels(x, g.s, g.score_factor * c2, u);
  const float inverse = 1.0f / static_cast<float>(den);
  float* dst = g.dst_q ? out : g.dst + static_cast<size_t>(row) * g.ldd;
  for (int n = 0; n < d; ++n) {
    int32_t ctx = 0;
    for (int j = 0; j < g.s; ++j)
      ctx += u[j] * static_cast<int8_t>(g.v[static_cast<size_t>(j) * g.ld + static_cast<size_t>(n)]);
    dst[n] = (static_cast<float>(ctx) * g.v_scale[n]) * inverse;
  }
  if (g.dst_q) {
    quantize_static_row(out, g.inv, g.zero_point, d, g.dst_q + static_cast<size_t>(row) * g.ldq, g.clipped);
  }
}

void attention_static(const AttentionStaticArgs& g) {
  const auto layout = attention_s8_layout(static_cast<size_t>(g.s), static_cast<size_t>(g.head_dim));
  for (int row = g.row_begin; row < g.row_end; ++row) attention_static_row(g, layout, row);
}

}  // namespace

constinit const KernelTable kScalarTable = {
    .name = "scalar",
    .isa = Isa::kScalar,
    .required_features = 0,
    .activation_offset = 0,
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
