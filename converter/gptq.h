// Rounding of weights that looks at what they are multiplied with: GPTQ. All sums have one order and nothing of libm
// is used: the same bytes on every machine and for every number of threads.
#ifndef OCTOBERT_CONVERTER_GPTQ_H_
#define OCTOBERT_CONVERTER_GPTQ_H_

#include <cstddef>
#include <functional>
#include <span>
#include <vector>

#include "engine/aligned_buffer.h"
#include "kernels/kernels.h"
#include "octobert/thread_pool.h"

namespace octobert::converter {

// Sum of x x^T over many inputs x of a product: half the Hessian of its squared error in a row of weights (Frantar et
// al. 2022, arXiv:2210.17323, section 3). K^2 floats, whatever the number of inputs.
class Hessian {
 public:
  explicit Hessian(int inputs) : k_(inputs), sum_(static_cast<size_t>(inputs) * static_cast<size_t>(inputs)) {}
  int inputs() const { return k_; }
  // data: [rows][stride], inputs() columns. Sums are made by the kernels' float product, which has one order.
  void add(Executor& executor, const KernelTable& kernels, const float* data, size_t rows, size_t stride);
  std::span<const float> values() const { return sum_; }  // [K][K], symmetric

 private:
  int k_;
  std::vector<float> sum_;
  AlignedBuffer transposed_, packed_, product_;
};

// The upper triangle U of the Cholesky factor of (H + damping)^-1 = U^T U, in the order `order` of the inputs, which
// is that of falling diagonal entries ("act-order" of the authors' code: what matters most is rounded first).
struct InverseFactor {
  std::vector<int> order;      // [K]
  std::vector<double> factor;  // [K][K], row-major, in that order; zero below the diagonal
};
// damping: 0.01 of the mean of the diagonal (arXiv:2210.17323, section 3.3, step 3) is added to it. scale: [K] or
// empty: of inputs x[k] / scale[k] instead of x. Throws Error(kNumeric) if that is not positive definite.
InverseFactor inverse_factor(Executor& executor, const Hessian& hessian, std::span<const float> scale);

// Rounds w[n][k] to the nearest weight that can be stored, keeps it and returns its value: round(n, k, w). Called once
// for each weight; rows (n) by several threads at once.
using RoundWeight = std::function<double(size_t n, size_t k, double w)>;

// Algorithm 1 of arXiv:2210.17323 on the rows of w [n][K]: input by input, each one's rounding error is spread over
// those that are not rounded yet. (The algorithm's blocks of columns change the order of work and not its result.)
void gptq_round(Executor& executor, const InverseFactor& inverse, const float* w, size_t rows,
                const RoundWeight& round);

}  // namespace octobert::converter

#endif  // OCTOBERT_CONVERTER_GPTQ_H_
