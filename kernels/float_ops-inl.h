// The float side of the kernels, written once over Vec (16 lanes; vec_avx512.h lists its functions): elementary
// functions, quantize_rows, layer_norm, embed, softmax, activate. The including unit has chosen Vec and
// kActivationOffset. The order of every operation is docs/NUMERICS.md's.
#ifndef OCTOBERT_KERNELS_FLOAT_OPS_INL_H_
#define OCTOBERT_KERNELS_FLOAT_OPS_INL_H_

#include <stddef.h>
#include <stdint.h>

#include "kernels/kernels.h"
#include "kernels/layout.h"
#include "kernels/numerics.h"

namespace octobert {
namespace {

using F = Vec::F;
using I = Vec::I;

constexpr int kWidth = 16;              // lanes of Vec
static_assert(numerics::kLanes == 32);  // two of them a reduction
constexpr int32_t kInfBits = 0x7f800000;

inline float nan_value() { return __builtin_nanf(""); }
inline float minus_inf() { return -__builtin_inff(); }

// count <= 16 values; where count is a constant 16, the full form is all that is left.
inline F load(const float* p, int count) { return count == kWidth ? Vec::load(p) : Vec::load_part(p, count); }
inline void store(float* p, F x, int count) {
  if (count == kWidth) {
    Vec::store(p, x);
  } else {
    Vec::store_part(p, x, count);
  }
}

// body(k, count) over 0..n-1 in steps of 16, the last one shorter.
template <class Body>
inline void for_vectors(int n, const Body& body) {
  int k = 0;
  for (; k + kWidth <= n; k += kWidth) body(k, kWidth);
  if (k < n) body(k, n - k);
}

// acc = step(k, count, acc) in 32 lanes, then folded: a reduction of docs/NUMERICS.md. A step must leave lanes past
// count unchanged (adding +0 does: a lane is never -0).
template <class Step>
inline float sum_lanes(int n, const Step& step) {
  F low = Vec::zero();
  F high = Vec::zero();
  int k = 0;
  for (; k + 2 * kWidth <= n; k += 2 * kWidth) {
    low = step(k, kWidth, low);
    high = step(k + kWidth, kWidth, high);
  }
  if (k + kWidth <= n) {
    low = step(k, kWidth, low);
    k += kWidth;
    if (k < n) high = step(k, n - k, high);
  } else if (k < n) {
    low = step(k, n - k, low);
  }
  return Vec::fold_add(Vec::add(low, high));
}

template <int kCount>
inline F horner(F x, const float (&coefficients)[kCount]) {
  F p = Vec::set(coefficients[kCount - 1]);
  for (int i = kCount - 2; i >= 0; --i) p = Vec::fma(p, x, Vec::set(coefficients[i]));
  return p;
}

// ---- elementary functions ----

inline F exp(F x) {
  using namespace numerics;
  x = Vec::min(Vec::set(kExpMax), x);
  x = Vec::max(Vec::set(kExpMin), x);
  const F n = Vec::rint(Vec::mul(x, Vec::set(kLog2E)));
  F r = Vec::fnma(n, Vec::set(kLn2Hi), x);
  r = Vec::fnma(n, Vec::set(kLn2Lo), r);
  const F p = horner(r, kExpPoly);
  const F y = Vec::add(Vec::fma(p, Vec::mul(r, r), r), Vec::set(1.0f));
  const I exponent = Vec::shift_left<23>(Vec::add_i(Vec::to_int(n), Vec::set_i(127)));
  return Vec::mul(y, Vec::as_float(exponent));
}

// 0..254
inline I exp2_q8(F t) {
  using namespace numerics;
  t = Vec::max(t, Vec::set(kExp2Q8Min));
  const Vec::Split n = Vec::split(t);
  return Vec::to_int(Vec::scale(horner(n.rest, kExp2Q8Poly), n.whole));
}

// GELU of N vectors in place, operation by operation: each is a chain of 10 operations of 4 cycles, and one after the
// other they leave units idle.
template <int N>
inline void gelu_in_step(F (&x)[N]) {
  using namespace numerics;
  F u[N], p[N];
  for (int i = 0; i < N; ++i) u[i] = Vec::min_abs(x[i], Vec::set(kGeluClamp));
  constexpr int kDegree = static_cast<int>(sizeof kGeluPoly / sizeof *kGeluPoly) - 1;
  for (F& v : p) v = Vec::set(kGeluPoly[kDegree]);
  for (int j = kDegree - 1; j >= 0; --j) {
    for (int i = 0; i < N; ++i) p[i] = Vec::fma(p[i], u[i], Vec::set(kGeluPoly[j]));
  }
  for (int squaring = 0; squaring < 3; ++squaring) {
    for (F& v : p) v = Vec::mul(v, v);
  }
  for (int i = 0; i < N; ++i) x[i] = Vec::fnma(u[i], p[i], Vec::max(Vec::zero(), x[i]));
}

inline F gelu(F x) {
  F one[1] = {x};
  gelu_in_step(one);
  return one[0];
}

inline F gelu_tanh(F x) {
  using namespace numerics;
  const F x3 = Vec::mul(Vec::mul(x, x), x);
  const F u = Vec::fma(Vec::set(kGeluTanhCubic), x3, x);
  return Vec::div(x, Vec::add(Vec::set(1.0f), exp(Vec::mul(Vec::set(kGeluTanhScale), u))));
}

inline F relu(F x) { return Vec::add(Vec::max(Vec::zero(), x), Vec::zero()); }

template <Activation kActivation>
inline F activated(F x) {
  if constexpr (kActivation == Activation::kGelu) return gelu(x);
  if constexpr (kActivation == Activation::kGeluTanh) return gelu_tanh(x);
  if constexpr (kActivation == Activation::kRelu) return relu(x);
  return x;
}

// The same of several, in place.
template <Activation kActivation, int N>
inline void activate_in_step(F (&x)[N]) {
  if constexpr (kActivation == Activation::kGelu) {
    gelu_in_step(x);
  } else {
    for (F& v : x) v = activated<kActivation>(v);
  }
}

template <Activation kActivation>
inline void activate_as(const float* x, float* y, size_t n) {
  size_t i = 0;
  for (; i + kWidth <= n; i += kWidth) Vec::store(y + i, activated<kActivation>(Vec::load(x + i)));
  const int rest = static_cast<int>(n - i);
  if (rest > 0) Vec::store_part(y + i, activated<kActivation>(Vec::load_part(x + i, rest)), rest);
}

void activate(const float* x, float* y, size_t n, Activation activation) {
  switch (activation) {
    case Activation::kNone:
      return activate_as<Activation::kNone>(x, y, n);
    case Activation::kGelu:
      return activate_as<Activation::kGelu>(x, y, n);
    case Activation::kGeluTanh:
      return activate_as<Activation::kGeluTanh>(x, y, n);
    case Activation::kRelu:
      return activate_as<Activation::kRelu>(x, y, n);
  }
}

// ---- quantization ----

struct QuantScale {
  float inverse;  // 0: all q are 0, whatever the values
  float scale;
};

inline QuantScale quant_scale(int32_t absmax_bits) {
  if (absmax_bits >= kInfBits) return {0.0f, nan_value()};
  const float a = __builtin_bit_cast(float, absmax_bits);
  if (a < numerics::kTinyAbsMax) return {0.0f, 1.0f};
  return {127.0f / a, a / 127.0f};
}

// A row of values as they are, and one with a multiplier a channel. (k, count) gives the values from k on, +0 past
// count.
struct Plain {
  const float* x;
  F operator()(int k, int count) const { return load(x + k, count); }
};
struct Smoothed {
  const float *x, *inv;
  F operator()(int k, int count) const { return Vec::mul(load(x + k, count), load(inv + k, count)); }
};

// The bits of the largest magnitude of n values, in any lane; the other lanes are not larger.
template <class Values>
inline I absmax_lanes(const Values& x, int n) {
  I low = Vec::zero_i();
  I high = Vec::zero_i();
  int k = 0;
  for (; k + 2 * kWidth <= n; k += 2 * kWidth) {
    low = Vec::max_i(low, Vec::abs_bits(x(k, kWidth)));
    high = Vec::max_i(high, Vec::abs_bits(x(k + kWidth, kWidth)));
  }
  for (; k < n; k += kWidth) low = Vec::max_i(low, Vec::abs_bits(x(k, n - k < kWidth ? n - k : kWidth)));
  return Vec::max_i(low, high);
}

template <class Values>
inline int32_t absmax_bits(const Values& x, int n) {
  return Vec::fold_max_i(absmax_lanes(x, n));
}

// round_to_i8 of docs/NUMERICS.md without its clamp: |x| is at most the row's absmax a, so |x (127 / a)| is at most
// 127 (1 + 2^-23), two roundings up, which is nearest to 127.
inline I round_within_absmax(F x, F inverse) { return Vec::to_int(Vec::mul(x, inverse)); }

// k values to bytes q + offset, 16 at a time: writes up to the next multiple of 16, which the stride allows for.
template <int32_t kOffset, class Values>
inline void quantize_row_as(const Values& x, int k, float inverse, uint8_t* q) {
  const I offset = Vec::set_i(kOffset);
  if (!(inverse > 0.0f)) {
    for_vectors(k, [&](int i, int) { Vec::store_bytes(q + i, offset); });
    return;
  }
  const F by = Vec::set(inverse);
  const auto quantized = [&](int i, int count) { return round_within_absmax(x(i, count), by); };
  int i = 0;
  for (; i + 4 * kWidth <= k; i += 4 * kWidth) {
    Vec::store_signed_64<kOffset>(q + i, quantized(i, kWidth), quantized(i + kWidth, kWidth),
                                  quantized(i + 2 * kWidth, kWidth), quantized(i + 3 * kWidth, kWidth));
  }
  for_vectors(k - i,
              [&](int j, int count) { Vec::store_bytes(q + i + j, Vec::add_i(quantized(i + j, count), offset)); });
}

template <class Values>
inline float quantize_row(const Values& x, int k, int32_t bits, uint8_t* q) {
  const QuantScale s = quant_scale(bits);
  quantize_row_as<kActivationOffset>(x, k, s.inverse, q);
  return s.scale;
}

void quantize_rows(const QuantizeRowsArgs& g) {
  for (int m = 0; m < g.m; ++m) {
    const float* x = g.src + static_cast<size_t>(m) * g.lds;
    uint8_t* q = g.dst + static_cast<size_t>(m) * g.ldd;
    if (g.inv) {
      const Smoothed values = {x, g.inv};
      g.scale[m] = quantize_row(values, g.k, absmax_bits(values, g.k), q);
    } else {
      const Plain values = {x};
      const int32_t bits =
          g.row_max_bits ? Vec::fold_max_i(Vec::load_i(g.row_max_bits + m * kPanelWidth)) : absmax_bits(values, g.k);
      g.scale[m] = quantize_row(values, g.k, bits, q);
    }
  }
}

// Static quantization, counting what is clipped.
class StaticQuantizer {
 public:
  explicit StaticQuantizer(int32_t zero_point) : zero_(Vec::set(static_cast<float>(zero_point))) {}

