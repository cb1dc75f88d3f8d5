// Row-major weights to the packed layouts of kernels/layout.h. Offline work: plain loops, any machine, same bytes.
#ifndef OCTOBERT_KERNELS_PACK_H_
#define OCTOBERT_KERNELS_PACK_H_

#include <stddef.h>
#include <stdint.h>

namespace octobert {

// w[N][K] row-major to kN16K4; dst has packed_s8_bytes(n, k) bytes. Outputs past N and inputs past K become zero.
void pack_s8(const int8_t* w, size_t n, size_t k, int8_t* dst);

// w[N][K] row-major to kN16K1; dst has packed_f32_floats(n, k) floats. Outputs past N become zero.
void pack_f32(const float* w, size_t n, size_t k, float* dst);

// The low 4 bits of w[N][K] row-major to kN16K8; dst has packed_4bit_bytes(n, k) bytes. Outputs past N and inputs past
// K become zero.
void pack_4bit(const int8_t* w, size_t n, size_t k, uint8_t* dst);

// sums[n] = sum over k of w[n][k]; dst has padded_outputs(n) entries, zero past N. k <= kMaxReductionDepth.
void row_sums(const int8_t* w, size_t n, size_t k, int32_t* sums);

}  // namespace octobert

#endif  // OCTOBERT_KERNELS_PACK_H_
