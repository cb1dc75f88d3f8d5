// 16 lanes on NEON: four registers, named so that they stay registers. vec_avx512.h says what each function promises.
#ifndef OCTOBERT_KERNELS_VEC_NEON_H_
#define OCTOBERT_KERNELS_VEC_NEON_H_

#include <arm_neon.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

namespace octobert {
namespace {

struct NeonF {
  float32x4_t a, b, c, d;
};
struct NeonI {
  int32x4_t a, b, c, d;
};

struct Vec {
  using F = NeonF;
  using I = NeonI;

  static F load(const float* p) { return {vld1q_f32(p), vld1q_f32(p + 4), vld1q_f32(p + 8), vld1q_f32(p + 12)}; }
  static F load_part(const float* p, int n) {
    float all[16] = {};
    memcpy(all, p, static_cast<size_t>(n) * sizeof(float));
    return load(all);
  }
  static void store(float* p, F x) {
    vst1q_f32(p, x.a);
    vst1q_f32(p + 4, x.b);
    vst1q_f32(p + 8, x.c);
    vst1q_f32(p + 12, x.d);
  }
  static void store_part(float* p, F x, int n) {
    float all[16];
    store(all, x);
    memcpy(p, all, static_cast<size_t>(n) * sizeof(float));
  }
  // Through bytes: the address need not be a multiple of 4.
  static I load_i(const void* p) {
    const auto* bytes = static_cast<const int8_t*>(p);
    return {vreinterpretq_s32_s8(vld1q_s8(bytes)), vreinterpretq_s32_s8(vld1q_s8(bytes + 16)),
            vreinterpretq_s32_s8(vld1q_s8(bytes + 32)), vreinterpretq_s32_s8(vld1q_s8(bytes + 48))};
  }
  static void store_i(void* p, I x) {
    auto* bytes = static_cast<int8_t*>(p);
    vst1q_s8(bytes, vreinterpretq_s8_s32(x.a));
    vst1q_s8(bytes + 16, vreinterpretq_s8_s32(x.b));
    vst1q_s8(bytes + 32, vreinterpretq_s8_s32(x.c));
    vst1q_s8(bytes + 48, vreinterpretq_s8_s32(x.d));
  }
  static F load_s8(const int8_t* p) {
    const int8x16_t x = vld1q_s8(p);
    const int16x8_t low = vmovl_s8(vget_low_s8(x));
    const int16x8_t high = vmovl_high_s8(x);
    return to_float(
        {vmovl_s16(vget_low_s16(low)), vmovl_high_s16(low), vmovl_s16(vget_low_s16(high)), vmovl_high_s16(high)});
  }
  static F load_s8_part(const int8_t* p, int n) {
    int8_t all[16] = {};
    memcpy(all, p, static_cast<size_t>(n));
    return load_s8(all);
  }
  static I load_bytes(const uint8_t* p) {
    const uint8x16_t x = vld1q_u8(p);
    const uint16x8_t low = vmovl_u8(vget_low_u8(x));
    const uint16x8_t high = vmovl_high_u8(x);
    return {vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(low))), vreinterpretq_s32_u32(vmovl_high_u16(low)),
            vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(high))), vreinterpretq_s32_u32(vmovl_high_u16(high))};
  }
  using Table = uint8x16x4_t;
  static Table table(const float* p) {
    const auto four = [](const float* from) { return vreinterpretq_u8_f32(vld1q_f32(from)); };
    return {four(p), four(p + 4), four(p + 8), four(p + 12)};
  }
  static F lookup(const Table& t, I x) { return {lookup4(t, x.a), lookup4(t, x.b), lookup4(t, x.c), lookup4(t, x.d)}; }
  static uint8x16_t low_bytes(I x) {
    const int16x8_t low = vuzp1q_s16(vreinterpretq_s16_s32(x.a), vreinterpretq_s16_s32(x.b));
    const int16x8_t high = vuzp1q_s16(vreinterpretq_s16_s32(x.c), vreinterpretq_s16_s32(x.d));
    return vuzp1q_u8(vreinterpretq_u8_s16(low), vreinterpretq_u8_s16(high));
  }
  static void store_bytes(uint8_t* p, I x) { vst1q_u8(p, low_bytes(x)); }
  template <int32_t kAdd>
  static void store_packed(uint8_t* p, uint8x16_t bytes) {
    vst1q_u8(p, kAdd == 0 ? bytes : vaddq_u8(bytes, vdupq_n_u8(static_cast<uint8_t>(kAdd))));
  }
  template <int32_t kAdd>
  static void store_signed_64(uint8_t* p, I a, I b, I c, I d) {
    store_packed<kAdd>(p, low_bytes(a));
    store_packed<kAdd>(p + 16, low_bytes(b));
    store_packed<kAdd>(p + 32, low_bytes(c));
    store_packed<kAdd>(p + 48, low_bytes(d));
  }
  template <int32_t kAdd>
  static I store_levels_64(uint8_t* p, I sum, I a, I b, I c, I d) {
    const auto store_and_add = [&](int i, int32x4_t part, I levels) {
      const uint8x16_t bytes = low_bytes(levels);
      store_packed<kAdd>(p + i, bytes);
      return vreinterpretq_s32_u32(vpadalq_u16(vreinterpretq_u32_s32(part), vpaddlq_u8(bytes)));
    };
    return {store_and_add(0, sum.a, a), store_and_add(16, sum.b, b), store_and_add(32, sum.c, c),
            store_and_add(48, sum.d, d)};
  }
  static I join_bytes(I a, I b, I c, I d) {
    const auto quad = [](int32x4_t x, int32x4_t y, int32x4_t z, int32x4_t w) {
      return vsliq_n_s32(vsliq_n_s32(vsliq_n_s32(x, y, 8), z, 16), w, 24);
    };
    return {quad(a.a, b.a, c.a, d.a), quad(a.b, b.b, c.b, d.b), quad(a.c, b.c, c.c, d.c), quad(a.d, b.d, c.d, d.d)};
  }
  static I load_quads(const char* p, size_t apart) {
    const auto quad = [=](size_t i) {
      return vreinterpretq_s32_s8(vld1q_s8(reinterpret_cast<const int8_t*>(p + i * apart)));
    };
    return {quad(0), quad(1), quad(2), quad(3)};
  }
  static void transpose_quads(I& a, I& b, I& c, I& d) {
    transpose_quads(a.a, b.a, c.a, d.a);
    transpose_quads(a.b, b.b, c.b, d.b);
    transpose_quads(a.c, b.c, c.c, d.c);
    transpose_quads(a.d, b.d, c.d, d.d);
  }
  static void transpose_quads(int32x4_t& a, int32x4_t& b, int32x4_t& c, int32x4_t& d) {
    const auto wide = [](int32x4_t x) { return vreinterpretq_s64_s32(x); };
    const int64x2_t ab = wide(vzip1q_s32(a, b)), cd = wide(vzip1q_s32(c, d));
    const int64x2_t ab_high = wide(vzip2q_s32(a, b)), cd_high = wide(vzip2q_s32(c, d));
    a = vreinterpretq_s32_s64(vzip1q_s64(ab, cd));
    b = vreinterpretq_s32_s64(vzip2q_s64(ab, cd));
    c = vreinterpretq_s32_s64(vzip1q_s64(ab_high, cd_high));
    d = vreinterpretq_s32_s64(vzip2q_s64(ab_high, cd_high));
  }

  static F zero() { return set(0.0f); }
  static F set(float x) {
    const float32x4_t q = vdupq_n_f32(x);
    return {q, q, q, q};
  }
  static F add(F x, F y) {
    return {vaddq_f32(x.a, y.a), vaddq_f32(x.b, y.b), vaddq_f32(x.c, y.c), vaddq_f32(x.d, y.d)};
  }
  static F sub(F x, F y) {
    return {vsubq_f32(x.a, y.a), vsubq_f32(x.b, y.b), vsubq_f32(x.c, y.c), vsubq_f32(x.d, y.d)};
  }
  static F sub_beside_adds(F x, F y) { return sub(x, y); }  // one kind of unit for all
  static F mul(F x, F y) {
    return {vmulq_f32(x.a, y.a), vmulq_f32(x.b, y.b), vmulq_f32(x.c, y.c), vmulq_f32(x.d, y.d)};
  }
  static F div(F x, F y) {
    return {vdivq_f32(x.a, y.a), vdivq_f32(x.b, y.b), vdivq_f32(x.c, y.c), vdivq_f32(x.d, y.d)};
  }
  static F fma(F x, F y, F z) {
    return {vfmaq_f32(z.a, x.a, y.a), vfmaq_f32(z.b, x.b, y.b), vfmaq_f32(z.c, x.c, y.c), vfmaq_f32(z.d, x.d, y.d)};
  }
  static F fnma(F x, F y, F z) {
    return {vfmsq_f32(z.a, x.a, y.a), vfmsq_f32(z.b, x.b, y.b), vfmsq_f32(z.c, x.c, y.c), vfmsq_f32(z.d, x.d, y.d)};
  }
  // Not fmax and fmin, which treat NaN and -0 in another way.
  static F max(F x, F y) { return {max4(x.a, y.a), max4(x.b, y.b), max4(x.c, y.c), max4(x.d, y.d)}; }
  static F min(F x, F y) { return {min4(x.a, y.a), min4(x.b, y.b), min4(x.c, y.c), min4(x.d, y.d)}; }
  static F min_abs(F x, F limit) { return min(as_float(abs_bits(x)), limit); }
  static F sqrt(F x) { return {vsqrtq_f32(x.a), vsqrtq_f32(x.b), vsqrtq_f32(x.c), vsqrtq_f32(x.d)}; }
  static F rint(F x) { return {vrndnq_f32(x.a), vrndnq_f32(x.b), vrndnq_f32(x.c), vrndnq_f32(x.d)}; }
  struct Split {
    F whole, rest;
  };
  static Split split(F x) {
    const F whole = rint(x);
    return {whole, sub(x, whole)};
  }
  static F scale(F p, F n) { return as_float(add_i(as_int(p), shift_left<23>(to_int(n)))); }
  static F first(F x, int n, F other) {
    const int32x4_t lanes = {0, 1, 2, 3};
    const auto pick = [&](float32x4_t from, float32x4_t otherwise, int begin) {
      return vbslq_f32(vcltq_s32(lanes, vdupq_n_s32(n - begin)), from, otherwise);
    };
    return {pick(x.a, other.a, 0), pick(x.b, other.b, 4), pick(x.c, other.c, 8), pick(x.d, other.d, 12)};
  }

  static I zero_i() { return set_i(0); }
  static I set_i(int32_t x) {
    const int32x4_t q = vdupq_n_s32(x);
    return {q, q, q, q};
  }
  static I add_i(I x, I y) {
    return {vaddq_s32(x.a, y.a), vaddq_s32(x.b, y.b), vaddq_s32(x.c, y.c), vaddq_s32(x.d, y.d)};
  }
  static I sub_i(I x, I y) {
    return {vsubq_s32(x.a, y.a), vsubq_s32(x.b, y.b), vsubq_s32(x.c, y.c), vsubq_s32(x.d, y.d)};
  }
  static I and_i(I x, I y) {
    return {vandq_s32(x.a, y.a), vandq_s32(x.b, y.b), vandq_s32(x.c, y.c), vandq_s32(x.d, y.d)};
  }
  static I or_i(I x, I y) {
    return {vorrq_s32(x.a, y.a), vorrq_s32(x.b, y.b), vorrq_s32(x.c, y.c), vorrq_s32(x.d, y.d)};
  }
  static I max_i(I x, I y) {
    return {vmaxq_s32(x.a, y.a), vmaxq_s32(x.b, y.b), vmaxq_s32(x.c, y.c), vmaxq_s32(x.d, y.d)};
  }
  template <int kBits>
  static I shift_left(I x) {
    return {vshlq_n_s32(x.a, kBits), vshlq_n_s32(x.b, kBits), vshlq_n_s32(x.c, kBits), vshlq_n_s32(x.d, kBits)};
  }
  template <int kBits>
  static I shift_right(I x) {  // keeps the sign
    return {vshrq_n_s32(x.a, kBits), vshrq_n_s32(x.b, kBits), vshrq_n_s32(x.c, kBits), vshrq_n_s32(x.d, kBits)};
  }
  static I less(F x, F y) {
    return {vreinterpretq_s32_u32(vcltq_f32(x.a, y.a)), vreinterpretq_s32_u32(vcltq_f32(x.b, y.b)),
            vreinterpretq_s32_u32(vcltq_f32(x.c, y.c)), vreinterpretq_s32_u32(vcltq_f32(x.d, y.d))};
  }

  static F to_float(I x) { return {vcvtq_f32_s32(x.a), vcvtq_f32_s32(x.b), vcvtq_f32_s32(x.c), vcvtq_f32_s32(x.d)}; }
  static I to_int(F x) { return {vcvtnq_s32_f32(x.a), vcvtnq_s32_f32(x.b), vcvtnq_s32_f32(x.c), vcvtnq_s32_f32(x.d)}; }
  static I as_int(F x) {
    return {vreinterpretq_s32_f32(x.a), vreinterpretq_s32_f32(x.b), vreinterpretq_s32_f32(x.c),
            vreinterpretq_s32_f32(x.d)};
  }
  static F as_float(I x) {
    return {vreinterpretq_f32_s32(x.a), vreinterpretq_f32_s32(x.b), vreinterpretq_f32_s32(x.c),
            vreinterpretq_f32_s32(x.d)};
  }
  static I abs_bits(F x) { return and_i(as_int(x), set_i(0x7fffffff)); }

  static float fold_add(F x) {
    const float32x4_t x4 = vaddq_f32(vaddq_f32(x.a, x.c), vaddq_f32(x.b, x.d));
    return vpadds_f32(vadd_f32(vget_low_f32(x4), vget_high_f32(x4)));
  }
  static int32_t fold_add_i(I x) { return vaddvq_s32(vaddq_s32(vaddq_s32(x.a, x.b), vaddq_s32(x.c, x.d))); }
  static float fold_max(F x) { return vmaxvq_f32(max4(max4(x.a, x.b), max4(x.c, x.d))); }
  static int32_t fold_max_i(I x) { return vmaxvq_s32(vmaxq_s32(vmaxq_s32(x.a, x.b), vmaxq_s32(x.c, x.d))); }

 private:
  // The four bytes of a float are at 4 index .. 4 index + 3.
  static float32x4_t lookup4(const Table& t, int32x4_t index) {
    const int32x4_t bytes = vmlaq_n_s32(vdupq_n_s32(0x03020100), index, 0x04040404);
    return vreinterpretq_f32_u8(vqtbl4q_u8(t, vreinterpretq_u8_s32(bytes)));
  }
  static float32x4_t max4(float32x4_t x, float32x4_t y) { return vbslq_f32(vcgtq_f32(x, y), x, y); }
  static float32x4_t min4(float32x4_t x, float32x4_t y) { return vbslq_f32(vcltq_f32(x, y), x, y); }
};

}  // namespace
}  // namespace octobert

#endif  // OCTOBERT_KERNELS_VEC_NEON_H_
