// What the tests of integer products share: their operands, as integers and as the kernels read them.
#ifndef OCTOBERT_TESTS_KERNELS_PRODUCT_TEST_UTIL_H_
#define OCTOBERT_TESTS_KERNELS_PRODUCT_TEST_UTIL_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/pack.h"
#include "tests/kernels_test_util.h"

namespace octobert::testing {

struct Shape {
  int m, n, k;
};

struct S8Operands {
  S8Operands(Shape s, Guard guard)
      : shape(s),
        depth(static_cast<size_t>(s.k)),
        rows(static_cast<size_t>(s.m)),
        width(static_cast<size_t>(s.n)),
        padded(padded_outputs(width)),
        stride(activation_stride(depth)),
        q(rows * depth),
        w(width * depth),
        packed(packed_s8_bytes(width, depth), guard),
        a(rows * stride, guard),
        a_scale(rows, guard),
        b_scale(padded, guard),
        bias(padded, guard),
        b_sum(padded, guard) {}

  // Activations in [-127, 127] and weights in [-128, 127], or the ends of these ranges alone.
  void draw(Random& random, bool extreme) {
    for (int8_t& x : q)
      x = static_cast<int8_t>(extreme ? 127 * (2 * random.integer(0, 1) - 1) : random.integer(-127, 127));
    for (int8_t& x : w)
      x = static_cast<int8_t>(extreme ? (random.integer(0, 1) ? 127 : -128) : random.integer(-128, 127));
  }
  void pack() {
    pack_s8(w.data(), width, depth, packed.data());
    row_sums(w.data(), width, depth, b_sum.data());
  }
  // All activations and all weights the same, scales 1, no bias: the outputs are the sums.
  void set_all(int activation, int weight) {
    std::fill(q.begin(), q.end(), static_cast<int8_t>(activation));
    std::fill(w.begin(), w.end(), static_cast<int8_t>(weight));
    pack();
    std::fill(a_scale.begin(), a_scale.end(), 1.0f);
    std::fill(b_scale.begin(), b_scale.end(), 1.0f);
    std::fill(bias.begin(), bias.end(), 0.0f);
  }
  // The bytes between K and the stride may hold anything.
  void write_activations(int32_t offset) {
    std::fill(a.begin(), a.end(), uint8_t{0xa5});
    for (size_t m = 0; m < rows; ++m) {
      for (size_t k = 0; k < depth; ++k) a[m * stride + k] = static_cast<uint8_t>(q[m * depth + k] + offset);
    }
  }
  // All panels of the product, with floats to `dst`; activations as write_activations has left them.
  GemmS8Args args(float* dst, size_t ldd, Activation activation) {
    return {.a = a.data(),
            .lda = stride,
            .a_scale = a_scale.data(),
            .b = packed.data(),
            .b_scale = b_scale.data(),
            .b_sum = b_sum.data(),
            .bias = bias.data(),
            .dst = dst,
            .ldd = ldd,
            .row_max_bits = nullptr,
            .m = shape.m,
            .k = shape.k,
            .panel_begin = 0,
            .panel_end = static_cast<int>(panel_count(width)),
            .activation = activation};
  }

  Shape shape;
  size_t depth, rows, width, padded, stride;
  std::vector<int8_t> q, w;                   // [m][k], [n][k]
  GuardBuffer<int8_t> packed;                 // w
  GuardBuffer<uint8_t> a;                     // q
  GuardBuffer<float> a_scale, b_scale, bias;  // [m], [padded n], [padded n]
  GuardBuffer<int32_t> b_sum;                 // [padded n]
};

}  // namespace octobert::testing

#endif  // OCTOBERT_TESTS_KERNELS_PRODUCT_TEST_UTIL_H_
