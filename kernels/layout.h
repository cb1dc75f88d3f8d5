// Packed weight layouts: how a matrix W[N][K] (N outputs, K inputs, row-major at
// the source, y = W x) lies in memory so that every instruction set reads it as it is.
//
// kN16K4 (int8): panels of 16 outputs; inside a panel, groups of 4 inputs; inside a
// group, output-major. One group is 64 bytes: 1 zmm, 2 ymm or 4 NEON registers, and
// each 32-bit lane holds the four consecutive inputs of one output, which is what
// vpdpbusd, sdot and maddubs+madd consume:
//
//   panel p = n / 16, group g = k / 4
//   byte offset = ((p * G + g) * 16 + n % 16) * 4 + k % 4        G = ceil(K / 4)
//
//        | output 16p        | output 16p+1      | ...   | output 16p+15     |
//   g    | k=4g 4g+1 4g+2 4g+3 | k=4g .. 4g+3    |       | k=4g .. 4g+3      |
//
// i8mm (smmla) wants groups of 8 inputs for 2 outputs: one zip1/zip2 of two
// consecutive groups on 32-bit lanes makes them.
//
// kN16K1 (f32): panels of 16 outputs; one k after the other, 16 floats each:
//   float offset = (p * K + k) * 16 + n % 16
//
// kN16K8 (4 bits): panels of 16 outputs; inside a panel, groups of 8 inputs of 64 bytes: a
// 32-bit lane for each output, whose nibble i, from the lowest, is input 8g + i:
//   panel p = n / 16, group g = k / 8
//   byte offset = ((p * G8 + g) * 16 + n % 16) * 4 + k % 8 / 2,  G8 = ceil(K / 8); even k in the low nibble
//
// Outputs past N and inputs past K are stored as zero. Panels start 64-byte aligned.
#ifndef OCTOBERT_KERNELS_LAYOUT_H_
#define OCTOBERT_KERNELS_LAYOUT_H_

#include <stddef.h>
#include <stdint.h>

namespace octobert {

enum class Layout : uint32_t { kRowMajor = 0, kN16K4 = 1, kN16K1 = 2, kN16K8 = 3 };

constexpr int kPanelWidth = 16;  // outputs in a panel
constexpr int kGroupDepth = 4;   // inputs in a group (int8)
constexpr int kGroupDepth4 = 8;  // inputs in a group (4 bits)

// K * 127 * 255 must stay below 2^31 for exact int32 sums (unsigned activations on
// VNNI reach 254, signed weights 128): 2^31 / (255 * 128) = 65793, rounded down.
constexpr int kMaxReductionDepth = 65536;

constexpr size_t panel_count(size_t n) { return (n + kPanelWidth - 1) / kPanelWidth; }
constexpr size_t group_count(size_t k) { return (k + kGroupDepth - 1) / kGroupDepth; }
constexpr size_t padded_outputs(size_t n) { return panel_count(n) * kPanelWidth; }

constexpr size_t packed_s8_panel_bytes(size_t k) { return group_count(k) * kGroupDepth * kPanelWidth; }
constexpr size_t packed_s8_bytes(size_t n, size_t k) { return panel_count(n) * packed_s8_panel_bytes(k); }
constexpr size_t packed_f32_panel_floats(size_t k) { return k * kPanelWidth; }
constexpr size_t packed_f32_floats(size_t n, size_t k) { return panel_count(n) * packed_f32_panel_floats(k); }

constexpr size_t packed_4bit_panel_bytes(size_t k) {
  return (k + kGroupDepth4 - 1) / kGroupDepth4 * kGroupDepth4 * kPanelWidth / 2;
}
constexpr size_t packed_4bit_bytes(size_t n, size_t k) { return panel_count(n) * packed_4bit_panel_bytes(k); }

constexpr size_t packed_s8_offset(size_t n, size_t k, size_t depth) {
  return (((n / kPanelWidth) * group_count(depth) + k / kGroupDepth) * kPanelWidth + n % kPanelWidth) * kGroupDepth +
         k % kGroupDepth;
}
constexpr size_t packed_f32_offset(size_t n, size_t k, size_t depth) {
  return ((n / kPanelWidth) * depth + k) * kPanelWidth + n % kPanelWidth;
}

}  // namespace octobert

#endif  // OCTOBERT_KERNELS_LAYOUT_H_
