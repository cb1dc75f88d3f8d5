// What the tests of statically quantized kernels share.
#ifndef OCTOBERT_TESTS_KERNELS_STATIC_TEST_UTIL_H_
#define OCTOBERT_TESTS_KERNELS_STATIC_TEST_UTIL_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "tests/kernels_test_util.h"

namespace octobert::testing {

// The bytes of a [m][columns] matrix without the table's offset, and how many were clipped.
struct Bytes {
  std::vector<int> q;
  uint64_t clipped = 0;
  bool operator==(const Bytes&) const = default;
};

inline Bytes read_bytes(const KernelTable& table, const uint8_t* q, size_t ldq, size_t m, size_t columns,
                        uint64_t clipped) {
  Bytes out{{}, clipped};
  for (size_t i = 0; i < m; ++i) {
    for (size_t j = 0; j < columns; ++j) {
      const uint8_t byte = q[i * ldq + j];
      out.q.push_back(table.activation_offset ? byte - table.activation_offset : static_cast<int8_t>(byte));
    }
  }
  return out;
}

// Multipliers that bring values of about unit size into the range and beyond it.
inline void fill_inv(Random& random, std::span<float> inv) {
  for (float& x : inv) x = random.real(5.0f, 120.0f);
}

}  // namespace octobert::testing

#endif  // OCTOBERT_TESTS_KERNELS_STATIC_TEST_UTIL_H_
