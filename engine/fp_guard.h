// The floating-point environment that the kernels' contract asks for, for a scope.
#ifndef OCTOBERT_ENGINE_FP_GUARD_H_
#define OCTOBERT_ENGINE_FP_GUARD_H_

#include <cstdint>

namespace octobert {

// Sets the control word of this thread to the default (round to nearest even, no flush to zero, no denormals-are-zero,
// no trap) and restores what it found, status flags included. A host process built with -ffast-math, whose start-up
// code sets FTZ and DAZ for all its threads, must not change our bits (llvm/llvm-project#57589).
//
// Compilers do not know that arithmetic depends on the control word and may move it across this object. Calls
// through the kernels' table they cannot move, so do no arithmetic that reaches a result beside such a guard.
class FpGuard {
 public:
#if defined(__x86_64__)
  FpGuard() noexcept : saved_(__builtin_ia32_stmxcsr()) { __builtin_ia32_ldmxcsr(kDefaultMxcsr); }
  ~FpGuard() { __builtin_ia32_ldmxcsr(saved_); }
#elif defined(__aarch64__)
  FpGuard() noexcept {
    __asm__ volatile("mrs %0, fpcr\n\tmrs %1, fpsr" : "=r"(saved_), "=r"(saved_status_)::"memory");
    set_control(0);  // 0 is the default of every field, those of later architectures (AH, FIZ, NEP) included
  }
  ~FpGuard() {
    set_control(saved_);
    __asm__ volatile("msr fpsr, %0" ::"r"(saved_status_) : "memory");
  }
#endif
  FpGuard(const FpGuard&) = delete;
  FpGuard& operator=(const FpGuard&) = delete;

 private:
#if defined(__x86_64__)
  static constexpr uint32_t kDefaultMxcsr = 0x1f80;  // all six exceptions masked, nothing else set
  uint32_t saved_;                                   // MXCSR holds the status flags too
#elif defined(__aarch64__)
  static void set_control(uint64_t fpcr) noexcept { __asm__ volatile("msr fpcr, %0" ::"r"(fpcr) : "memory"); }
  uint64_t saved_, saved_status_;
#endif
};

}  // namespace octobert

#endif  // OCTOBERT_ENGINE_FP_GUARD_H_
