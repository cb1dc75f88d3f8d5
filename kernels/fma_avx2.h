// Float products on AVX2, shared by avx2.cpp and avx_vnni.cpp: tiles of 6 rows by 1 panel, 12 accumulators, 2
// registers of weights and 1 of activations, of 16.
#ifndef OCTOBERT_KERNELS_FMA_AVX2_H_
#define OCTOBERT_KERNELS_FMA_AVX2_H_

#include "kernels/tile-inl.h"
#include "kernels/vec_avx2.h"

namespace octobert {
namespace {

struct FmaF32 {
  using Acc = Vec::F;
  using A = __m256;
  using B = Vec::F;
  static constexpr int kRows = 6;
  static constexpr int kPanels = 1;
  static A load_a(const char* p) { return _mm256_broadcast_ss(reinterpret_cast<const float*>(p)); }
  static B load_b(const char* p) { return Vec::load(reinterpret_cast<const float*>(p)); }
  static Acc mac(Acc acc, A a, B b) {
    asm("vfmadd231ps %2, %1, %0" : "+x"(acc.low) : "x"(a), "x"(b.low));
    asm("vfmadd231ps %2, %1, %0" : "+x"(acc.high) : "x"(a), "x"(b.high));
    return acc;
  }
};

}  // namespace
}  // namespace octobert

#endif  // OCTOBERT_KERNELS_FMA_AVX2_H_
