#include "converter/exact_math.h"

#include <bit>
#include <cstdint>

namespace octobert::converter {
namespace {

constexpr double kLn2 = 0.6931471805599453;
constexpr int kExponentBias = 1023, kFractionBits = 52;

double power_of_two(int exponent) {
  return std::bit_cast<double>(static_cast<uint64_t>(exponent + kExponentBias) << kFractionBits);
}

}  // namespace

// Exponent, and 2 atanh((m - 1) / (m + 1)) / ln 2 of the fraction m in [sqrt(1/2), sqrt(2)), where the argument is at
// most 0.172 and 0.172^(2 * 12 + 1) is below 1e-19.
double log2_exact(double x) {
  constexpr double kSqrt2 = 1.4142135623730951;
  constexpr int kTerms = 12;
  const auto bits = std::bit_cast<uint64_t>(x);
  int exponent = static_cast<int>(bits >> kFractionBits) - kExponentBias;
  double m =
      std::bit_cast<double>((bits & ((uint64_t{1} << kFractionBits) - 1)) | (uint64_t{kExponentBias} << kFractionBits));
  if (m >= kSqrt2) {
    m *= 0.5;
    ++exponent;
  }
  const double t = (m - 1) / (m + 1), t2 = t * t;
  double series = 0;
  for (int k = kTerms; k >= 0; --k) series = series * t2 + 1.0 / (2 * k + 1);
  return exponent + 2 * t * series / kLn2;
}

// 2^n times the exponential series of (x - n) ln 2, |.| <= 0.347: 0.347^18 / 18! is below 1e-24.
double exp2_exact(double x) {
  constexpr int kTerms = 17;
  const int n = static_cast<int>(x < 0 ? x - 0.5 : x + 0.5);
  const double t = (x - n) * kLn2;
  double series = 1;
  for (int k = kTerms; k >= 1; --k) series = 1 + series * t / k;
  return series * power_of_two(n);
}

double pow_exact(double x, double y) { return exp2_exact(y * log2_exact(x)); }

}  // namespace octobert::converter
