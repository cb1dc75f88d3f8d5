// Where the pieces of an attention call lie in AttentionArgs::scratch, as byte offsets, all multiples of 64.
// Included by every instruction set and by pack.cpp, which answers attention_scratch_bytes().
#ifndef OCTOBERT_KERNELS_ATTENTION_SCRATCH_INL_H_
#define OCTOBERT_KERNELS_ATTENTION_SCRATCH_INL_H_

#include <stddef.h>
#include <stdint.h>

#include "kernels/kernels.h"
#include "kernels/layout.h"

namespace octobert {
namespace {

// Query rows that are worked on at once: their scores (8 * 512 * 4 bytes for a long text) stay in L1.
constexpr size_t kAttentionRows = 8;

struct AttentionS8Layout {
  size_t k_panels;  // int8 kN16K4, N = S keys, K = head_dim
  size_t k_scale;   // float [padded S], NaN past S
  size_t k_start;   // int32 [padded S]
  size_t v_panels;  // int8 kN16K4, N = head_dim, K = S
  size_t v_scale;   // float [padded head_dim]
  size_t v_start;   // int32 [padded head_dim]
  size_t inv;       // float [padded head_dim], of a static output
  size_t q;         // bytes of 16 queries, before that of 16 keys at a time, stride activation_stride(head_dim)
  size_t scores;    // float [kAttentionRows][padded S]
  size_t p;         // probability levels of kAttentionRows queries, stride activation_stride(S)
  size_t bytes;
};

struct AttentionF32Layout {
  size_t k_panels;  // float kN16K1, N = S keys, K = head_dim
  size_t v_panels;  // float kN16K1, N = head_dim, K = S
  size_t scores;    // float [kAttentionRows][padded S]
  size_t bytes;
};

constexpr AttentionS8Layout attention_s8_layout(size_t s, size_t head_dim) {
  AttentionS8Layout l{};
  l.k_panels = 0;
  l.k_scale = l.k_panels + packed_s8_bytes(s, head_dim);
  l.k_start = l.k_scale + padded_outputs(s) * sizeof(float);
  l.v_panels = l.k_start + padded_outputs(s) * sizeof(int32_t);
  l.v_scale = l.v_panels + packed_s8_bytes(head_dim, s);
  l.v_start = l.v_scale + padded_outputs(head_dim) * sizeof(float);
  l.inv = l.v_start + padded_outputs(head_dim) * sizeof(int32_t);
  l.q = l.inv + padded_outputs(head_dim) * sizeof(float);
  l.scores = l.q + kPanelWidth * activation_stride(head_dim);
  l.p = l.scores + kAttentionRows * padded_outputs(s) * sizeof(float);
  l.bytes = l.p + kAttentionRows * activation_stride(s);
  return l;
}

constexpr AttentionF32Layout attention_f32_layout(size_t s, size_t head_dim) {
  AttentionF32Layout l{};
  l.k_panels = 0;
  l.v_panels = l.k_panels + packed_f32_floats(s, head_dim) * sizeof(float);
  l.scores = l.v_panels + packed_f32_floats(head_dim, s) * sizeof(float);
  l.bytes = l.scores + kAttentionRows * padded_outputs(s) * sizeof(float);
  return l;
}

}  // namespace
}  // namespace octobert

#endif  // OCTOBERT_KERNELS_ATTENTION_SCRATCH_INL_H_
