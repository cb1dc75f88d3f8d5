#include "engine/attention_scores.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>

#include "engine/aligned_buffer.h"
#include "kernels/layout.h"

namespace octobert {
namespace {

using format::Scheme;

// Rows of a head's queries or keys as attention multiplies them.
struct HeadRows {
  const float* floats;     // [rows][stride]; null: integers
  const int8_t* integers;  // [rows][stride], times a row's scale
  const float* scale;      // [rows]
  size_t stride;
};

// Memory for a head's queries or keys in int8: what is done on workers must not throw.
struct IntegerRows {
  IntegerRows(size_t rows, size_t columns)
      : bytes(rows * activation_stride(columns)), integers(rows * columns), scale(rows, 1.0F) {}
  AlignedBuffer bytes;
  std::vector<int8_t> integers;
  std::vector<float> scale;
};

// Activation bytes as the numbers they stand for.
void to_integers(const KernelTable& kernels, const uint8_t* bytes, size_t stride, size_t rows, size_t columns,
                 std::vector<int8_t>& integers) {
  for (size_t i = 0; i < rows * columns; ++i) {
    const int value = bytes[i / columns * stride + i % columns] - kernels.activation_offset;
    integers[i] = static_cast<int8_t>(value);  // where the offset is 0 the byte is the number's two's complement
  }
}

HeadRows rows_of(const KernelTable& kernels, Scheme attention, const ActivationRows& from, int rows, int columns,
                 IntegerRows& memory) {
  if (attention == Scheme::kFloat) return {from.data, nullptr, nullptr, from.stride};
  const uint8_t* bytes = from.q;  // of static attention; its scales, one a head, are in score_factor
  size_t stride = from.q_stride;
  const auto k = static_cast<size_t>(columns);
  if (attention == Scheme::kDynamic) {  // a scale a token over the head's columns (docs/NUMERICS.md)
    bytes = reinterpret_cast<uint8_t*>(memory.bytes.data());
    stride = activation_stride(k);
    kernels.quantize_rows({.src = from.data,
                           .lds = from.stride,
                           .row_max_bits = nullptr,
                           .dst = reinterpret_cast<uint8_t*>(memory.bytes.data()),
                           .ldd = stride,
                           .scale = memory.scale.data(),
                           .m = rows,
                           .k = columns});
  }
  to_integers(kernels, bytes, stride, static_cast<size_t>(rows), k, memory.integers);
  return {nullptr, memory.integers.data(), memory.scale.data(), k};
}

// In 8 partial sums: one order, and no chain of additions that all wait for each other.
float dot(const float* a, const float* b, size_t n) {
  std::array<float, 8> sums{};
  size_t i = 0;
  for (; i + sums.size() <= n; i += sums.size()) {
    for (size_t lane = 0; lane < sums.size(); ++lane) sums[lane] += a[i + lane] * b[i + lane];
  }
  for (; i < n; ++i) sums[i % sums.size()] += a[i] * b[i];
  float total = 0;
  for (const float sum : sums) total += sum;
  return total;
}

int32_t dot(const int8_t* a, const int8_t* b, size_t n) {
  int32_t sum = 0;
  for (size_t i = 0; i < n; ++i) sum += a[i] * b[i];
  return sum;
}

// dst: [queries][keys].
void multiply(const HeadRows& q, const HeadRows& k, size_t queries, size_t keys, size_t columns, float factor,
              float* dst) {
  for (size_t i = 0; i < queries; ++i) {
    for (size_t j = 0; j < keys; ++j) {
      const size_t at_q = i * q.stride, at_k = j * k.stride;
      const float value = q.floats != nullptr ? dot(q.floats + at_q, k.floats + at_k, columns)
                                              : static_cast<float>(dot(q.integers + at_q, k.integers + at_k, columns)) *
                                                    (q.scale[i] * k.scale[j]);
      dst[i * keys + j] = value * factor;
    }
  }
}

}  // namespace

void attention_scores(const KernelTable& kernels, const Workers& workers, const EncoderLayer& layer, int heads,
                      int head_dim, const BertState& state, int first_token, int length, std::vector<float>& scores) {
  const auto rows = static_cast<size_t>(length), columns = static_cast<size_t>(head_dim);
  const size_t asked = std::min(rows, kObservedQueries);
  scores.resize(static_cast<size_t>(heads) * asked * rows);
  std::vector<IntegerRows> memory;  // two a worker
  for (int i = 0; i < 2 * workers.count; ++i) memory.emplace_back(rows, columns);
  const auto inverse_root = static_cast<float>(1.0 / std::sqrt(static_cast<double>(head_dim)));
  parallel_for(workers, heads, [&](int worker, int head) {
    IntegerRows* own = &memory[2 * static_cast<size_t>(worker - workers.first)];
    const ActivationRows queries = state.qkv.from(first_token).from_column(head * head_dim);
    const ActivationRows keys = queries.from_column(heads * head_dim);
    const float factor = layer.attention == Scheme::kStatic ? layer.scores_factor[head] * inverse_root : inverse_root;
    multiply(rows_of(kernels, layer.attention, queries, static_cast<int>(asked), head_dim, own[0]),
             rows_of(kernels, layer.attention, keys, length, head_dim, own[1]), asked, rows, columns, factor,
             scores.data() + static_cast<size_t>(head) * asked * rows);
  });
}

}  // namespace octobert
