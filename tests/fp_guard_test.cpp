#include "engine/fp_guard.h"

#include <gtest/gtest.h>

#include <bit>
#include <cfenv>

namespace octobert {
namespace {

// Arithmetic that the compiler can neither fold nor move.
float divide(float a, float b) {
  volatile float x = a, y = b;
  volatile float quotient = x / y;
  return quotient;
}
float add(float a, float b) {
  volatile float x = a, y = b;
  volatile float sum = x + y;
  return sum;
}

// Bits are compared: a comparison of floats would itself take subnormals for zeros.
bool same_bits(float a, float b) { return std::bit_cast<uint32_t>(a) == std::bit_cast<uint32_t>(b); }
bool subnormal_results_survive() { return same_bits(divide(0x1p-126f, 2.0f), 0x1p-127f); }
bool subnormal_operands_survive() { return same_bits(add(0x1p-140f, 0x1p-140f), 0x1p-139f); }
// 1 + 2^-24 is a tie, to 1 as the even one; any other mode that rounds up gives the next float.
bool rounds_to_nearest() {
  return add(1.0f, 0x1p-24f) == 1.0f && add(-1.0f, -0x1p-24f) == -1.0f && divide(2, 3) > 0x1.555554p-1f;
}

#if defined(__x86_64__)
constexpr uint32_t kFlushToZero = 0x8000, kDenormalsAreZero = 0x40;
uint64_t control() { return __builtin_ia32_stmxcsr() & ~0x3fu; }  // without the status flags
void set_control(uint64_t value) { __builtin_ia32_ldmxcsr(static_cast<uint32_t>(value)); }
constexpr uint64_t kDefault = 0x1f80, kFlush = kDefault | kFlushToZero | kDenormalsAreZero;
constexpr uint64_t kUpwards = kDefault | 0x4000, kTowardsZero = kDefault | 0x6000;
#else
uint64_t control() {
  uint64_t value;
  __asm__ volatile("mrs %0, fpcr" : "=r"(value));
  return value;
}
void set_control(uint64_t value) { __asm__ volatile("msr fpcr, %0" ::"r"(value)); }
constexpr uint64_t kDefault = 0, kFlush = 1u << 24, kUpwards = 1u << 22, kTowardsZero = 3u << 22;
#endif

class FpGuardTest : public testing::Test {
 protected:
  void SetUp() override { set_control(kDefault); }
  void TearDown() override { set_control(kDefault); }
};

TEST_F(FpGuardTest, FlushToZeroIsOffInsideAndBackAfterwards) {
  set_control(kFlush);
  ASSERT_FALSE(subnormal_results_survive());
  ASSERT_FALSE(subnormal_operands_survive());
  {
    const FpGuard guard;
    EXPECT_EQ(control(), kDefault);
    EXPECT_TRUE(subnormal_results_survive());
    EXPECT_TRUE(subnormal_operands_survive());
  }
  EXPECT_EQ(control(), kFlush);
  EXPECT_FALSE(subnormal_results_survive());
}

TEST_F(FpGuardTest, RoundingIsToNearestInsideAndBackAfterwards) {
  for (const uint64_t mode : {kUpwards, kTowardsZero}) {
    set_control(mode);
    ASSERT_FALSE(rounds_to_nearest());
    {
      const FpGuard guard;
      EXPECT_TRUE(rounds_to_nearest());
    }
    EXPECT_EQ(control(), mode);
    EXPECT_FALSE(rounds_to_nearest());
    set_control(kDefault);
  }
}

TEST_F(FpGuardTest, ExceptionFlagsAreTheHosts) {
  std::feclearexcept(FE_ALL_EXCEPT);
  {
    const FpGuard guard;
    divide(1.0f, 3.0f);
    divide(1.0f, 0.0f);
  }
  EXPECT_EQ(std::fetestexcept(FE_ALL_EXCEPT), 0);
  std::feraiseexcept(FE_DIVBYZERO);
  { const FpGuard guard; }
  EXPECT_TRUE(std::fetestexcept(FE_DIVBYZERO));
}

#if defined(__x86_64__)
// AArch64 CPUs need not implement traps.
TEST_F(FpGuardTest, NothingTrapsInside) {
  set_control(0);  // all six exceptions unmasked: a division by zero would raise SIGFPE
  {
    const FpGuard guard;
    EXPECT_EQ(divide(1.0f, 0.0f), __builtin_inff());
  }
  EXPECT_EQ(control(), 0u);
}
#endif

TEST_F(FpGuardTest, Nests) {
  set_control(kFlush);
  const FpGuard outer;
  {
    const FpGuard inner;
    EXPECT_EQ(control(), kDefault);
  }
  EXPECT_EQ(control(), kDefault);
}

}  // namespace
}  // namespace octobert
