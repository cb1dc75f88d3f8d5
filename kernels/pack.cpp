#include "kernels/pack.h"

#include <algorithm>
#include <cstring>

#include "kernels/attention_scratch-inl.h"
#include "kernels/kernels.h"
#include "kernels/layout.h"

namespace octobert {

void pack_s8(const int8_t* w, size_t n, size_t k, int8_t* dst) {
  std::fill_n(dst, packed_s8_bytes(n, k), int8_t{0});
  for (size_t i = 0; i < n; ++i) {
    const int8_t* row = w + i * k;
    int8_t* to = dst + (i / kPanelWidth) * packed_s8_panel_bytes(k) + i % kPanelWidth * kGroupDepth;
    size_t j = 0;
    for (; j + kGroupDepth <= k; j += kGroupDepth, to += kPanelWidth * kGroupDepth)
      std::memcpy(to, row + j, kGroupDepth);
    std::memcpy(to, row + j, k - j);
  }
}

void pack_f32(const float* w, size_t n, size_t k, float* dst) {
  std::fill_n(dst, packed_f32_floats(n, k), 0.0f);
  constexpr size_t kBlock = 16;  // inputs: a square of 16 x 16 stays in L1 while it is turned
  for (size_t first = 0; first < n; first += kPanelWidth) {
    float* panel = dst + first / kPanelWidth * packed_f32_panel_floats(k);
    const size_t rows = std::min(n - first, size_t{kPanelWidth});
    for (size_t begin = 0; begin < k; begin += kBlock) {
      const size_t end = std::min(begin + kBlock, k);
      for (size_t i = 0; i < rows; ++i) {
        for (size_t j = begin; j < end; ++j) panel[j * kPanelWidth + i] = w[(first + i) * k + j];
      }
    }
  }
}

void pack_4bit(const int8_t* w, size_t n, size_t k, uint8_t* dst) {
  std::fill_n(dst, packed_4bit_bytes(n, k), uint8_t{0});
  for (size_t i = 0; i < n; ++i) {
    uint8_t* lane = dst + i / kPanelWidth * packed_4bit_panel_bytes(k) + i % kPanelWidth * 4;
    for (size_t j = 0; j < k; ++j) {
      uint8_t& byte = lane[j / kGroupDepth4 * 64 + j % kGroupDepth4 / 2];
      byte = static_cast<uint8_t>(byte | (w[i * k + j] & 15) << (j % 2 * 4));
    }
  }
}

void row_sums(const int8_t* w, size_t n, size_t k, int32_t* sums) {
  std::fill_n(sums, padded_outputs(n), int32_t{0});
  for (size_t i = 0; i < n; ++i) {
    int32_t sum = 0;  // not sums[i], which the bytes might alias
    for (size_t j = 0; j < k; ++j) sum += w[i * k + j];
    sums[i] = sum;
  }
}

size_t attention_scratch_bytes(size_t s, size_t head_dim) {
  return std::max(attention_s8_layout(s, head_dim).bytes, attention_f32_layout(s, head_dim).bytes);
}

}  // namespace octobert
