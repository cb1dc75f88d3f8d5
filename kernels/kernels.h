// The arithmetic of one instruction set, as a constant table of function pointers.
//
// Contract of every entry:
//  - single-threaded, no allocation, no exceptions, no global state; may be called from
//    any number of threads at once on disjoint outputs;
//  - matrices are row-major with a row stride ("ld...") counted in elements;
//  - the result is bit for bit that of the scalar table (kernels/scalar.cpp), which is the
//    specification; docs/NUMERICS.md gives the order of every floating-point operation.
//    The floating-point environment must be the default one (round to nearest even, no
//    flush to zero): the engine sees to it;
//  - "activation bytes" are q + activation_offset of the table, q in [-127, 127]: VNNI wants
//    unsigned activations (offset 128), the other instruction sets signed ones (offset 0);
//  - rows of activation bytes start 64-byte aligned and their stride is a multiple of 64
//    (activation_stride); the bytes between K and the stride are readable and of any value
//    (the weights there are zero);
//  - float destinations of the products may be written up to padded_outputs(N) columns per
//    row: ld must allow for it. Nothing else is written past the stated extents and nothing
//    is read past them (tests hold this with guard pages).
#ifndef OCTOBERT_KERNELS_KERNELS_H_
#define OCTOBERT_KERNELS_KERNELS_H_

#include <stddef.h>
#include <stdint.h>

#include "kernels/layout.h"

