// Rounding made better once every weight is rounded: coordinate descent on the squared error of a product's outputs.
#ifndef OCTOBERT_CONVERTER_DESCENT_H_
#define OCTOBERT_CONVERTER_DESCENT_H_

#include <cstddef>
#include <functional>
#include <span>

#include "converter/gptq.h"
#include "octobert/thread_pool.h"

namespace octobert::converter {

// One row's weights w of a block of inputs while what is stored for them, q, changes. With e = w - q, the row's error
// is e^T H e; the gradient H e is kept up to date within the block.
class RowBlock {
 public:
  // stored, gradient: [inputs of the block]; h: the block's part of the form, its rows `stride` apart.
  RowBlock(size_t row, size_t first, std::span<double> stored, std::span<double> gradient, const float* h,
           size_t stride)
      : row_(row), first_(first), stored_(stored), gradient_(gradient), h_(h), stride_(stride) {}

  size_t row() const { return row_; }
  size_t first() const { return first_; }  // the block's first input
  size_t size() const { return stored_.size(); }
  double stored(size_t i) const { return stored_[i]; }
  void store(size_t i, double value);
  // Of the least error if nothing else changes: Behdin et al. 2023 (arXiv:2309.01885), equation 7, before rounding.
  double best_value(size_t i) const { return stored_[i] + gradient_[i] / h(i, i); }
  // What the block's values have to be multiplied with for the least error: the least-squares scale of a group, given
  // its integers and all other groups. Within [0.5, 2]; 1 if the block is all zeros.
  double best_factor() const;

 private:
  double h(size_t i, size_t j) const { return double{h_[i * stride_ + j]}; }

  size_t row_, first_;
  std::span<double> stored_, gradient_;
  const float* h_;
  size_t stride_;
};

// Changes what is stored for one row and block. Rows by several threads at once.
using ImproveBlock = std::function<void(RowBlock&)>;

// Block after block of inputs, several times over all of them, each block knowing all that was changed before. w and
// stored: [rows][form.k], of the form's inputs; stored: from where to go on, and the result.
// The work outside of the blocks, rows * K^2 a sweep, is done by the kernels' float product, which has one order.
void descend(Executor& executor, const ErrorForm& form, std::span<const float> w, size_t block,
             const ImproveBlock& improve, std::span<double> stored);

}  // namespace octobert::converter

#endif  // OCTOBERT_CONVERTER_DESCENT_H_
