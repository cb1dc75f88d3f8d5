#include "converter/gptq.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "converter/blocks.h"
#include "converter/triangular.h"
#include "kernels/layout.h"
#include "kernels/pack.h"
#include "octobert/error.h"

namespace octobert::converter {
namespace {

constexpr double kDamping = 0.01;
constexpr double kRounding = 1e-4;  // of an input's second moment: more than what float sums' rounding makes of it
constexpr size_t kRowsAtOnce = 32;  // of weights: what a task takes

// Room for `count` floats, kept for the next call.
float* floats_in(AlignedBuffer& buffer, size_t count) {
  if (buffer.size() < count * sizeof(float)) buffer = AlignedBuffer(count * sizeof(float));
  return reinterpret_cast<float*>(buffer.data());
}

}  // namespace

Hessian::Hessian(const KernelTable& kernels, int inputs)
    : kernels_(&kernels),
      k_(inputs),
      sum_(static_cast<size_t>(inputs) * static_cast<size_t>(inputs)),
      first_(static_cast<size_t>(inputs)) {}

void Hessian::add(Executor& executor, const float* data, std::span<const float> weight, size_t stride,
                  Scratch& scratch) {
  const size_t k = first_.size(), rows = weight.size();
  std::vector<float> root(rows);  // x times it, on both sides of x x^T
  for (size_t row = 0; row < rows; ++row) {
    root[row] = std::sqrt(weight[row]);
    total_ += double{weight[row]};
    for (size_t c = 0; c < k; ++c) first_[c] += double{weight[row]} * double{data[row * stride + c]};
  }
  float* transposed = floats_in(scratch.transposed, k * rows);
  float* packed = floats_in(scratch.packed, packed_f32_floats(k, rows));
  float* product = floats_in(scratch.product, (k + 1) * padded_outputs(k));
  float* no_bias = product + k * padded_outputs(k);
  std::fill_n(no_bias, padded_outputs(k), 0.0f);
  for_each_block(executor, 0, k, kPanelWidth, [&](size_t first, size_t last) {
    for (size_t row = 0; row < rows; ++row) {
      for (size_t c = first; c < last; ++c) transposed[c * rows + row] = data[row * stride + c] * root[row];
    }
    pack_f32(transposed + first * rows, last - first, rows,
             packed + first / kPanelWidth * packed_f32_panel_floats(rows));
  });
  for_each_block(executor, 0, k, 3 * kPanelWidth, [&](size_t first, size_t last) {
    // Columns [first, last) of the rows up to their end: the upper triangle.
    kernels_->gemm_f32({.a = transposed,
                        .lda = rows,
                        .b = packed,
                        .b_scale = nullptr,
                        .bias = no_bias,
                        .dst = product,
                        .ldd = padded_outputs(k),
                        .m = static_cast<int>(last),
                        .k = static_cast<int>(rows),
                        .panel_begin = static_cast<int>(first / kPanelWidth),
                        .panel_end = static_cast<int>(panel_count(last)),
                        .activation = Activation::kNone});
    for (size_t i = 0; i < last; ++i) {
      for (size_t j = std::max(first, i); j < last; ++j) {
        sum_[i * k + j] += product[i * padded_outputs(k) + j];
      }
    }
  });
}

ErrorForm error_form(const Hessian& hessian, std::span<const float> scale, bool centered) {
  const auto k = static_cast<size_t>(hessian.inputs());
  ErrorForm form{&hessian.kernels(), k, std::vector<float>(k * k)};
  const auto factor = [&](size_t i) { return scale.empty() ? 1.0 : 1.0 / double{scale[i]}; };
  const auto raw = [&](size_t i) { return hessian.moment(i, i) * factor(i) * factor(i); };
  std::vector<double> mean(k);
  for (size_t i = 0; i < k && centered; ++i) mean[i] = hessian.mean(static_cast<int>(i));
  double diagonal = 0, with_means = 0;
  for (size_t i = 0; i < k; ++i) {
    for (size_t j = i; j < k; ++j) {
      const double moment = hessian.moment(i, j) - hessian.total() * mean[i] * mean[j];
      form.h[i * k + j] = form.h[j * k + i] = static_cast<float>(moment * (factor(i) * factor(j)));
    }
    diagonal += double{form.h[i * k + i]};
    with_means += raw(i);
  }
  // Rounding is relative to each entry as it was before its mean was taken out.
  const double damping = std::max(kDamping * diagonal, kRounding * with_means) / static_cast<double>(k);
  for (size_t i = 0; i < k; ++i) {
    form.h[i * k + i] = static_cast<float>(double{form.h[i * k + i]} + std::max(damping, kRounding * raw(i)));
  }
  return form;
}

InverseFactor inverse_factor(Executor& executor, const ErrorForm& form) {
  const size_t k = form.k;
  if (!std::all_of(form.h.begin(), form.h.end(), [](float entry) { return std::isfinite(entry); })) {
    throw Error(ErrorCode::kNumeric,
                "calibration: the inputs of a product are too large for GPTQ: sums of their squares are beyond the "
                "largest float (3.4e38). More texts do not help: no GPTQ (--no-gptq)");
  }
  const auto entry = [&](size_t i, size_t j) { return double{form.h[i * k + j]}; };
  InverseFactor result;
  result.order.resize(k);
  std::iota(result.order.begin(), result.order.end(), 0);
  std::stable_sort(result.order.begin(), result.order.end(), [&](int a, int b) {
    return entry(static_cast<size_t>(a), static_cast<size_t>(a)) >
           entry(static_cast<size_t>(b), static_cast<size_t>(b));
  });
  // With P the reversal of the order, P H P = L^T L (upper L): then H^-1 = (P L^-1 P) (P L^-1 P)^T, whose first factor
  // is lower triangular, so that its transpose is the U of H^-1 = U^T U: one factorization and one inverse.
  const auto reversed = [&](size_t i) { return static_cast<size_t>(result.order[k - 1 - i]); };
  std::vector<double> a(k * k);
  for (size_t i = 0; i < k; ++i) {
    for (size_t j = i; j < k; ++j) a[i * k + j] = entry(reversed(i), reversed(j));
  }
  if (!cholesky_upper(executor, a, k)) {
    throw Error(ErrorCode::kNumeric,
                "calibration: the inputs of a product say too little for GPTQ (its Hessian is not positive definite): "
                "more texts are needed, or no GPTQ");
  }
  const std::vector<double> inverse = inverse_upper(executor, a, k);
  result.factor.resize(k * k);
  for (size_t i = 0; i < k; ++i) {
    for (size_t j = i; j < k; ++j) result.factor[i * k + j] = inverse[(k - 1 - j) * k + (k - 1 - i)];
  }
  return result;
}

void gptq_round(Executor& executor, const InverseFactor& inverse, const float* w, size_t rows,
                const RoundWeight& round) {
  const size_t k = inverse.order.size();
  for_each_block(executor, 0, rows, kRowsAtOnce, [&](size_t first, size_t last) {
    std::vector<double> left((last - first) * k);  // the weights that are not rounded yet, in the factor's order
    for (size_t n = first; n < last; ++n) {
      for (size_t i = 0; i < k; ++i) left[(n - first) * k + i] = w[n * k + static_cast<size_t>(inverse.order[i])];
    }
    std::vector<double> error((last - first) * kTriangularBlock);  // of the block's weights, by row
    for (size_t begin = 0; begin < k; begin += kTriangularBlock) {
      const size_t end = std::min(begin + kTriangularBlock, k);
      for (size_t n = first; n < last; ++n) {
        double* row = left.data() + (n - first) * k;
        for (size_t i = begin; i < end; ++i) {
          const double* factor = inverse.factor.data() + i * k;
          const double e = (row[i] - round(n, static_cast<size_t>(inverse.order[i]), row[i])) / factor[i];
          for (size_t j = i + 1; j < end; ++j) row[j] -= e * factor[j];
          error[(n - first) * kTriangularBlock + i - begin] = e;
        }
      }
      subtract_product({.target = left.data() + end,
                        .target_stride = k,
                        .factor = error.data(),
                        .factor_row = kTriangularBlock,
                        .factor_column = 1,
                        .source = inverse.factor.data() + begin * k + end,
                        .source_stride = k,
                        .rows = last - first,
                        .inner = end - begin,
                        .columns = k - end});
    }
  });
}

}  // namespace octobert::converter
