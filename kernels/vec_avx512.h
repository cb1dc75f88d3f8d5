// 16 lanes on AVX-512: one register. The same names, with the same results, are in vec_avx2.h (two registers) and
// vec_neon.h (four); everything in the -inl.h files is written once over them. What each function promises:
//
//   F, I                   16 floats; 16 int32
//   load, store            16 values, any alignment
//   load_part, store_part  the first n, 0 <= n <= 16: nothing past them is touched; missing lanes load as +0
//   load_s8(_part)         16 (n) int8 as floats
//   load_bytes             16 bytes as int32, 0..255
//   store_bytes            the low byte of each int32 lane, 16 bytes
//   store_signed_64        four of them, which hold -127..127, to 64 bytes, kAdd added to each
//   store_levels_64        the same of 0..254; returns sum + the levels before kAdd, whichever lane they are added to
//   join_bytes             lane l: the low bytes of lane l of four, the first one's lowest; anything in lanes where
//                          one is not within -128..127
//   load_quads             4 quads (of 4 words, 16 bytes), `apart` bytes from one to the next
//   transpose_quads        each quad of four, as the rows of 4 x 4 words, to its columns
//   add sub mul div fma    IEEE, one rounding each; fma(a, b, c) = a * b + c, fnma(a, b, c) = c - a * b
//   sub_beside_adds        sub, for where many other operations want the units that add
//   max, min               a > b ? a : b and a < b ? a : b lane by lane, exactly: b where either is NaN or both zero
//   min_abs                the smaller of |x| and limit > 0; of a NaN limit or a NaN
//   rint, to_int           nearest, ties to even; to_int for |x| < 2^31
//   split                  rint(x) and x - rint(x), which is exact, of finite x
//   abs_bits               the bits of |x|, for max_i: a NaN is larger than any number
//   as_int, as_float       bits reinterpreted
//   scale                  p * 2^n for whole n <= 0 with p * 2^n normal
//   less                   all ones where a < b, else 0 (0 for NaN)
//   table, lookup          16 floats; of lane i the float whose index is lane i of an I, 0..15
//   first                  x in lanes < n, other in the rest
//   fold_add               lane l += lane l + w for w = 8, 4, 2, 1, then lane 0
//   fold_add_i             the sum of the lanes
//   fold_max, fold_max_i   the largest lane (no NaN among them)
#ifndef OCTOBERT_KERNELS_VEC_AVX512_H_
#define OCTOBERT_KERNELS_VEC_AVX512_H_

// g++ 12's AVX-512 header uses uninitialised values on purpose and warns about it (GCC bug 105593).
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <immintrin.h>
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif
#include <stddef.h>
#include <stdint.h>

namespace octobert {
namespace {

struct Vec {
  using F = __m512;
  using I = __m512i;

  static __mmask16 mask(int n) { return static_cast<__mmask16>((1u << n) - 1u); }

