// Weight sharing: a matrix on 16 values.
#ifndef OCTOBERT_CONVERTER_KMEANS_H_
#define OCTOBERT_CONVERTER_KMEANS_H_

#include <array>
#include <span>

namespace octobert::converter {

using Codebook = std::array<float, 16>;  // ascending

// Lloyd's k-means of one-dimensional values in [-1, 1] (Han et al. 2016, arXiv:1510.00149, section 3; "linear"
// initialization: equal steps from the least to the largest value). On a histogram of 8192 bins, whose counts are
// integers and whose sums have one order: deterministic. The first least entry of equals is taken.
Codebook kmeans16(std::span<const float> values);

// Index of the entry nearest to x.
int nearest_entry(const Codebook& codebook, double x);

}  // namespace octobert::converter

#endif  // OCTOBERT_CONVERTER_KMEANS_H_
