// Rounding of weights that looks at what they are multiplied with: GPTQ. All sums have one order and nothing of libm
// is used: the same bytes on every machine and for every number of threads.
#ifndef OCTOBERT_CONVERTER_GPTQ_H_
#define OCTOBERT_CONVERTER_GPTQ_H_

#include <algorithm>
#include <cstddef>
#include <functional>
#include <span>
#include <vector>

#include "engine/aligned_buffer.h"
#include "kernels/kernels.h"
#include "octobert/thread_pool.h"

namespace octobert::converter {

// Weighted sums of x x^T and x over many inputs x of a product: of equal weights, the first is half the Hessian of the
// product's squared error in a row of weights (Frantar et al. 2022, arXiv:2210.17323, section 3). K^2 floats, whatever
// the number of inputs.
class Hessian {
 public:
  // What add() works in: for any Hessians in turn, so that they need not keep it.
  struct Scratch {
    AlignedBuffer transposed, packed, product;
  };
  // kernels: for its products.
  Hessian(const KernelTable& kernels, int inputs);
  int inputs() const { return k_; }
  const KernelTable& kernels() const { return *kernels_; }
  // data: [rows][stride], inputs() columns; weight: [rows], positive. Sums are made by the kernels' float product,
  // which has one order.
  void add(Executor& executor, const float* data, std::span<const float> weight, size_t stride, Scratch& scratch);
  // Of inputs i and j.
  double moment(size_t i, size_t j) const { return sum_[std::min(i, j) * static_cast<size_t>(k_) + std::max(i, j)]; }
  double total() const { return total_; }  // of the weights
  double mean(int input) const { return first_[static_cast<size_t>(input)] / total_; }

 private:
  const KernelTable* kernels_;
  int k_;
  std::vector<float> sum_;  // [K][K], the upper triangle
  std::vector<double> first_;
  double total_ = 0;
};

// The squared error (w - q)^T H (w - q) of a row of weights w that is stored as q.
struct ErrorForm {
  const KernelTable* kernels;  // for products with it
  size_t k;
  std::vector<float> h;  // [K][K], symmetric
};
// damping: 0.01 of the mean of the diagonal (arXiv:2210.17323, section 3.3, step 3) is added to it, or, to the entry of
// an input that hardly differs from its mean, as much as rounding may have made of it. scale: [K] or empty: of inputs
// x[k] / scale[k]. centered: of x less its mean, which is what remains if the bias then takes up the error at the mean
// (bias correction).
ErrorForm error_form(const Hessian& hessian, std::span<const float> scale, bool centered);

// The upper triangle U of the Cholesky factor of H^-1 = U^T U, in the order `order` of the inputs, which
// is that of falling diagonal entries ("act-order" of the authors' code: what matters most is rounded first).
struct InverseFactor {
  std::vector<int> order;      // [K]
  std::vector<double> factor;  // [K][K], row-major, in that order; zero below the diagonal
};
// Throws Error(kNumeric) if H is not finite, or not positive definite.
InverseFactor inverse_factor(Executor& executor, const ErrorForm& form);

// Rounds w[n][k] to the nearest weight that can be stored, keeps it and returns its value: round(n, k, w). Called once
// for each weight; rows (n) by several threads at once.
using RoundWeight = std::function<double(size_t n, size_t k, double w)>;

// Algorithm 1 of arXiv:2210.17323 on the rows of w [n][K]: input by input, each one's rounding error is spread over
// those that are not rounded yet, by blocks of inputs, which change the order of the work and not its result.
void gptq_round(Executor& executor, const InverseFactor& inverse, const float* w, size_t rows,
                const RoundWeight& round);

}  // namespace octobert::converter

#endif  // OCTOBERT_CONVERTER_GPTQ_H_