namespace octobert {

enum class Activation : uint32_t { kNone = 0, kGelu = 1, kGeluTanh = 2, kRelu = 3 };

// Whether clipped activations are counted (the build option OCTOBERT_COUNT_CLIPPED).
#ifdef OCTOBERT_COUNT_CLIPPED
constexpr bool kCountClipped = true;
#else
constexpr bool kCountClipped = false;
#endif

// Row stride, in bytes, of activation bytes with K inputs.
constexpr size_t activation_stride(size_t k) { return (k + 63) / 64 * 64; }

// Packed panels that will be wanted soon; null: not known.
struct PanelsAhead {
  const void* at = nullptr;
  size_t panel_bytes = 0;  // from one to the next
};

// Static quantization: a fixed multiplier a channel and one integer zero point,
//   q = round_to_i8(fma(y, inv[n], float(zero_point))), stored as an activation byte.
// `clipped` (null: not counted) is raised by the number of values whose fma does not round to -127..127 (its magnitude
// is 127.5 or more), a NaN included, which becomes -127. Nothing is counted without kCountClipped.
//
// y[m][n] = act(fma(float(acc), a_scale[m] * b_scale[n], bias[n])),
// acc = sum over k of (q[m][k] - a_zero_point) * w[n][k], exact in int32,
// for all rows m < M and the outputs of panels [panel_begin, panel_end); into dst as floats or, if q is given, into q
// as bytes (then dst is not touched and row_max_bits must be null).
struct GemmS8Args {
  const uint8_t* a;        // [M][lda] activation bytes
  size_t lda;              // bytes, = activation_stride(k)
  const float* a_scale;    // [M]; null: 1
  const int8_t* b;         // packed kN16K4, address of panel 0
  const float* b_scale;    // [padded N]
  const int32_t* b_sum;    // [padded N] sum over k of w[n][k] (cancels activation_offset and zero point)
  const float* bias;       // [padded N]
  float* dst;              // [M][ldd], column 0 = output 0 of panel 0
  size_t ldd;              // >= padded N
  uint32_t* row_max_bits;  // [M][kPanelWidth] or null: each raised to the bits of max |dst[m][n]| over the outputs n
                           // written that are at its place in their panel (padding outputs are zero and do not
                           // matter); as unsigned integers, so that a NaN wins and the order of panels is free.
                           // The row's largest is the largest of them: to find it once a row, not once a tile, is
                           // quantize_rows' part
  int m, k;
  int panel_begin, panel_end;
  Activation activation;
  int32_t a_zero_point = 0;      // in [-127, 127]
  uint8_t* q = nullptr;          // [M][ldq] or null; padding outputs are written too
  size_t ldq = 0;                // bytes, >= padded N
  const float* q_inv = nullptr;  // [padded N]
  int32_t q_zero_point = 0;      // in [-127, 127]
  uint64_t* clipped = nullptr;
  void* splits = nullptr;  // what split_rows, returning true, made of these rows of a; a_zero_point and b_sum
                           // are then not read
  void* kept = nullptr;    // with splits: packed_s8_panel_bytes(k) to write to, 64-byte aligned, for this call alone
  // What the caller reads next, of any product: fetched into L2 while the last panels of this one are worked on, as
  // far as its steps reach.
  PanelsAhead after = {};
  bool fetch_results = false;  // the lines of dst before each tile: see fetches_results() in cpu.h
};

// Rows of activation bytes brought, in place, into a form that the table's products take faster; GemmS8Args::splits
// says so to them, and nothing else may read the rows then. split_rows returns whether it did: rows that would not gain
// are left as they are, but for the bytes between K and the stride. join_rows takes it back.
struct SplitRowsArgs {
  uint8_t* a;  // [M][lda], becomes activation bytes less zero_point without what is in splits
  size_t lda;
  void* splits;  // split_row_bytes(k) a row, 64-byte aligned
  int m, k;
  int32_t zero_point = 0;  // in [-127, 127]
};

// Room for what is taken out of a row: words of 4 activations, at most one for 8 inputs, and what one vector may add
// after the last that is within that limit (split_avx2-inl.h).
constexpr size_t kSplitRowHead = 8, kSplitRowWord = 8;  // bytes
constexpr int kInputsPerSplitWord = 8, kSplitWordsOfVector = 64;
constexpr int split_row_words(int k) { return k / kInputsPerSplitWord + kSplitWordsOfVector; }
constexpr size_t split_row_bytes(int k) {
  return (kSplitRowHead + kSplitRowWord * static_cast<size_t>(split_row_words(k)) + 63) / 64 * 64;
}

// dst[m][n] = act(acc * scale + bias): acc = fma over k = 0..K-1 in this order, from 0;
// with b_scale: fma(acc, b_scale[n], bias[n]); without: acc + bias[n]. gemm_w8 reads b_s8 instead of b; K is then a
// multiple of kGroupDepth.
struct GemmF32Args {
  const float* a;  // [M][lda]
  size_t lda;
  const float* b;        // packed kN16K1, address of panel 0
  const float* b_scale;  // [padded N] or null
  const float* bias;     // [padded N]
  float* dst;            // [M][ldd]
  size_t ldd;
  int m, k;
  int panel_begin, panel_end;
  Activation activation;
  const int8_t* b_s8 = nullptr;  // packed kN16K4, address of panel 0
};

// q[m][k] = round_half_even(clamp(src[m][k] * (127 / absmax[m]), -127, 127)) as activation
// bytes, scale[m] = absmax[m] / 127. absmax below kTinyAbsMax: q = 0, scale 1. absmax not
// finite: q = 0, scale NaN, so that the fault reaches the logits instead of vanishing.
// With inv, src[m][k] * inv[k], rounded, stands for src[m][k] everywhere (SmoothQuant; row_max_bits must be null).
struct QuantizeRowsArgs {
  const float* src;  // [M][lds]
  size_t lds;
  const uint32_t* row_max_bits;  // [M][kPanelWidth] or null: the largest of a row's is the bits of max |src[m][k]|,
                                 // where already known
  uint8_t* dst;                  // [M][ldd]
  size_t ldd;
  float* scale;  // [M]
  int m, k;
  const float* inv = nullptr;  // [K] or null
};

// Static quantization of src: see above GemmS8Args.
struct QuantizeStaticArgs {
  const float* src;  // [M][lds]
  size_t lds;
  const float* inv;    // [K]
  int32_t zero_point;  // in [-127, 127]
  uint8_t* dst;        // [M][ldd]
  size_t ldd;          // bytes, = activation_stride(k)
  int m, k;
  uint64_t* clipped = nullptr;
};

// y = (x - mean) / sqrt(variance + eps) * gamma + beta per row, biased variance
// (Ba et al. 2016, "Layer Normalization", eq. 3-4), of x + residual;
// then, if q is given, quantized: with scale as quantize_rows does, with scale null as quantize_static does.
struct LayerNormArgs {
  const float* x;  // [M][ldx]
  size_t ldx;
  const float* residual;  // [M][ldr] or null
  size_t ldr;
  const float* gamma;  // [N]
  const float* beta;   // [N]
  float eps;
  float* y;  // [M][ldy]; may be x or residual themselves
  size_t ldy;
  uint8_t* q;  // [M][ldq] or null
  size_t ldq;
  float* scale;  // [M], or null: static
  int m, n;
  const float* inv = nullptr;  // [N]; where scale is given, or null
  int32_t zero_point = 0;      // static only, as the next
  uint64_t* clipped = nullptr;
};

// One head of one text: rows begin .. end of the output, over all S tokens as keys.
// q, k, v, dst point at the head's first column of the text's first token.
// Integer form (attention_s8): docs/NUMERICS.md, "Attention in integers".
// Float form (attention_f32): softmax(Q K^T / sqrt(head_dim)) V (Vaswani et al. 2017, eq. 1).
struct AttentionArgs {
  const float *q, *k, *v;  // [S][ld], head_dim columns each
  size_t ld;
  float* dst;  // [S][ldd], head_dim columns
  size_t ldd;
  void* scratch;  // attention_scratch_bytes(S, head_dim), 64-byte aligned
  int s, head_dim;
  int row_begin, row_end;  // 0 <= row_begin < row_end <= S
};

// The same with everything fixed by calibration (docs/NUMERICS.md, "Static attention"): Q and K with one scale a head,
// V with one a column, zero points 0.
struct AttentionStaticArgs {
  const uint8_t *q, *k, *v;  // [S][ld] activation bytes, head_dim columns each; a row of q is readable up to the
                             // next multiple of 16 columns; no alignment is asked for
  size_t ld;                 // bytes
  float score_factor;        // q_scale * k_scale of the head
  const float* v_scale;      // [head_dim]
  float* dst;                // [S][ldd], head_dim columns
  size_t ldd;
  void* scratch;  // attention_scratch_bytes(S, head_dim), 64-byte aligned
  int s, head_dim;
  int row_begin, row_end;    // 0 <= row_begin < row_end <= S
  uint8_t* dst_q = nullptr;  // [S][ldq] or null; if given, head_dim bytes a row are written and dst is not touched
  size_t ldq = 0;
  const float* inv = nullptr;  // [head_dim]
  int32_t zero_point = 0;
  uint64_t* clipped = nullptr;
};

// Enough for every instruction set's form of all attentions.
size_t attention_scratch_bytes(size_t s, size_t head_dim);

// One kN16K8 panel of int4 weights to a kN16K1 panel of floats: dst = float(w) * group_scale of its inputs, rounded.
struct UnpackS4Args {
  const uint8_t* panel;
  int k;
  const float* group_scale;  // [groups][group_stride], from the panel's first output on
  size_t group_stride;       // padded N
  int group_size;            // inputs, a multiple of kGroupDepth4
  float* dst;
};

// dst[m] = (word row + type row) + position row, in this order (HuggingFace's).
struct EmbedArgs {
  const int32_t* ids;        // [M], 0 <= id < vocabulary (checked by the caller)
  const int32_t* type_ids;   // [M] or null for zeros
  const int32_t* positions;  // [M]
  const int8_t* word_s8;     // [V][n] with word_scale, or null
  const float* word_scale;   // [V]: word = float(q) * scale
  const float* word_f32;     // [V][n], used if word_s8 is null
  const float* type;         // [T][n]
  const float* position;     // [P][n]
  float* dst;                // [M][ldd]
  size_t ldd;
  int m, n;
};

// Label probabilities: softmax per row of logits, in place is allowed.
struct SoftmaxArgs {
  const float* x;  // [M][ldx]
  size_t ldx;
  float* y;  // [M][ldy]
  size_t ldy;
  int m, n;
};

enum class Isa : uint32_t {
  kScalar = 0,
  kAvx2,
  kAvxVnni,
  kAvx512Vnni,
  kNeon,
  kNeonDotprod,
  kNeonI8mm,
};

struct KernelTable {
  const char* name;  // "scalar", "avx2", "avx_vnni", "avx512_vnni", "neon", ...
  Isa isa;
  uint64_t required_features;  // bits of kernels/cpu.h, exactly what the unit's flags let the compiler use
  int32_t activation_offset;   // 0 or 128

