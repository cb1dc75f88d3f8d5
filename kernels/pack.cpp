#include "kernels/pack.h"

#include <algorithm>

#include "kernels/attention_scratch-inl.h"
#include "kernels/kernels.h"
#include "kernels/layout.h"

namespace octobert {

void pack_s8(const int8_t* w, size_t n, size_t k, int8_t* dst) {
  std::fill_n(dst, packed_s8_bytes(n, k), int8_t{0});
  for (size_t i = 0; i < n; ++i) {
    int8_t* panel = dst + (i / kPanelWidth) * packed_s8_panel_bytes(k) + i % kPanelWidth * kGroupDepth;
    for (size_t j = 0; j < k; ++j) panel[j / kGroupDepth * kPanelWidth * kGroupDepth + j % kGroupDepth] = w[i * k + j];
  }
}

void pack_f32(const float* w, size_t n, size_t k, float* dst) {
  std::fill_n(dst, packed_f32_floats(n, k), 0.0f);
  for (size_t i = 0; i < n; ++i) {
    float* panel = dst + (i / kPanelWidth) * packed_f32_panel_floats(k) + i % kPanelWidth;
    for (size_t j = 0; j < k; ++j) panel[j * kPanelWidth] = w[i * k + j];
  }
}

void row_sums(const int8_t* w, size_t n, size_t k, int32_t* sums) {
  std::fill_n(sums, padded_outputs(n), int32_t{0});
  for (size_t i = 0; i < n; ++i) {
    for (size_t j = 0; j < k; ++j) sums[i] += w[i * k + j];
  }
}

size_t attention_scratch_bytes(size_t s, size_t head_dim) {
  return std::max(attention_s8_layout(s, head_dim).bytes, attention_f32_layout(s, head_dim).bytes);
}

}  // namespace octobert
