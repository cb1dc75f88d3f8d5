// Constants of the float arithmetic, shared by every instruction set. The operations and
// their order are specified in docs/NUMERICS.md; changing anything here changes bits and
// needs a new kNumericsVersion.
#ifndef OCTOBERT_KERNELS_NUMERICS_H_
#define OCTOBERT_KERNELS_NUMERICS_H_

#include <stdint.h>

namespace octobert::numerics {

// Version of the arithmetic; stored in packed files, compared when they are opened.
constexpr uint32_t kNumericsVersion = 2;

// Reductions run in 32 lanes (lane = k mod 32), folded 32 -> 16 -> 8 -> 4 -> 2 -> 1, the upper
// half added to the lower. Measured for LayerNorm rows of 768 on AVX-512: 16 lanes 160 ns (one
// accumulator, bound by latency), 32 lanes 125 ns, 64 lanes 124 ns.
constexpr int kLanes = 32;

// A row whose largest magnitude is below this is quantized to zeros: 127 / absmax would
// overflow for subnormal rows.
constexpr float kTinyAbsMax = 1e-30f;

// gelu(x) = x Phi(x) = max(0, x) - u Phi(-u), u = |x|. The eighth root of Phi(-u) is close to a straight line, so that
// P(u)^8, P of degree 5, takes 9 multiplications where a polynomial for (Phi(x) - 1/2) / x as exact takes 16. The
// minimax fit of u P(u)^8 (scripts/experiments/fit_gelu.py) is within 1.41e-6; with float's rounding gelu is
// within 1.5e-6 and the last place of the result. At the clamp P is 0.05: u P^8 = 3e-10 there, and no power of P on the
// way is subnormal.
constexpr float kGeluClamp = 5.75f;
constexpr float kGeluPoly[6] = {0x1.d5817ap-1f, -0x1.76bf3cp-4f, -0x1.03dd28p-5f,
                                -0x1.227dp-10f, 0x1.fc764p-10f,  -0x1.906f5cp-13f};

// exp(x), |error| <= 2 ulp on [-87, 88]: n = rint(x * log2 e), r = x - n ln 2 in two parts
// (Cody and Waite), Cephes' expf polynomial, times 2^n made from exponent bits.
constexpr float kExpMin = -87.0f, kExpMax = 88.0f;
constexpr float kLog2E = 0x1.715476p+0f;
constexpr float kLn2Hi = 0x1.63p-1f;        // 0.693359375, exact with 9 bits
constexpr float kLn2Lo = -0x1.bd0106p-13f;  // ln 2 - kLn2Hi = -2.12194440e-4
constexpr float kExpPoly[6] = {5.0000001201e-1f, 1.6666665459e-1f, 4.1665795894e-2f,
                               8.3334519073e-3f, 1.3981999507e-3f, 1.9875691500e-4f};

// 254 * 2^f on f in [-1/2, 1/2], exact at 0, |error| <= 0.037 levels: for probabilities on 255 levels.
constexpr float kExp2Q8Min = -16.0f;  // 254 * 2^-16 rounds to 0
constexpr float kExp2Q8Poly[4] = {254.0f, 176.09384155273438f, 61.5215950012207f, 13.972373962402344f};

// tanh form of GELU (Hendrycks and Gimpel 2016): x / (1 + exp(-2 u)), u = sqrt(2/pi) (x + 0.044715 x^3)
constexpr float kGeluTanhScale = -0x1.988454p+0f;  // -2 * sqrt(2 / pi) = -1.5957691216
constexpr float kGeluTanhCubic = 0.044715f;

}  // namespace octobert::numerics

#endif  // OCTOBERT_KERNELS_NUMERICS_H_