  static F load(const float* p) { return _mm512_loadu_ps(p); }
  static F load_part(const float* p, int n) { return _mm512_maskz_loadu_ps(mask(n), p); }
  static void store(float* p, F x) { _mm512_storeu_ps(p, x); }
  static void store_part(float* p, F x, int n) { _mm512_mask_storeu_ps(p, mask(n), x); }
  static I load_i(const void* p) { return _mm512_loadu_si512(p); }
  static void store_i(void* p, I x) { _mm512_storeu_si512(p, x); }
  static F load_s8(const int8_t* p) {
    return to_float(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
  }
  static F load_s8_part(const int8_t* p, int n) {
    return to_float(_mm512_cvtepi8_epi32(_mm_maskz_loadu_epi8(mask(n), p)));
  }
  static I load_bytes(const uint8_t* p) {
    return _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  }
  using Table = __m512;
  static Table table(const float* p) { return load(p); }
  static F lookup(Table t, I index) { return _mm512_permutexvar_ps(index, t); }
  static void store_bytes(uint8_t* p, I x) { _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(x)); }
  template <int32_t kAdd>
  static void store_signed_64(uint8_t* p, I a, I b, I c, I d) {
    store_packed<kAdd>(p, packed_signed(a, b, c, d));
  }
  template <int32_t kAdd>
  static I store_levels_64(uint8_t* p, I sum, I a, I b, I c, I d) {
    const I bytes = _mm512_packus_epi16(_mm512_packus_epi32(a, b), _mm512_packus_epi32(c, d));
    store_packed<kAdd>(p, bytes);
    return _mm512_dpbusd_epi32(sum, bytes, _mm512_set1_epi8(1));
  }
  // What packing makes of four: 4 of a, 4 of b, 4 of c, 4 of d, the next 4 of a, ...
  static I packed_signed(I a, I b, I c, I d) {
    return _mm512_packs_epi16(_mm512_packs_epi32(a, b), _mm512_packs_epi32(c, d));
  }
  // All of a, all of b, ...
  static I in_order(I packed) {
    const I order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    return _mm512_permutexvar_epi32(order, packed);
  }
  template <int32_t kAdd>
  static void store_packed(uint8_t* p, I packed) {
    if constexpr (kAdd != 0) packed = _mm512_add_epi8(packed, _mm512_set1_epi8(static_cast<char>(kAdd)));
    store_i(p, in_order(packed));
  }
  static I join_bytes(I a, I b, I c, I d) {
    const __m128i order = _mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    return _mm512_shuffle_epi8(packed_signed(a, b, c, d), _mm512_broadcast_i32x4(order));
  }
  static I load_quads(const char* p, size_t apart) {
    const auto quad = [=](size_t i) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p + i * apart)); };
    I x = _mm512_inserti32x4(_mm512_castsi128_si512(quad(0)), quad(1), 1);
    x = _mm512_inserti32x4(x, quad(2), 2);
    return _mm512_inserti32x4(x, quad(3), 3);
  }
  static void transpose_quads(I& a, I& b, I& c, I& d) {
    const I ab = _mm512_unpacklo_epi32(a, b), cd = _mm512_unpacklo_epi32(c, d);
    const I ab_high = _mm512_unpackhi_epi32(a, b), cd_high = _mm512_unpackhi_epi32(c, d);
    a = _mm512_unpacklo_epi64(ab, cd);
    b = _mm512_unpackhi_epi64(ab, cd);
    c = _mm512_unpacklo_epi64(ab_high, cd_high);
    d = _mm512_unpackhi_epi64(ab_high, cd_high);
  }
  // Optional (float_ops-inl.h, StaticQuantizer): 16 kVectors values of a, b, c, d to as many bytes, rounded, held to
  // -127..127 (a NaN is -127) and with 128 added unless kSigned. Returns a bit for each that was not within that range.
  // Saturation on the way to 16 and 8 bits clamps for nothing, and what is outside shows in the words.
  template <bool kSigned, int kVectors>
  static uint64_t store_clamped(uint8_t* p, F a, F b, F c, F d) {
    // Below 2^15, or the integer would be INT32_MIN, which has the wrong sign; NaN and -inf give that, and it is right.
    const auto rounded = [](F x) { return _mm512_cvtps_epi32(_mm512_min_ps(set(1000.0f), x)); };
    const I low = _mm512_packs_epi32(rounded(a), rounded(b)), high = _mm512_packs_epi32(rounded(c), rounded(d));
    I bytes = _mm512_max_epi8(_mm512_packs_epi16(low, high), _mm512_set1_epi8(-127));
    if constexpr (!kSigned) bytes = _mm512_xor_si512(bytes, _mm512_set1_epi8(-128));
    bytes = in_order(bytes);
    if constexpr (kVectors == 4) store_i(p, bytes);
    if constexpr (kVectors == 2 || kVectors == 3) {
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_castsi512_si256(bytes));
    }
    if constexpr (kVectors == 3) {
      _mm_storeu_si128(reinterpret_cast<__m128i*>(p + 32), _mm512_extracti32x4_epi32(bytes, 2));
    }
    if constexpr (kVectors == 1) _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_castsi512_si128(bytes));
    const auto outside = [](I words) {  // unsigned: |-32768| is 32768
      return _mm512_cmpgt_epu16_mask(_mm512_abs_epi16(words), _mm512_set1_epi16(127));
    };
    return _mm512_kunpackd(outside(high), outside(low));
  }

  static F zero() { return _mm512_setzero_ps(); }
  static F set(float x) { return _mm512_set1_ps(x); }
  static F add(F a, F b) { return _mm512_add_ps(a, b); }
  static F sub(F a, F b) { return _mm512_sub_ps(a, b); }
  // x - y as x - 1 y: Zen 4 adds 512 bits with units that also scale, reduce, convert and compare, and multiplies with
  // others, which exp2_q8 leaves idle. On Intel's cores all are the same units.
  static F sub_beside_adds(F a, F b) { return fnma(b, set(1.0f), a); }
  static F mul(F a, F b) { return _mm512_mul_ps(a, b); }
  static F div(F a, F b) { return _mm512_div_ps(a, b); }
  static F fma(F a, F b, F c) { return _mm512_fmadd_ps(a, b, c); }
  static F fnma(F a, F b, F c) { return _mm512_fnmadd_ps(a, b, c); }
  static F max(F a, F b) { return _mm512_max_ps(a, b); }
  static F min(F a, F b) { return _mm512_min_ps(a, b); }
  static F min_abs(F x, F limit) { return _mm512_range_ps(x, limit, 0b1010); }  // the smaller magnitude, without sign
  static F sqrt(F x) { return _mm512_sqrt_ps(x); }
  static F rint(F x) { return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
  struct Split {
    F whole, rest;
  };
  static Split split(F x) {  // vrndscaleps is two operations on Intel's cores, vreduceps one
    const F rest = _mm512_reduce_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    return {sub_beside_adds(x, rest), rest};
  }
  static F scale(F p, F n) { return _mm512_scalef_ps(p, n); }
  static F first(F x, int n, F other) { return _mm512_mask_mov_ps(other, mask(n), x); }

  static I zero_i() { return _mm512_setzero_si512(); }
  static I set_i(int32_t x) { return _mm512_set1_epi32(x); }
  static I add_i(I a, I b) { return _mm512_add_epi32(a, b); }
  static I sub_i(I a, I b) { return _mm512_sub_epi32(a, b); }
  static I and_i(I a, I b) { return _mm512_and_si512(a, b); }
  static I or_i(I a, I b) { return _mm512_or_si512(a, b); }
  static I max_i(I a, I b) { return _mm512_max_epi32(a, b); }
  template <int kBits>
  static I shift_left(I x) {
    return _mm512_slli_epi32(x, kBits);
  }
  template <int kBits>
  static I shift_right(I x) {  // keeps the sign
    return _mm512_srai_epi32(x, kBits);
  }
  static I less(F a, F b) { return _mm512_movm_epi32(_mm512_cmp_ps_mask(a, b, _CMP_LT_OQ)); }

  static F to_float(I x) { return _mm512_cvtepi32_ps(x); }
  static I to_int(F x) { return _mm512_cvtps_epi32(x); }
  static I as_int(F x) { return _mm512_castps_si512(x); }
  static F as_float(I x) { return _mm512_castsi512_ps(x); }
  static I abs_bits(F x) { return and_i(as_int(x), set_i(0x7fffffff)); }

  static float fold_add(F x) {
    const __m256 x8 = _mm256_add_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps(x, 1));
    const __m128 x4 = _mm_add_ps(_mm256_castps256_ps128(x8), _mm256_extractf128_ps(x8, 1));
    const __m128 x2 = _mm_add_ps(x4, _mm_movehl_ps(x4, x4));
    return _mm_cvtss_f32(_mm_add_ss(x2, _mm_movehdup_ps(x2)));
  }
  static int32_t fold_add_i(I x) {
    const __m256i x8 = _mm256_add_epi32(_mm512_castsi512_si256(x), _mm512_extracti64x4_epi64(x, 1));
    const __m128i x4 = _mm_add_epi32(_mm256_castsi256_si128(x8), _mm256_extracti128_si256(x8, 1));
    const __m128i x2 = _mm_add_epi32(x4, _mm_unpackhi_epi64(x4, x4));
    return _mm_cvtsi128_si32(_mm_add_epi32(x2, _mm_shuffle_epi32(x2, 1)));
  }
  static float fold_max(F x) {
    const __m256 x8 = _mm256_max_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps(x, 1));
    const __m128 x4 = _mm_max_ps(_mm256_castps256_ps128(x8), _mm256_extractf128_ps(x8, 1));
    const __m128 x2 = _mm_max_ps(x4, _mm_movehl_ps(x4, x4));
    return _mm_cvtss_f32(_mm_max_ss(x2, _mm_movehdup_ps(x2)));
  }
  static int32_t fold_max_i(I x) {
    const __m256i x8 = _mm256_max_epi32(_mm512_castsi512_si256(x), _mm512_extracti64x4_epi64(x, 1));
    const __m128i x4 = _mm_max_epi32(_mm256_castsi256_si128(x8), _mm256_extracti128_si256(x8, 1));
    const __m128i x2 = _mm_max_epi32(x4, _mm_unpackhi_epi64(x4, x4));
    return _mm_cvtsi128_si32(_mm_max_epi32(x2, _mm_shuffle_epi32(x2, 1)));
  }
};

}  // namespace
}  // namespace octobert

#endif  // OCTOBERT_KERNELS_VEC_AVX512_H_
