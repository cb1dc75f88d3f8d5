// gemm_s8, gemm_f32 and gemm_w8 over an Op (tile-inl.h): panels in groups, every group over all rows, the next group's
// weights fetched by the row blocks of this one; scales, bias and activation before the results leave L1.
#ifndef OCTOBERT_KERNELS_GEMM_INL_H_
#define OCTOBERT_KERNELS_GEMM_INL_H_

#include "kernels/float_ops-inl.h"
#include "kernels/tile-inl.h"
#include "kernels/unpack-inl.h"

namespace octobert {
namespace {

// The accumulators of one panel before the first step: what brings the sums that Op computes, of activation bytes, to
// sums of q w. `sum` is the sum of w per output.
template <class Op>
inline void start_panel([[maybe_unused]] const char* panel, [[maybe_unused]] int steps,
                        [[maybe_unused]] const int32_t* sum, int32_t* start) {
  if constexpr (kActivationOffset != 0) {  // activation bytes are q + 128
    static_assert(kActivationOffset == 0 || kActivationOffset == 128);
    Vec::store_i(start, Vec::sub_i(Vec::zero_i(), Vec::shift_left<7>(Vec::load_i(sum))));
  } else if constexpr (requires { &Op::negative_sums; }) {
    Op::negative_sums(panel, steps, start);
  } else {
    Vec::store_i(start, Vec::zero_i());
  }
}

alignas(64) constexpr float kOnes[kPanelWidth] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};

// Floats of a block of results.
struct Block {
  float* y;
  size_t ldy;

  float* row(int r) const { return y + static_cast<size_t>(r) * ldy; }
};

struct ScaleAndBias {
  F scale, bias;
};

// Accumulators to floats, for rows from `row` on and panels from `panel` on.
struct GemmS8Epilogue {
  const int32_t* start;
  const float* a_scale;
  size_t a_scale_step;  // 0 where all of a_scale are one
  const float *b_scale, *bias;
  Block dst;

  GemmS8Epilogue(const GemmS8Args& g, int row, int panel, const int32_t* start_of_panels, Block block)
      : start(start_of_panels),
        a_scale(g.a_scale ? g.a_scale + row : kOnes),
        a_scale_step(g.a_scale ? 1 : 0),
        b_scale(g.b_scale + panel * kPanelWidth),
        bias(g.bias + panel * kPanelWidth),
        dst(block) {}

  template <class Op>
  static void start_panels(const GemmS8Args& g, int panel, int count, int32_t* start) {
    const size_t bytes = packed_s8_panel_bytes(static_cast<size_t>(g.k));
    for (int p = 0; p < count; ++p) {
      start_panel<Op>(reinterpret_cast<const char*>(g.b) + static_cast<size_t>(panel + p) * bytes,
                      static_cast<int>(group_count(static_cast<size_t>(g.k))), g.b_sum + (panel + p) * kPanelWidth,
                      start + p * kPanelWidth);
    }
    if (g.a_zero_point == 0) return;
    for (int n = 0; n < count * kPanelWidth; ++n) {  // unsigned: with the sums of a broken file it wraps
      const uint32_t zeros =
          static_cast<uint32_t>(g.a_zero_point) * static_cast<uint32_t>(g.b_sum[panel * kPanelWidth + n]);
      start[n] = static_cast<int32_t>(static_cast<uint32_t>(start[n]) - zeros);
    }
  }
  I init(int, int p) const { return Vec::load_i(start + p * kPanelWidth); }
  ScaleAndBias column(int p) const { return {Vec::load(b_scale + p * kPanelWidth), Vec::load(bias + p * kPanelWidth)}; }
  template <class... Panels>
  [[gnu::always_inline]] void row(int r, const Panels&... panel) const {
    const F scale = Vec::set(a_scale[static_cast<size_t>(r) * a_scale_step]);
    float* y = dst.row(r);
    int n = 0;
    ((Vec::store(y + n, Vec::fma(Vec::to_float(panel.sums), Vec::mul(scale, panel.column.scale), panel.column.bias)),
      n += kPanelWidth),
     ...);
  }
};

struct GemmF32Epilogue {
  const float *b_scale, *bias;
  size_t scale_step;  // 0 where b_scale is all ones: fma(acc, 1, bias) is acc + bias
  Block dst;