  // 16 values. Lanes to be written nowhere must hold y = 0 and inv = 0: they are not counted then.
  I operator()(F y, F inv) { return Vec::add_i(in_range(y, inv), Vec::set_i(kActivationOffset)); }

  // 16 kVectors values, y(p) and inv(p) for each 16 of them, to as many bytes.
  template <int kVectors, class Y, class Inv, class V = Vec>
  void store(uint8_t* q, const Y& y, const Inv& inv) {
    static_assert(1 <= kVectors && kVectors <= 4);
    if constexpr (requires { &V::template store_clamped<true, 1>; }) {
      const auto at = [&](int p) { return p < kVectors ? Vec::fma(y(p), inv(p), zero_) : Vec::zero(); };
      const F v0 = at(0), v1 = at(1), v2 = at(2);
      const uint64_t outside = V::template store_clamped<kActivationOffset == 0, kVectors>(q, v0, v1, v2, at(3));
      if constexpr (kCountClipped) count_ += static_cast<uint64_t>(__builtin_popcountll(outside));
    } else if constexpr (kVectors == 4) {
      const I q0 = in_range(y(0), inv(0)), q1 = in_range(y(1), inv(1)), q2 = in_range(y(2), inv(2));
      Vec::store_signed_64<kActivationOffset>(q, q0, q1, q2, in_range(y(3), inv(3)));
    } else {
      for (int p = 0; p < kVectors; ++p) Vec::store_bytes(q + p * kWidth, (*this)(y(p), inv(p)));
    }
  }

