// Logarithm, exponential and power without libm: the same bits on every machine, because they decide what goes into
// files. Error below 1e-14 of the result (log2: 1e-14 absolute near 1).
#ifndef OCTOBERT_CONVERTER_EXACT_MATH_H_
#define OCTOBERT_CONVERTER_EXACT_MATH_H_

namespace octobert::converter {

double log2_exact(double x);           // x: normal, positive
double exp2_exact(double x);           // x in [-1000, 1000]
double pow_exact(double x, double y);  // 2^(y log2 x); x normal, positive; pow_exact(x, 0) = 1

}  // namespace octobert::converter

#endif  // OCTOBERT_CONVERTER_EXACT_MATH_H_