  GemmF32Epilogue(const GemmF32Args& g, int, int panel, const int32_t*, Block block)
      : b_scale(g.b_scale ? g.b_scale + panel * kPanelWidth : kOnes),
        bias(g.bias + panel * kPanelWidth),
        scale_step(g.b_scale ? kPanelWidth : 0),
        dst(block) {}

  template <class Op>
  static void start_panels(const GemmF32Args&, int, int, int32_t*) {}
  F init(int, int) const { return Vec::zero(); }
  ScaleAndBias column(int p) const {
    return {Vec::load(b_scale + static_cast<size_t>(p) * scale_step), Vec::load(bias + p * kPanelWidth)};
  }
  template <class... Panels>
  [[gnu::always_inline]] void row(int r, const Panels&... panel) const {
    float* y = dst.row(r);
    int n = 0;
    ((Vec::store(y + n, Vec::fma(panel.sums, panel.column.scale, panel.column.bias)), n += kPanelWidth), ...);
  }
};

// Activation in place over kRows rows by P panels that the epilogue has just written, and each row's largest
// magnitudes.
template <Activation kActivation, int kRows, int P>
inline void activate_rows(const Block& block, uint32_t* row_max_bits) {
  F v[kRows * P];
  for (int r = 0; r < kRows; ++r) {
    for (int p = 0; p < P; ++p) v[r * P + p] = Vec::load(block.row(r) + p * kPanelWidth);
  }
  activate_in_step<kActivation>(v);
  for (int r = 0; r < kRows; ++r) {
    I largest = row_max_bits ? Vec::load_i(row_max_bits + r * kPanelWidth) : Vec::zero_i();
    for (int p = 0; p < P; ++p) {
      if (kActivation != Activation::kNone) Vec::store(block.row(r) + p * kPanelWidth, v[r * P + p]);
      largest = Vec::max_i(largest, Vec::abs_bits(v[r * P + p]));
    }
    if (row_max_bits) Vec::store_i(row_max_bits + r * kPanelWidth, largest);
  }
}

template <Activation kActivation, int P>
inline void activate_block(const Block& block, int rows, uint32_t* row_max_bits) {
  // With 512 bits 6 vectors in step, which hide each other's latency; elsewhere there are no registers for two.
  constexpr int kAtOnce = P > 1 ? 2 : 1;
  const auto maxima = [=](int r) { return row_max_bits ? row_max_bits + r * kPanelWidth : nullptr; };
  int r = 0;
  for (; r + kAtOnce <= rows; r += kAtOnce) {
    activate_rows<kActivation, kAtOnce, P>({block.row(r), block.ldy}, maxima(r));
  }
  if (r < rows) activate_rows<kActivation, 1, P>({block.row(r), block.ldy}, maxima(r));
}

template <int P>
inline void finish_block(const Block& block, int rows, Activation activation, uint32_t* row_max_bits) {
  switch (activation) {
    case Activation::kNone:
      if (row_max_bits) activate_block<Activation::kNone, P>(block, rows, row_max_bits);
      return;
    case Activation::kGelu:
      return activate_block<Activation::kGelu, P>(block, rows, row_max_bits);
    case Activation::kGeluTanh:
      return activate_block<Activation::kGeluTanh, P>(block, rows, row_max_bits);
    case Activation::kRelu:
      return activate_block<Activation::kRelu, P>(block, rows, row_max_bits);
  }
}

// Activation and static quantization of rows x P panels to bytes. The quantizer is a copy, whose address nobody has:
// stores of bytes may alias everything else.
template <Activation kActivation, int P>
inline StaticQuantizer quantize_block_as(Block block, int rows, const float* inv, StaticQuantizer quantized, uint8_t* q,
                                         size_t ldq) {
  for (int r = 0; r < rows; ++r, q += ldq) {
    const float* y = block.row(r);
    quantized.store<P>(
        q, [=](int p) { return activated<kActivation>(Vec::load(y + p * kPanelWidth)); },
        [=](int p) { return Vec::load(inv + p * kPanelWidth); });
  }
  return quantized;
}

// Of rows from `row` on and panels from `panel` on.
template <int P>
inline void quantize_block(const GemmS8Args& g, Block block, int row, int rows, int panel) {
  uint8_t* q = g.q + static_cast<size_t>(row) * g.ldq + panel * kPanelWidth;
  const float* inv = g.q_inv + panel * kPanelWidth;
  StaticQuantizer quantized(g.q_zero_point);
  switch (g.activation) {
    case Activation::kNone:
      quantized = quantize_block_as<Activation::kNone, P>(block, rows, inv, quantized, q, g.ldq);
      break;
    case Activation::kGelu:
      quantized = quantize_block_as<Activation::kGelu, P>(block, rows, inv, quantized, q, g.ldq);
      break;
    case Activation::kGeluTanh:
      quantized = quantize_block_as<Activation::kGeluTanh, P>(block, rows, inv, quantized, q, g.ldq);
      break;
    case Activation::kRelu:
      quantized = quantize_block_as<Activation::kRelu, P>(block, rows, inv, quantized, q, g.ldq);
      break;
  }
  quantized.add_count_to(g.clipped);
}

// Whether a product's results are bytes.
inline bool gives_bytes(const GemmS8Args& g) { return g.q != nullptr; }
inline bool gives_bytes(const GemmF32Args&) { return false; }
template <int P>
inline void quantize_block(const GemmF32Args&, Block, int, int, int) {}

// The lines that quantize_block will write: the last of each row, as its first was the last of the panels before.
inline void prefetch_bytes(const GemmS8Args& g, int row, int rows, int end_panel) {
  const uint8_t* q = g.q + static_cast<size_t>(row) * g.ldq + end_panel * kPanelWidth - 1;
  for (int r = 0; r < rows; ++r, q += g.ldq) fetch_line<3, 1>(q);
}

template <int P>
inline void prefetch_floats(const Block& block, int rows) {
  for (int r = 0; r < rows; ++r) {
    for (int p = 0; p < P; ++p) fetch_line<3, 1>(block.row(r) + p * kPanelWidth);
  }
}

// What a tile of rows from `row` on and P panels from `panel` on will write.
template <int P>
inline void prefetch_results(const GemmS8Args& g, const Block& block, int row, int rows, int panel) {
  if (gives_bytes(g)) {
    prefetch_bytes(g, row, rows, panel + P);
  } else if (g.fetch_results) {
    prefetch_floats<P>(block, rows);
  }
}
template <int P>
inline void prefetch_results(const GemmF32Args&, const Block&, int, int, int) {}

// What the walk over rows and panels needs to know of a product, whatever its type.
struct GemmShape {
  const char* a;
  size_t lda;  // bytes
  const char* b;
  size_t panel_bytes;
  int steps;
  int rows;
  PanelsAhead after;  // what the caller reads next

