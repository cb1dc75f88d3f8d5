// Dense algebra in double precision for the weights' rounding: each element has one order of operations, which neither
// tiles nor threads change.
#ifndef OCTOBERT_CONVERTER_TRIANGULAR_H_
#define OCTOBERT_CONVERTER_TRIANGULAR_H_

#include <cstddef>
#include <vector>

#include "octobert/thread_pool.h"

namespace octobert::converter {

// What blocked algorithms take at once.
inline constexpr size_t kTriangularBlock = 64;

// target[r][c] -= sum over i of factor[r][i] * source[i][c], for each element one product after the other, i ascending.
struct SubtractProduct {
  double* target;
  size_t target_stride;
  const double* factor;  // [r][i] is factor[r * factor_row + i * factor_column]
  size_t factor_row, factor_column;
  const double* source;
  size_t source_stride;
  size_t rows, inner, columns;  // of the target; of factor and source; of target and source. rows <= kTriangularBlock
};
void subtract_product(const SubtractProduct& p);

// a [k][k] = U^T U in place, U upper triangular. Of `a` the upper triangle is read; what is below becomes meaningless.
// False if it is not positive definite.
[[nodiscard]] bool cholesky_upper(Executor& executor, std::vector<double>& a, size_t k);

// The inverse of the upper triangular u [k][k], of which what is below the diagonal is not read.
std::vector<double> inverse_upper(Executor& executor, const std::vector<double>& u, size_t k);

}  // namespace octobert::converter

#endif  // OCTOBERT_CONVERTER_TRIANGULAR_H_
