// The specification's building blocks: elementary functions, activation and quantization of docs/NUMERICS.md as plain
// loops. The part of scalar.cpp that its products, rows and attention are made of.
#ifndef OCTOBERT_KERNELS_SCALAR_OPS_INL_H_
#define OCTOBERT_KERNELS_SCALAR_OPS_INL_H_

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "kernels/kernels.h"
#include "kernels/layout.h"
#include "kernels/numerics.h"

namespace octobert {
namespace {

using namespace numerics;  // NOLINT(google-build-using-namespace): constants only

// ---- building blocks ----

float fma(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
float sqrt(float x) { return __builtin_sqrtf(x); }
float max(float a, float b) { return a > b ? a : b; }
float min(float a, float b) { return a < b ? a : b; }

float from_bits(uint32_t bits) {
  float x = 0;
  memcpy(&x, &bits, sizeof x);
  return x;
}
uint32_t abs_bits(float x) {
  uint32_t bits = 0;
  memcpy(&bits, &x, sizeof bits);
  return bits & 0x7fffffffu;
}
constexpr uint32_t kInfBits = 0x7f800000u;

// Nearest integer, ties to even, for |x| < 2^22: at 1.5 * 2^23 the spacing of floats is 1. A zero
// comes out as +0 whatever its sign; nothing below can tell.
float round_even(float x) { return (x + 0x1.8p23f) - 0x1.8p23f; }

// 2^n for whole n in [-126, 127], from the exponent's bits.
float pow2(float n) { return from_bits(static_cast<uint32_t>(static_cast<int32_t>(n) + 127) << 23); }

float horner(float x, const float* coefficients, int count) {
  float p = coefficients[count - 1];
  for (int i = count - 2; i >= 0; --i) p = fma(p, x, coefficients[i]);
  return p;
}

float fold_lanes(float* lane) {
  for (int w = kLanes / 2; w > 0; w /= 2) {
    for (int l = 0; l < w; ++l) lane[l] = lane[l] + lane[l + w];
  }
  return lane[0];
}

// ---- elementary functions ----

float exp(float x) {
  x = min(kExpMax, x);  // in this operand order a NaN stays
  x = max(kExpMin, x);
  if (x != x) return x;
  const float n = round_even(x * kLog2E);
  float r = fma(-n, kLn2Hi, x);
  r = fma(-n, kLn2Lo, r);
  const float p = horner(r, kExpPoly, 6);
  const float y = fma(p, r * r, r) + 1.0f;
  return y * pow2(n);
}

// round(254 * 2^t) for t <= 0, within 0.037 of the real value before rounding; a NaN gives 0.
int exp2_q8(float t) {
  t = max(t, kExp2Q8Min);
  const float n = round_even(t);
  const float f = t - n;
  return static_cast<int>(round_even(horner(f, kExp2Q8Poly, 4) * pow2(n)));
}

float gelu(float x) {
  const float u = min(from_bits(abs_bits(x)), kGeluClamp);
  const float p = horner(u, kGeluPoly, 6);
  const float p2 = p * p, p4 = p2 * p2;
  return fma(-u, p4 * p4, max(0.0f, x));  // in this operand order of max a NaN stays
}

float gelu_tanh(float x) {
  const float x3 = (x * x) * x;
  const float u = fma(kGeluTanhCubic, x3, x);
  return x / (1.0f + exp(kGeluTanhScale * u));
}

float relu(float x) { return max(0.0f, x) + 0.0f; }  // -0 becomes +0, a NaN stays

float activated(float x, Activation activation) {
  switch (activation) {
    case Activation::kNone:
      return x;
    case Activation::kGelu:
      return gelu(x);
    case Activation::kGeluTanh:
      return gelu_tanh(x);
    case Activation::kRelu:
      return relu(x);
  }
  return x;
}

void activate(const float* x, float* y, size_t n, Activation activation) {
  for (size_t i = 0; i < n; ++i) y[i] = activated(x[i], activation);
}

// ---- quantization ----

int round_to_i8(float x) {
  x = max(x, -127.0f);
  x = min(x, 127.0f);
  return static_cast<int>(round_even(x));
}

// What quantizing values of the largest magnitude `bits` takes: q = round_to_i8(x * inverse).
struct QuantScale {
  float inverse;  // 0: all q are 0
  float scale;
};

QuantScale quant_scale(uint32_t absmax_bits) {
  if (absmax_bits >= kInfBits) return {0.0f, from_bits(0x7fc00000u)};
  const float a = from_bits(absmax_bits);
  if (a < kTinyAbsMax) return {0.0f, 1.0f};
  return {127.0f / a, a / 127.0f};
}

// Absolute maximum of count values `stride` apart.
uint32_t absmax_bits(const float* x, size_t count, size_t stride) {
  uint32_t largest = 0;
  for (size_t i = 0; i < count; ++i) {
    const uint32_t bits = abs_bits(x[i * stride]);
    largest = bits > largest ? bits : largest;
  }
  return largest;
}

int8_t quantized(float x, QuantScale s) {
  return s.inverse > 0.0f ? static_cast<int8_t>(round_to_i8(x * s.inverse)) : int8_t{0};
}

float quantize_row(const float* x, int k, uint32_t bits, uint8_t* q) {
  const QuantScale s = quant_scale(bits);
  for (int i = 0; i < k; ++i) q[i] = static_cast<uint8_t>(quantized(x[i], s));
  return s.scale;
}

// The same of x[i] * inv[i].
float quantize_row_smoothed(const float* x, const float* inv, int k, uint8_t* q) {
  uint32_t largest = 0;
  for (int i = 0; i < k; ++i) {
    const uint32_t bits = abs_bits(x[i] * inv[i]);
    largest = bits > largest ? bits : largest;
  }
  const QuantScale s = quant_scale(largest);
  for (int i = 0; i < k; ++i) q[i] = static_cast<uint8_t>(quantized(x[i] * inv[i], s));
  return s.scale;
}

uint32_t largest_of(const uint32_t* row_max_bits) {
  uint32_t largest = 0;
  for (int n = 0; n < kPanelWidth; ++n) largest = row_max_bits[n] > largest ? row_max_bits[n] : largest;
  return largest;
}

void quantize_rows(const QuantizeRowsArgs& g) {
  for (int m = 0; m < g.m; ++m) {
    const float* x = g.src + static_cast<size_t>(m) * g.lds;
    uint8_t* q = g.dst + static_cast<size_t>(m) * g.ldd;
    if (g.inv) {
      g.scale[m] = quantize_row_smoothed(x, g.inv, g.k, q);
      continue;
    }
    const uint32_t bits =
        g.row_max_bits ? largest_of(g.row_max_bits + m * kPanelWidth) : absmax_bits(x, static_cast<size_t>(g.k), 1);
    g.scale[m] = quantize_row(x, g.k, bits, q);
  }
}

// Values that do not round to -127..127 (127.5 is a tie that goes to 128), by their bits, so that a NaN is one of them.
constexpr uint32_t kClipBits = 0x42ff0000u;  // 127.5f

void quantize_static_row(const float* y, const float* inv, int32_t zero_point, int count, uint8_t* q,
                         uint64_t* clipped) {
  const float zero = static_cast<float>(zero_point);
  uint64_t outside = 0;
  for (int i = 0; i < count; ++i) {
    const float v = fma(y[i], inv[i], zero);
    if (abs_bits(v) >= kClipBits) ++outside;
    q[i] = static_cast<uint8_t>(round_to_i8(v));
  }
  if (kCountClipped && clipped) *clipped += outside;
}

void quantize_static(const QuantizeStaticArgs& g) {
  for (int m = 0; m < g.m; ++m) {
    quantize_static_row(g.src + static_cast<size_t>(m) * g.lds, g.inv, g.zero_point, g.k,
                        g.dst + static_cast<size_t>(m) * g.ldd, g.clipped);
  }
}

}  // namespace
}  // namespace octobert

#endif  // OCTOBERT_KERNELS_SCALAR_OPS_INL_H_
