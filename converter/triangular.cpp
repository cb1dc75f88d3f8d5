#include "converter/triangular.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <cstring>

#include "converter/blocks.h"

namespace octobert::converter {
namespace {

// Two doubles: what every x86-64 and every ARM64 has.
using Pair [[gnu::vector_size(16)]] = double;
constexpr size_t kTileRows = 2, kTileColumns = 8;  // eight accumulators, of the sixteen registers of SSE2

Pair load(const double* p) {
  Pair pair;
  std::memcpy(&pair, p, sizeof pair);
  return pair;
}
void store(double* p, Pair pair) { std::memcpy(p, &pair, sizeof pair); }

// tile [kTileRows][stride] -= sum over i of factor[i][kTileRows]^T source[i][kTileColumns].
void subtract_tile(double* tile, size_t stride, const double* factor, const double* source, size_t inner) {
  double* below = tile + stride;
  Pair a0 = load(tile), a1 = load(tile + 2), a2 = load(tile + 4), a3 = load(tile + 6);
  Pair b0 = load(below), b1 = load(below + 2), b2 = load(below + 4), b3 = load(below + 6);
  for (size_t i = 0; i < inner; ++i, factor += kTileRows, source += kTileColumns) {
    const Pair fa = {factor[0], factor[0]}, fb = {factor[1], factor[1]};
    const Pair s0 = load(source), s1 = load(source + 2), s2 = load(source + 4), s3 = load(source + 6);
    a0 -= fa * s0, a1 -= fa * s1, a2 -= fa * s2, a3 -= fa * s3;
    b0 -= fb * s0, b1 -= fb * s1, b2 -= fb * s2, b3 -= fb * s3;
  }
  store(tile, a0), store(tile + 2, a1), store(tile + 4, a2), store(tile + 6, a3);
  store(below, b0), store(below + 2, b1), store(below + 4, b2), store(below + 6, b3);
}

// target[i] -= f * source[i].
void subtract(double* target, const double* source, double f, size_t count) {
  for (size_t i = 0; i < count; ++i) target[i] -= f * source[i];
}

// The part of subtract_product that `inner` at most kTriangularBlock allows to copy: rows of a matrix may be a power of
// two apart, so that a column would share one set of the cache.
void subtract_some(const SubtractProduct& p, size_t begin, size_t inner) {
  double factor[kTriangularBlock * kTriangularBlock], source[kTriangularBlock * kTileColumns];
  const auto each = [](size_t rows, size_t columns, const auto& body) {
    for (size_t r = 0; r < rows; ++r) {
      for (size_t c = 0; c < columns; ++c) body(r, c);
    }
  };
  for (size_t r = 0; r < p.rows; r += kTileRows) {
    each(inner, kTileRows, [&](size_t i, size_t t) {
      const size_t row = r + t, column = begin + i;
      factor[r * inner + i * kTileRows + t] =
          row < p.rows ? p.factor[row * p.factor_row + column * p.factor_column] : 0.0;
    });
  }
  for (size_t c = 0; c < p.columns; c += kTileColumns) {
    const size_t width = std::min(p.columns - c, kTileColumns);
    each(inner, kTileColumns, [&](size_t i, size_t x) {
      source[i * kTileColumns + x] = x < width ? p.source[(begin + i) * p.source_stride + c + x] : 0.0;
    });
    for (size_t r = 0; r < p.rows; r += kTileRows) {
      const size_t height = std::min(p.rows - r, kTileRows);
      double* target = p.target + r * p.target_stride + c;
      if (height == kTileRows && width == kTileColumns) {
        subtract_tile(target, p.target_stride, factor + r * inner, source, inner);
        continue;
      }
      double edge[kTileRows * kTileColumns] = {};
      each(height, width, [&](size_t t, size_t x) { edge[t * kTileColumns + x] = target[t * p.target_stride + x]; });
      subtract_tile(edge, kTileColumns, factor + r * inner, source, inner);
      each(height, width, [&](size_t t, size_t x) { target[t * p.target_stride + x] = edge[t * kTileColumns + x]; });
    }
  }
}

}  // namespace

void subtract_product(const SubtractProduct& p) {
  assert(p.rows <= kTriangularBlock);
  for (size_t i = 0; i < p.inner; i += kTriangularBlock) subtract_some(p, i, std::min(p.inner - i, kTriangularBlock));
}

// Right-looking: a block of rows is finished, then taken from all that follow.
bool cholesky_upper(Executor& executor, std::vector<double>& a, size_t k) {
  for (size_t begin = 0; begin < k; begin += kTriangularBlock) {
    const size_t end = std::min(begin + kTriangularBlock, k);
    for (size_t i = begin; i < end; ++i) {
      double* row = a.data() + i * k;
      if (!(row[i] > 0)) return false;
      const double inverse = 1 / std::sqrt(row[i]);
      row[i] = std::sqrt(row[i]);
      for (size_t j = i + 1; j < k; ++j) row[j] *= inverse;
      for (size_t r = i + 1; r < end; ++r) subtract(a.data() + r * k + r, row + r, row[r], k - r);
    }
    for_each_block(executor, end, k, kTriangularBlock, [&](size_t first, size_t last) {
      subtract_product({.target = a.data() + first * k + first,
                        .target_stride = k,
                        .factor = a.data() + begin * k + first,
                        .factor_row = 1,
                        .factor_column = k,
                        .source = a.data() + begin * k + first,
                        .source_stride = k,
                        .rows = last - first,
                        .inner = end - begin,
                        .columns = k - first});
    });
  }
  return true;
}

// V's row i is (e_i - sum over j > i of U[i][j] V's row j) / U[i][i], from the last row up; the rows of a block first
// take what follows the block. Columns are independent: each task has some.
std::vector<double> inverse_upper(Executor& executor, const std::vector<double>& u, size_t k) {
  std::vector<double> v(k * k);
  for_each_block(executor, 0, k, kTriangularBlock, [&](size_t first, size_t last) {
    const size_t width = last - first;
    std::vector<double> columns(last * width);  // of v, of the rows that are not zero
    for (size_t c = first; c < last; ++c) columns[c * width + c - first] = 1;
    for (size_t end = last; end > 0;) {
      const size_t begin = (end - 1) / kTriangularBlock * kTriangularBlock;
      double* block = columns.data() + begin * width;
      subtract_product({.target = block,
                        .target_stride = width,
                        .factor = u.data() + begin * k + end,
                        .factor_row = k,
                        .factor_column = 1,
                        .source = columns.data() + end * width,
                        .source_stride = width,
                        .rows = end - begin,
                        .inner = last - end,
                        .columns = width});
      for (size_t i = end; i-- > begin;) {
        double* row = columns.data() + i * width;
        for (size_t j = i + 1; j < end; ++j) subtract(row, columns.data() + j * width, u[i * k + j], width);
        const double inverse = 1 / u[i * k + i];
        for (size_t c = 0; c < width; ++c) row[c] *= inverse;
      }
      end = begin;
    }
    for (size_t i = 0; i < last; ++i) std::copy_n(columns.data() + i * width, width, v.data() + i * k + first);
  });
  return v;
}

}  // namespace octobert::converter
