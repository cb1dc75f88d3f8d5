// 16 lanes on AVX2: two registers, lanes 0-7 and 8-15. vec_avx512.h says what each function promises.
#ifndef OCTOBERT_KERNELS_VEC_AVX2_H_
#define OCTOBERT_KERNELS_VEC_AVX2_H_

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

namespace octobert {
namespace {

struct Vec {
  struct F {
    __m256 low, high;
  };
  struct I {
    __m256i low, high;
  };

  // All ones in lanes < n, as two masks.
  static I mask(int n) {
    const __m256i count = _mm256_set1_epi32(n);
    return {_mm256_cmpgt_epi32(count, _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7)),
            _mm256_cmpgt_epi32(count, _mm256_setr_epi32(8, 9, 10, 11, 12, 13, 14, 15))};
  }

  static F load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
  static F load_part(const float* p, int n) {
    const I m = mask(n);
    return {_mm256_maskload_ps(p, m.low), _mm256_maskload_ps(p + 8, m.high)};
  }
  static void store(float* p, F x) {
    _mm256_storeu_ps(p, x.low);
    _mm256_storeu_ps(p + 8, x.high);
  }
  static void store_part(float* p, F x, int n) {
    const I m = mask(n);
    _mm256_maskstore_ps(p, m.low, x.low);
    _mm256_maskstore_ps(p + 8, m.high, x.high);
  }
  static I load_i(const void* p) {
    const __m256i* v = static_cast<const __m256i*>(p);
    return {_mm256_loadu_si256(v), _mm256_loadu_si256(v + 1)};
  }
  static void store_i(void* p, I x) {
    __m256i* v = static_cast<__m256i*>(p);
    _mm256_storeu_si256(v, x.low);
    _mm256_storeu_si256(v + 1, x.high);
  }
  static F load_s8(const int8_t* p) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    return to_float({_mm256_cvtepi8_epi32(bytes), _mm256_cvtepi8_epi32(_mm_unpackhi_epi64(bytes, bytes))});
  }
  static F load_s8_part(const int8_t* p, int n) {
    int8_t bytes[16] = {};
    memcpy(bytes, p, static_cast<size_t>(n));
    return load_s8(bytes);
  }
  static I load_bytes(const uint8_t* p) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    return {_mm256_cvtepu8_epi32(bytes), _mm256_cvtepu8_epi32(_mm_unpackhi_epi64(bytes, bytes))};
  }
  using Table = F;
  static Table table(const float* p) { return load(p); }
  static F lookup(Table t, I index) { return {lookup_8(t, index.low), lookup_8(t, index.high)}; }
  static void store_bytes(uint8_t* p, I x) {
    const I byte = and_i(x, set_i(255));
    const __m256i words = _mm256_permute4x64_epi64(_mm256_packus_epi32(byte.low, byte.high), 0xd8);  // 0 2 1 3
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p),
                     _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1)));
  }
  template <int32_t kAdd>
  static void store_signed_64(uint8_t* p, I a, I b, I c, I d) {
    store_packed<kAdd>(p, packed_signed(a.low, a.high, b.low, b.high));
    store_packed<kAdd>(p + 32, packed_signed(c.low, c.high, d.low, d.high));
  }
  template <int32_t kAdd>
  static I store_levels_64(uint8_t* p, I sum, I a, I b, I c, I d) {
    const auto packed = [](I x, I y) {
      return _mm256_packus_epi16(_mm256_packus_epi32(x.low, x.high), _mm256_packus_epi32(y.low, y.high));
    };
    const __m256i ab = packed(a, b), cd = packed(c, d), zero = _mm256_setzero_si256();
    store_packed<kAdd>(p, ab);
    store_packed<kAdd>(p + 32, cd);
    return add_i(sum, {_mm256_sad_epu8(ab, zero), _mm256_sad_epu8(cd, zero)});
  }
  // What packing makes of four registers: 4 of x, 4 of y, 4 of z, 4 of w, the next 4 of x, ...
  static __m256i packed_signed(__m256i x, __m256i y, __m256i z, __m256i w) {
    return _mm256_packs_epi16(_mm256_packs_epi32(x, y), _mm256_packs_epi32(z, w));
  }
  template <int32_t kAdd>
  static void store_packed(uint8_t* p, __m256i packed) {
    if constexpr (kAdd != 0) packed = _mm256_add_epi8(packed, _mm256_set1_epi8(static_cast<char>(kAdd)));
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm256_permutevar8x32_epi32(packed, order));
  }
  static I join_bytes(I a, I b, I c, I d) {
    const auto half = [](__m256i x, __m256i y, __m256i z, __m256i w) {
      const __m128i order = _mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
      return _mm256_shuffle_epi8(packed_signed(x, y, z, w), _mm256_broadcastsi128_si256(order));
    };
    return {half(a.low, b.low, c.low, d.low), half(a.high, b.high, c.high, d.high)};
  }
  static I load_quads(const char* p, size_t apart) {
    const auto two = [=](const char* from) {
      return _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from))),
                                     _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + apart)), 1);
    };
    return {two(p), two(p + 2 * apart)};
  }
  static void transpose_quads(I& a, I& b, I& c, I& d) {
    transpose_quads(a.low, b.low, c.low, d.low);
    transpose_quads(a.high, b.high, c.high, d.high);
  }
  static void transpose_quads(__m256i& a, __m256i& b, __m256i& c, __m256i& d) {
    const __m256i ab = _mm256_unpacklo_epi32(a, b), cd = _mm256_unpacklo_epi32(c, d);
    const __m256i ab_high = _mm256_unpackhi_epi32(a, b), cd_high = _mm256_unpackhi_epi32(c, d);
    a = _mm256_unpacklo_epi64(ab, cd);
    b = _mm256_unpackhi_epi64(ab, cd);
    c = _mm256_unpacklo_epi64(ab_high, cd_high);
    d = _mm256_unpackhi_epi64(ab_high, cd_high);
  }

  static F zero() { return set(0.0f); }
  static F set(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
  static F add(F a, F b) { return {_mm256_add_ps(a.low, b.low), _mm256_add_ps(a.high, b.high)}; }
  static F sub(F a, F b) { return {_mm256_sub_ps(a.low, b.low), _mm256_sub_ps(a.high, b.high)}; }
  static F sub_beside_adds(F a, F b) { return sub(a, b); }  // Golden Cove adds 256 bits with units of their own
  static F mul(F a, F b) { return {_mm256_mul_ps(a.low, b.low), _mm256_mul_ps(a.high, b.high)}; }
  static F div(F a, F b) { return {_mm256_div_ps(a.low, b.low), _mm256_div_ps(a.high, b.high)}; }
  static F fma(F a, F b, F c) {
    return {_mm256_fmadd_ps(a.low, b.low, c.low), _mm256_fmadd_ps(a.high, b.high, c.high)};
  }
  static F fnma(F a, F b, F c) {
    return {_mm256_fnmadd_ps(a.low, b.low, c.low), _mm256_fnmadd_ps(a.high, b.high, c.high)};
  }
  static F max(F a, F b) { return {_mm256_max_ps(a.low, b.low), _mm256_max_ps(a.high, b.high)}; }
  static F min(F a, F b) { return {_mm256_min_ps(a.low, b.low), _mm256_min_ps(a.high, b.high)}; }
  static F min_abs(F x, F limit) { return min(as_float(abs_bits(x)), limit); }
  static F sqrt(F x) { return {_mm256_sqrt_ps(x.low), _mm256_sqrt_ps(x.high)}; }
  static F rint(F x) {
    constexpr int kMode = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
    return {_mm256_round_ps(x.low, kMode), _mm256_round_ps(x.high, kMode)};
  }
  struct Split {
    F whole, rest;
  };
  static Split split(F x) {
    const F whole = rint(x);
    return {whole, sub(x, whole)};
  }
  static F scale(F p, F n) { return as_float(add_i(as_int(p), shift_left<23>(to_int(n)))); }
  static F first(F x, int n, F other) {
    const I m = mask(n);
    return {_mm256_blendv_ps(other.low, x.low, _mm256_castsi256_ps(m.low)),
            _mm256_blendv_ps(other.high, x.high, _mm256_castsi256_ps(m.high))};
  }

  static I zero_i() { return set_i(0); }
  static I set_i(int32_t x) { return {_mm256_set1_epi32(x), _mm256_set1_epi32(x)}; }
  static I add_i(I a, I b) { return {_mm256_add_epi32(a.low, b.low), _mm256_add_epi32(a.high, b.high)}; }
  static I sub_i(I a, I b) { return {_mm256_sub_epi32(a.low, b.low), _mm256_sub_epi32(a.high, b.high)}; }
  static I and_i(I a, I b) { return {_mm256_and_si256(a.low, b.low), _mm256_and_si256(a.high, b.high)}; }
  static I or_i(I a, I b) { return {_mm256_or_si256(a.low, b.low), _mm256_or_si256(a.high, b.high)}; }
  static I max_i(I a, I b) { return {_mm256_max_epi32(a.low, b.low), _mm256_max_epi32(a.high, b.high)}; }
  template <int kBits>
  static I shift_left(I x) {
    return {_mm256_slli_epi32(x.low, kBits), _mm256_slli_epi32(x.high, kBits)};
  }
  template <int kBits>
  static I shift_right(I x) {  // keeps the sign
    return {_mm256_srai_epi32(x.low, kBits), _mm256_srai_epi32(x.high, kBits)};
  }
  static I less(F a, F b) {
    return {_mm256_castps_si256(_mm256_cmp_ps(a.low, b.low, _CMP_LT_OQ)),
            _mm256_castps_si256(_mm256_cmp_ps(a.high, b.high, _CMP_LT_OQ))};
  }

  static F to_float(I x) { return {_mm256_cvtepi32_ps(x.low), _mm256_cvtepi32_ps(x.high)}; }
  static I to_int(F x) { return {_mm256_cvtps_epi32(x.low), _mm256_cvtps_epi32(x.high)}; }
  static I as_int(F x) { return {_mm256_castps_si256(x.low), _mm256_castps_si256(x.high)}; }
  static F as_float(I x) { return {_mm256_castsi256_ps(x.low), _mm256_castsi256_ps(x.high)}; }
  static I abs_bits(F x) { return and_i(as_int(x), set_i(0x7fffffff)); }

  static float fold_add(F x) {
    const __m256 x8 = _mm256_add_ps(x.low, x.high);
    const __m128 x4 = _mm_add_ps(_mm256_castps256_ps128(x8), _mm256_extractf128_ps(x8, 1));
    const __m128 x2 = _mm_add_ps(x4, _mm_movehl_ps(x4, x4));
    return _mm_cvtss_f32(_mm_add_ss(x2, _mm_movehdup_ps(x2)));
  }
  static int32_t fold_add_i(I x) {
    const __m256i x8 = _mm256_add_epi32(x.low, x.high);
    const __m128i x4 = _mm_add_epi32(_mm256_castsi256_si128(x8), _mm256_extracti128_si256(x8, 1));
    const __m128i x2 = _mm_add_epi32(x4, _mm_unpackhi_epi64(x4, x4));
    return _mm_cvtsi128_si32(_mm_add_epi32(x2, _mm_shuffle_epi32(x2, 1)));
  }
  static float fold_max(F x) {
    const __m256 x8 = _mm256_max_ps(x.low, x.high);
    const __m128 x4 = _mm_max_ps(_mm256_castps256_ps128(x8), _mm256_extractf128_ps(x8, 1));
    const __m128 x2 = _mm_max_ps(x4, _mm_movehl_ps(x4, x4));
    return _mm_cvtss_f32(_mm_max_ss(x2, _mm_movehdup_ps(x2)));
  }
  static int32_t fold_max_i(I x) {
    const __m256i x8 = _mm256_max_epi32(x.low, x.high);
    const __m128i x4 = _mm_max_epi32(_mm256_castsi256_si128(x8), _mm256_extracti128_si256(x8, 1));
    const __m128i x2 = _mm_max_epi32(x4, _mm_unpackhi_epi64(x4, x4));
    return _mm_cvtsi128_si32(_mm_max_epi32(x2, _mm_shuffle_epi32(x2, 1)));
  }

 private:
  // vpermps takes 3 bits of the index; the fourth chooses the half, as the sign of a mask.
  static __m256 lookup_8(Table t, __m256i index) {
    const __m256 upper = _mm256_castsi256_ps(_mm256_slli_epi32(index, 28));
    return _mm256_blendv_ps(_mm256_permutevar8x32_ps(t.low, index), _mm256_permutevar8x32_ps(t.high, index), upper);
  }
};

}  // namespace
}  // namespace octobert

#endif  // OCTOBERT_KERNELS_VEC_AVX2_H_