  void (*gemm_s8)(const GemmS8Args&);
  void (*gemm_f32)(const GemmF32Args&);
  // One kN16K4 panel of int8 weights to a kN16K1 panel of floats (exact), for weight-only products.
  void (*unpack_panel)(const int8_t* panel, int k, float* dst);
  void (*unpack_panel_s4)(const UnpackS4Args&);
  // One kN16K8 panel of indices to a kN16K1 panel of codebook[0..15].
  void (*unpack_panel_codebook)(const uint8_t* panel, int k, const float* codebook, float* dst);
  void (*quantize_rows)(const QuantizeRowsArgs&);
  void (*quantize_static)(const QuantizeStaticArgs&);
  void (*layer_norm)(const LayerNormArgs&);
  void (*embed)(const EmbedArgs&);
  void (*attention_s8)(const AttentionArgs&);
  void (*attention_static)(const AttentionStaticArgs&);
  void (*attention_f32)(const AttentionArgs&);
  void (*softmax)(const SoftmaxArgs&);
  // y[i] = act(x[i]); for tests and benches of the elementary functions.
  void (*activate)(const float* x, float* y, size_t n, Activation activation);
  // Both null: the products take all rows as they are.
  bool (*split_rows)(const SplitRowsArgs&) = nullptr;
  void (*join_rows)(const SplitRowsArgs&) = nullptr;
  // The bits of unpack_panel and gemm_f32 after it, without floats of weights in memory: they are made once a register
  // block, so that it pays for few rows. Null: there is none.
  void (*gemm_w8)(const GemmF32Args&) = nullptr;
};

// Each defined by kernels/<name>.cpp, the only symbol that such a unit exports; a build has those
// of its architecture (kernels/dispatch.h lists them).
extern const KernelTable kScalarTable;
extern const KernelTable kAvx2Table, kAvxVnniTable, kAvx512VnniTable;
extern const KernelTable kNeonTable, kNeonDotprodTable, kNeonI8mmTable;

}  // namespace octobert

#endif  // OCTOBERT_KERNELS_KERNELS_H_
