// Packed weights to floats, over Vec (float_ops-inl.h).
#ifndef OCTOBERT_KERNELS_UNPACK_INL_H_
#define OCTOBERT_KERNELS_UNPACK_INL_H_

#include "kernels/float_ops-inl.h"

namespace octobert {
namespace {

// The weights of input kInput of a group's four, as floats: each int32 lane holds four inputs of one output.
template <int kInput>
inline F group_weights(I group) {
  constexpr int kAbove = 8 * (kGroupDepth - 1 - kInput);
  if constexpr (kAbove > 0) group = Vec::shift_left<kAbove>(group);
  return Vec::to_float(Vec::shift_right<24>(group));
}

void unpack_panel(const int8_t* panel, int k, float* dst) {
  for (int i = 0; i < k; i += kGroupDepth, panel += kGroupDepth * kPanelWidth, dst += kGroupDepth * kPanelWidth) {
    const I group = Vec::load_i(panel);
    Vec::store(dst, group_weights<0>(group));
    if (i + 1 < k) Vec::store(dst + kPanelWidth, group_weights<1>(group));
    if (i + 2 < k) Vec::store(dst + 2 * kPanelWidth, group_weights<2>(group));
    if (i + 3 < k) Vec::store(dst + 3 * kPanelWidth, group_weights<3>(group));
  }
}

// body.template operator()<i>() for i = 0..7: the nibbles of a lane.
template <class Body>
inline void for_nibbles(const Body& body) {
  body.template operator()<0>();
  body.template operator()<1>();
  body.template operator()<2>();
  body.template operator()<3>();
  body.template operator()<4>();
  body.template operator()<5>();
  body.template operator()<6>();
  body.template operator()<7>();
}

void unpack_panel_s4(const UnpackS4Args& g) {
  const uint8_t* panel = g.panel;
  float* dst = g.dst;
  for (int i = 0; i < g.k; i += kGroupDepth4, panel += 64, dst += kGroupDepth4 * kPanelWidth) {
    const I group = Vec::load_i(panel);
    const F scale = Vec::load(g.group_scale + static_cast<size_t>(i / g.group_size) * g.group_stride);
    for_nibbles([&]<int kNibble>() {
      if (i + kNibble >= g.k) return;
      const I w = Vec::shift_right<28>(Vec::shift_left<28 - 4 * kNibble>(group));
      Vec::store(dst + kNibble * kPanelWidth, Vec::mul(Vec::to_float(w), scale));
    });
  }
}

void unpack_panel_codebook(const uint8_t* panel, int k, const float* codebook, float* dst) {
  const Vec::Table table = Vec::table(codebook);
  for (int i = 0; i < k; i += kGroupDepth4, panel += 64, dst += kGroupDepth4 * kPanelWidth) {
    const I group = Vec::load_i(panel);
    for_nibbles([&]<int kNibble>() {
      if (i + kNibble >= k) return;
      const I index = Vec::and_i(Vec::shift_right<28>(Vec::shift_left<28 - 4 * kNibble>(group)), Vec::set_i(15));
      Vec::store(dst + kNibble * kPanelWidth, Vec::lookup(table, index));
    });
  }
}

}  // namespace
}  // namespace octobert

#endif  // OCTOBERT_KERNELS_UNPACK_INL_H_
