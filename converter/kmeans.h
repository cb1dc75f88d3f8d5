// Weight sharing: a matrix on 16 values.
#ifndef OCTOBERT_CONVERTER_KMEANS_H_
#define OCTOBERT_CONVERTER_KMEANS_H_

#include <array>
#include <span>

namespace octobert::converter {

using Codebook = std::array<float, 16>;  // ascending

// k-means of one-dimensional values in [-1, 1] (weight sharing: Han et al. 2016, arXiv:1510.00149, section 3), the best
// there is and not Lloyd's local one: dynamic programming over a histogram of 8192 bins (Wang and Song 2011,
// "Ckmeans.1d.dp", equation 1). Sums have one order: deterministic.
// weight: [values], how much each one's squared error counts.
Codebook kmeans16(std::span<const float> values, std::span<const float> weight);

// Index of the entry nearest to x.
int nearest_entry(const Codebook& codebook, double x);

}  // namespace octobert::converter

#endif  // OCTOBERT_CONVERTER_KMEANS_H_
