// What the kernel tests share: the tables under test, values that hurt, comparison by bits.
#ifndef OCTOBERT_TESTS_KERNELS_TEST_UTIL_H_
#define OCTOBERT_TESTS_KERNELS_TEST_UTIL_H_

#include <gtest/gtest.h>

#include <bit>
#include <cstdint>
#include <iomanip>
#include <limits>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "kernels/dispatch.h"
#include "tests/guard_buffer.h"

namespace octobert {

// kernels/avx_vnni.cpp a second time, with AVX-512's encoding of the same instructions, for CPUs that have only that
// one: built for tests and benches (tests/CMakeLists.txt).
extern const KernelTable kAvxVnniEvexTable;

namespace testing {

inline std::vector<const KernelTable*> tables_under_test() {
  const auto compiled = compiled_tables();
  std::vector<const KernelTable*> tables(compiled.begin(), compiled.end());
#ifdef OCTOBERT_HAVE_AVX_VNNI_EVEX
  tables.push_back(&kAvxVnniEvexTable);
#endif
  return tables;
}

inline std::string table_name(const ::testing::TestParamInfo<const KernelTable*>& info) { return info.param->name; }

// A test of one table; skipped, with the reason, where this CPU cannot run it.
class KernelTest : public ::testing::TestWithParam<const KernelTable*> {
 protected:
  void SetUp() override {
    if (!is_available(table(), detect_cpu_features())) {
      GTEST_SKIP() << table().name << ": this CPU lacks the instruction set";
    }
  }
  static const KernelTable& table() { return *GetParam(); }
};

enum class Values { kRandom, kExtremes, kSubnormal, kHuge, kSpecial, kZeros };
inline constexpr Values kAllValues[] = {Values::kRandom, Values::kExtremes, Values::kSubnormal,
                                        Values::kHuge,   Values::kSpecial,  Values::kZeros};

// Seeded, so that a failure repeats.
class Random {
 public:
  explicit Random(uint32_t seed) : engine_(seed) {}

  int integer(int low, int high) { return low + static_cast<int>(engine_() % static_cast<uint32_t>(high - low + 1)); }
  float real(float low, float high) { return low + (high - low) * static_cast<float>(engine_() >> 8) * 0x1p-24f; }
  // Of about unit size, with a few large ones, as activations are.
  float activation() { return integer(0, 30) == 0 ? real(-12.0f, 12.0f) : real(-1.5f, 1.5f); }

  float value(Values kind) {
    switch (kind) {
      case Values::kRandom:
        return activation();
      case Values::kExtremes:
        return integer(0, 1) ? 1.0f : -1.0f;
      case Values::kSubnormal:
        return std::bit_cast<float>(static_cast<uint32_t>(engine_() & 0x807fffffu));
      case Values::kHuge:
        return real(-3e38f, 3e38f);
      case Values::kSpecial:
        return special();
      case Values::kZeros:
        return integer(0, 1) ? 0.0f : -0.0f;
    }
    return 0.0f;
  }
  void fill(std::span<float> to, Values kind) {
    for (float& x : to) x = value(kind);
  }

 private:
  float special() {
    constexpr float kInf = std::numeric_limits<float>::infinity();
    constexpr float kOdd[] = {kInf, -kInf, std::numeric_limits<float>::quiet_NaN(), 0.0f, -0.0f, 1e-38f, 3e38f};
    return integer(0, 20) == 0 ? kOdd[integer(0, 6)] : activation();
  }
  std::mt19937 engine_;
};

inline uint32_t canonical_bits(float x) { return x != x ? 0x7fc00000u : std::bit_cast<uint32_t>(x); }

// Equal bit for bit; all NaNs are one (docs/NUMERICS.md).
inline ::testing::AssertionResult same_bits(std::span<const float> expected, std::span<const float> actual) {
  if (expected.size() != actual.size()) return ::testing::AssertionFailure() << "sizes differ";
  for (std::size_t i = 0; i < expected.size(); ++i) {
    if (canonical_bits(expected[i]) != canonical_bits(actual[i])) {
      return ::testing::AssertionFailure()
             << "at " << i << " of " << expected.size() << ": expected " << std::setprecision(9) << expected[i]
             << ", found " << actual[i] << std::hex << " (bits " << std::bit_cast<uint32_t>(expected[i]) << ", "
             << std::bit_cast<uint32_t>(actual[i]) << ")";
    }
  }
  return ::testing::AssertionSuccess();
}

template <class T>
inline std::span<const T> span_of(const GuardBuffer<T>& buffer) {
  return buffer.span();
}

}  // namespace testing
}  // namespace octobert

#endif  // OCTOBERT_TESTS_KERNELS_TEST_UTIL_H_