  // What is read after the panels before `next`, of which `end` are this product's. Where nothing is known, a line that
  // is there: the tiles fetch in any case.
  PanelsAhead ahead(int next, int end) const {
    if (next < end) return {b + static_cast<size_t>(next) * panel_bytes, panel_bytes};
    return after.at ? after : PanelsAhead{b, 0};
  }
};

// P panels from `panel` on, which lie at b, over all rows, in row blocks of nearly equal height: 9 rows are 5 + 4, not
// 8 + 1.
template <class Op, int P, class Epilogue, class Args>
void gemm_panels(const GemmShape& shape, const Args& g, int panel, const char* b, PanelsAhead next,
                 uint32_t* row_max_bits) {
  const int blocks = (shape.rows + Op::kRows - 1) / Op::kRows;
  const size_t slice = next.panel_bytes / static_cast<size_t>(blocks);
  // A line a step at most: of panels that are much longer than these only the beginning of each slice.
  const size_t even = slice / static_cast<size_t>(shape.steps) + 1;
  const size_t step = even < 64 ? even : 64;
  constexpr int kColumns = P * kPanelWidth;
  alignas(64) int32_t start[kColumns];
  alignas(64) float floats[Op::kRows * kColumns];  // results on their way to bytes, which stay in L1
  const bool bytes = gives_bytes(g);
  Epilogue::template start_panels<Op>(g, panel, P, start);
  for (int block = 0, row = 0; block < blocks; ++block) {
    const int rows = (shape.rows - row) / (blocks - block);
    const Block result =
        bytes ? Block{floats, kColumns} : Block{g.dst + static_cast<size_t>(row) * g.ldd + panel * kPanelWidth, g.ldd};
    prefetch_results<P>(g, result, row, rows, panel);
    const Prefetch prefetch = {static_cast<const char*>(next.at) + static_cast<size_t>(block) * slice, next.panel_bytes,
                               step};
    tile_rows<Op, P, true>(rows, shape.a + static_cast<size_t>(row) * shape.lda, shape.lda, b, shape.panel_bytes,
                           shape.steps, prefetch, Epilogue{g, row, panel, start, result});
    if (bytes) {
      quantize_block<P>(g, result, row, rows, panel);
    } else {
      finish_block<P>(result, rows, g.activation, row_max_bits ? row_max_bits + row * kPanelWidth : nullptr);
    }
    row += rows;
  }
}

template <class Op, class Epilogue, class Args>
inline void gemm(const GemmShape& shape, const Args& g, uint32_t* row_max_bits) {
  for (int panel = g.panel_begin; panel < g.panel_end;) {
    const int count = tile_panels<Op>(g.panel_end - panel);
    const char* b = shape.b + static_cast<size_t>(panel) * shape.panel_bytes;
    const PanelsAhead next = shape.ahead(panel + count, g.panel_end);
    if constexpr (Op::kPanels >= 3) {
      if (count == 3) gemm_panels<Op, 3, Epilogue>(shape, g, panel, b, next, row_max_bits);
    }
    if constexpr (Op::kPanels >= 2) {
      if (count == 2) gemm_panels<Op, 2, Epilogue>(shape, g, panel, b, next, row_max_bits);
    }
    if (count == 1) gemm_panels<Op, 1, Epilogue>(shape, g, panel, b, next, row_max_bits);
    panel += count;
  }
}

inline GemmShape gemm_s8_shape(const GemmS8Args& g) {
  const size_t k = static_cast<size_t>(g.k);
  return {reinterpret_cast<const char*>(g.a),
          g.lda,
          reinterpret_cast<const char*>(g.b),
          packed_s8_panel_bytes(k),
          static_cast<int>(group_count(k)),
          g.m,
          g.after};
}

template <class Op>
inline void gemm_s8_with(const GemmS8Args& g) {
  gemm<Op, GemmS8Epilogue>(gemm_s8_shape(g), g, g.row_max_bits);
}

inline GemmShape gemm_f32_shape(const GemmF32Args& g, const void* b, size_t panel_bytes, size_t steps) {
  return {reinterpret_cast<const char*>(g.a),
          g.lda * sizeof(float),
          static_cast<const char*>(b),
          panel_bytes,
          static_cast<int>(steps),
          g.m,
          {}};
}

template <class Op>
inline void gemm_f32_with(const GemmF32Args& g) {
  const size_t k = static_cast<size_t>(g.k);
  gemm<Op, GemmF32Epilogue>(gemm_f32_shape(g, g.b, packed_f32_panel_floats(k) * sizeof(float), k), g, nullptr);
}

// An Op with kGroupDepth parts, which makes floats of a group of int8 weights.
template <class Op>
inline void gemm_w8_with(const GemmF32Args& g) {
  const size_t k = static_cast<size_t>(g.k);
  gemm<Op, GemmF32Epilogue>(gemm_f32_shape(g, g.b_s8, packed_s8_panel_bytes(k), group_count(k)), g, nullptr);
}

}  // namespace
}  // namespace octobert

#endif  // OCTOBERT_KERNELS_GEMM_INL_H_
