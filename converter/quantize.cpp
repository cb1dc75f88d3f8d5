#include "converter/quantize.h"

#include <algorithm>
#include <bit>

#include "engine/parallel.h"
#include "kernels/layout.h"
#include "kernels/numerics.h"
#include "kernels/pack.h"

namespace octobert::converter {
namespace {

float absmax_of_row(const float* w, size_t columns) {
  uint32_t largest = 0;  // as bits: the order of non-negative floats, and free of the order of the loop
  for (size_t i = 0; i < columns; ++i) largest = std::max(largest, std::bit_cast<uint32_t>(w[i]) & 0x7fffffffu);
  return std::bit_cast<float>(largest);
}

// Nearest integer, ties to even, of |x| < 127.5: beside 1.5 * 2^23 the unit in the last place is 1, so that the sum is
// rounded as IEEE 754 rounds, and its low byte is the integer. Without branches: compilers vectorise it for any
// machine.
int8_t round_to_i8(float x) {
  constexpr float kUnitUlp = 12582912.0f;
  return static_cast<int8_t>(std::bit_cast<uint32_t>(x + kUnitUlp));
}

void quantize_row(const float* w, size_t columns, int8_t* q, float* scale) {
  const float absmax = absmax_of_row(w, columns);
  if (absmax < numerics::kTinyAbsMax) {
    std::fill_n(q, columns, int8_t{0});
    *scale = 1.0f;
    return;
  }
  // |w| <= absmax, and two roundings add at most 127 * 2^-23: the clamp of NUMERICS.md has nothing to do here.
  const float inverse = 127.0f / absmax;
  for (size_t i = 0; i < columns; ++i) q[i] = round_to_i8(w[i] * inverse);
  *scale = absmax / 127.0f;
}

// body(first row, rows, panel) for each panel of 16 rows, on the executor's threads. A row is one task's alone.
template <typename Body>
void for_each_panel(Executor& executor, size_t rows, const Body& body) {
  const Workers workers{&executor, executor.concurrency()};
  parallel_for(workers, static_cast<int>(panel_count(rows)), [&](int /*worker*/, int index) {
    const auto panel = static_cast<size_t>(index);
    const size_t first = panel * kPanelWidth;
    body(first, std::min(rows - first, size_t{kPanelWidth}), panel);
  });
}

}  // namespace

void quantize_rows(Executor& executor, const float* w, size_t rows, size_t columns, int8_t* q, float* scale) {
  for_each_panel(executor, rows, [=](size_t first, size_t count, size_t /*panel*/) {
    for (size_t i = first; i < first + count; ++i) quantize_row(w + i * columns, columns, q + i * columns, scale + i);
  });
}

PackedLinear::PackedLinear(Executor& executor, format::Scheme scheme, std::span<const float> w,
                           std::span<const float> bias, int n, int k)
    : bias_(bias.begin(), bias.end()) {
  view_.scheme = scheme;
  view_.n = n;
  view_.k = k;
  bias_.resize(padded_outputs(static_cast<size_t>(n)));
  view_.bias = bias_.data();
  if (scheme == format::Scheme::kFloat) {
    pack_float(executor, w);
  } else {
    pack_int8(executor, w);
  }
}

void PackedLinear::pack_float(Executor& executor, std::span<const float> w) {
  const auto n = static_cast<size_t>(view_.n), k = static_cast<size_t>(view_.k);
  weight_ = AlignedBuffer(packed_f32_floats(n, k) * sizeof(float));
  auto* packed = reinterpret_cast<float*>(weight_.data());
  for_each_panel(executor, n, [&](size_t first, size_t rows, size_t panel) {
    pack_f32(w.data() + first * k, rows, k, packed + panel * packed_f32_panel_floats(k));
  });
  view_.weight_f32 = packed;
}

void PackedLinear::pack_int8(Executor& executor, std::span<const float> w) {
  const auto n = static_cast<size_t>(view_.n), k = static_cast<size_t>(view_.k);
  scale_.resize(padded_outputs(n));  // padding outputs: weights, sum, scale and bias 0
  sum_.resize(padded_outputs(n));
  weight_ = AlignedBuffer(packed_s8_bytes(n, k));
  auto* packed = reinterpret_cast<int8_t*>(weight_.data());
  std::vector<int8_t> q(n * k);
  quantize_rows(executor, w.data(), n, k, q.data(), scale_.data());
  for_each_panel(executor, n, [&](size_t first, size_t rows, size_t panel) {
    pack_s8(q.data() + first * k, rows, k, packed + panel * packed_s8_panel_bytes(k));
    row_sums(q.data() + first * k, rows, k, sum_.data() + first);
  });
  view_.weight_s8 = packed;
  view_.scale = scale_.data();
  view_.sum = sum_.data();
}

}  // namespace octobert::converter
