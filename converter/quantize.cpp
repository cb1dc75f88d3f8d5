#include "converter/quantize.h"

#include <algorithm>
#include <bit>

#include "converter/blocks.h"
#include "kernels/numerics.h"

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

}  // namespace

void quantize_rows(Executor& executor, const float* w, size_t rows, size_t columns, int8_t* q, float* scale) {
  for_each_panel(executor, rows, [=](size_t first, size_t count, size_t /*panel*/) {
    for (size_t i = first; i < first + count; ++i) quantize_row(w + i * columns, columns, q + i * columns, scale + i);
  });
}

}  // namespace octobert::converter
