// Moving range from one place to another: the channels' scales of SmoothQuant and of equalization. Functions of
// numbers alone; converter/recipe.h says where they go.
#ifndef OCTOBERT_CONVERTER_SMOOTH_H_
#define OCTOBERT_CONVERTER_SMOOTH_H_

#include <cstddef>
#include <span>
#include <vector>

namespace octobert::converter {

// The largest magnitude in each column of w [rows][columns].
std::vector<float> column_absmax(std::span<const float> w, size_t columns);

// Xiao et al. 2022 (arXiv:2211.10438), equation 4: s_j = max|X_j|^alpha / max|W_j|^(1 - alpha). The activations are
// divided by s, the weights' columns multiplied. A channel whose activations or weights are all (nearly) 0 gets 1; the
// others are held within [1e-5, 1e5], as the authors' code holds them from below. alpha in [0, 1].
std::vector<float> smoothing_scales(std::span<const float> activation_absmax, std::span<const float> weight_absmax,
                                    double alpha);

// A product's input as calibration saw it, by channel.
struct SmoothingInput {
  std::vector<float> absmax;
  std::vector<double> range;  // what 8 bits have to cover: largest - smallest, or 2 absmax
  std::vector<double> mean_square;
};

// The alpha from 0.5 to 1, in steps of 0.05, with the least expected squared error of a static product's outputs. With
// rounding errors independent and even (variance step^2 / 12), s from smoothing_scales, a = max_j range_j / s_j / 254
// and b_n = max_j |W_nj| s_j / 127:
//   a^2 / 12 * sum_j s_j^2 |W_j|^2  +  share * sum_n b_n^2 / 12 * sum_j E[X_j^2] / s_j^2
// share: what GPTQ leaves of the weights' error, or 1.
double best_smoothing(const SmoothingInput& input, std::span<const float> w, double share);

// Nagel et al. 2019 (arXiv:1906.04721), equation 11: s_i = sqrt(r1_i r2_i) / r2_i. What gives channel i is divided by
// s_i, what reads it multiplied: both ranges become sqrt(r1_i r2_i). Ranges of (nearly) 0 give 1.
std::vector<float> equalizing_scales(std::span<const float> first_range, std::span<const float> second_range);

}  // namespace octobert::converter

#endif  // OCTOBERT_CONVERTER_SMOOTH_H_