  void add_count_to(uint64_t* clipped) const {
    if (kCountClipped && clipped) *clipped += count_ + static_cast<uint64_t>(-int64_t{Vec::fold_add_i(outside_)});
  }

 private:
  // -127..127
  I in_range(F y, F inv) {
    const F v = Vec::fma(y, inv, zero_);
    if constexpr (kCountClipped) {
      // -1 where the magnitude is 127.5 or more, or NaN: a difference of two non-negative integers has the sign.
      outside_ = Vec::add_i(outside_, Vec::shift_right<31>(Vec::sub_i(Vec::set_i(kLargestInside), Vec::abs_bits(v))));
    }
    return Vec::to_int(Vec::min(Vec::max(v, Vec::set(-127.0f)), Vec::set(127.0f)));
  }

  static constexpr int32_t kLargestInside = 0x42feffff;  // the float before 127.5
  F zero_;
  I outside_ = Vec::zero_i();
  uint64_t count_ = 0;
};

// count values to bytes, 16 at a time: writes up to the next multiple of 16, which the stride allows for.
inline void quantize_static_row(const float* y, const float* inv, int count, uint8_t* q, StaticQuantizer& quantizer) {
  StaticQuantizer quantized = quantizer;  // a copy, whose address nobody has: stores of bytes may alias everything else
  int i = 0;
  for (; i + 4 * kWidth <= count; i += 4 * kWidth) {
    quantized.store<4>(
        q + i, [=](int p) { return Vec::load(y + i + p * kWidth); },
        [=](int p) { return Vec::load(inv + i + p * kWidth); });
  }
  for_vectors(count - i,
              [&](int j, int n) { Vec::store_bytes(q + i + j, quantized(load(y + i + j, n), load(inv + i + j, n))); });
  quantizer = quantized;
}

void quantize_static(const QuantizeStaticArgs& g) {
  StaticQuantizer quantizer(g.zero_point);
  for (int m = 0; m < g.m; ++m) {
    quantize_static_row(g.src + static_cast<size_t>(m) * g.lds, g.inv, g.k, g.dst + static_cast<size_t>(m) * g.ldd,
                        quantizer);
  }
  quantizer.add_count_to(g.clipped);
}

// ---- rows ----

inline void layer_norm_row(const LayerNormArgs& g, int m) {
  const float* x = g.x + static_cast<size_t>(m) * g.ldx;
  const float* residual = g.residual ? g.residual + static_cast<size_t>(m) * g.ldr : nullptr;
  float* y = g.y + static_cast<size_t>(m) * g.ldy;
  const float *gamma = g.gamma, *beta = g.beta;  // not by g: the stores may alias it, and it would be read again
  const float n = static_cast<float>(g.n);
  const bool last = m + 1 == g.m;
  const float *next_x = last ? x : x + g.ldx, *next_residual = last || !residual ? residual : residual + g.ldr;

  // The sum of x and residual is kept in y. Missing lanes are +0 throughout.
  const float sum = residual ? sum_lanes(g.n,
                                         [=](int k, int count, F acc) {
                                           __builtin_prefetch(next_x + k, 0, 3);
                                           __builtin_prefetch(next_residual + k, 0, 3);
                                           const F h = Vec::add(load(x + k, count), load(residual + k, count));
                                           store(y + k, h, count);
                                           return Vec::add(acc, h);
                                         })
                             : sum_lanes(g.n, [=](int k, int count, F acc) {
                                 const F h = load(x + k, count);
                                 store(y + k, h, count);
                                 return Vec::add(acc, h);
                               });
  const F mean = Vec::set(sum / n);
  const float squares = sum_lanes(g.n, [=](int k, int count, F acc) {
    F d = Vec::sub(load(y + k, count), mean);
    if (count < kWidth) d = Vec::first(d, count, Vec::zero());
    return Vec::fma(d, d, acc);
  });
  const F inverse = Vec::div(Vec::set(1.0f), Vec::sqrt(Vec::add(Vec::set(squares / n), Vec::set(g.eps))));
  // The result from k on, which is stored too; 0 past count.
  const auto result = [=](int k, int count) {
    const F d = Vec::mul(Vec::sub(load(y + k, count), mean), inverse);
    const F out = Vec::fma(d, load(gamma + k, count), load(beta + k, count));
    store(y + k, out, count);
    return count < kWidth ? Vec::first(out, count, Vec::zero()) : out;
  };
  uint8_t* q = g.q ? g.q + static_cast<size_t>(m) * g.ldq : nullptr;
  if (!q) {
    for_vectors(g.n, result);
  } else if (!g.scale) {
    for_vectors(g.n, result);
    StaticQuantizer quantizer(g.zero_point);
    quantize_static_row(y, g.inv, g.n, q, quantizer);
    quantizer.add_count_to(g.clipped);
  } else if (g.inv) {
    I largest = Vec::zero_i();
    for_vectors(g.n, [&](int k, int count) {
      largest = Vec::max_i(largest, Vec::abs_bits(Vec::mul(result(k, count), load(g.inv + k, count))));
    });
    g.scale[m] = quantize_row(Smoothed{y, g.inv}, g.n, Vec::fold_max_i(largest), q);
  } else {
    I largest = Vec::zero_i();
    for_vectors(g.n, [&](int k, int count) { largest = Vec::max_i(largest, Vec::abs_bits(result(k, count))); });
    g.scale[m] = quantize_row(Plain{y}, g.n, Vec::fold_max_i(largest), q);
  }
}

void layer_norm(const LayerNormArgs& g) {
  for (int m = 0; m < g.m; ++m) layer_norm_row(g, m);
}

void embed(const EmbedArgs& g) {
  const size_t n = static_cast<size_t>(g.n);
  for (int m = 0; m < g.m; ++m) {
    const size_t id = static_cast<size_t>(g.ids[m]);
    const float* type = g.type + (g.type_ids ? static_cast<size_t>(g.type_ids[m]) * n : 0);
    const float* position = g.position + static_cast<size_t>(g.positions[m]) * n;
    float* dst = g.dst + static_cast<size_t>(m) * g.ldd;
    if (g.word_s8) {
      const int8_t* word = g.word_s8 + id * n;
      const F scale = Vec::set(g.word_scale[id]);
      for_vectors(g.n, [=](int k, int count) {
        const F w = Vec::mul(count == kWidth ? Vec::load_s8(word + k) : Vec::load_s8_part(word + k, count), scale);
        store(dst + k, Vec::add(Vec::add(w, load(type + k, count)), load(position + k, count)), count);
      });
    } else {
      const float* word = g.word_f32 + id * n;
      for_vectors(g.n, [=](int k, int count) {
        const F w = Vec::add(load(word + k, count), load(type + k, count));
        store(dst + k, Vec::add(w, load(position + k, count)), count);
      });
    }
  }
}

inline void softmax_row(const float* x, float* y, int n) {
  F largest = Vec::set(minus_inf());
  for_vectors(n, [&](int k, int count) {
    F v = load(x + k, count);
    if (count < kWidth) v = Vec::first(v, count, Vec::set(minus_inf()));
    largest = Vec::max(v, largest);
  });
  const F m = Vec::set(Vec::fold_max(largest));
  const float sum = sum_lanes(n, [=](int k, int count, F acc) {
    F e = exp(Vec::sub(load(x + k, count), m));
    if (count < kWidth) e = Vec::first(e, count, Vec::zero());
    store(y + k, e, count);
    return Vec::add(acc, e);
  });
  const F total = Vec::set(sum);
  for_vectors(n, [=](int k, int count) { store(y + k, Vec::div(load(y + k, count), total), count); });
}

void softmax(const SoftmaxArgs& g) {
  for (int m = 0; m < g.m; ++m) {
    softmax_row(g.x + static_cast<size_t>(m) * g.ldx, g.y + static_cast<size_t>(m) * g.ldy, g.n);
  }
}

}  // namespace
}  // namespace octobert

#endif  // OCTOBERT_KERNELS_FLOAT_OPS_INL_H_
