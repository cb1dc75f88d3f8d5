// Counts what operator new gives out in this program. To be included by one source file of a test.
#ifndef OCTOBERT_TESTS_COUNT_ALLOCATIONS_H_
#define OCTOBERT_TESTS_COUNT_ALLOCATIONS_H_

#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <new>

namespace octobert::test {

inline std::atomic<size_t> allocation_count{0};

inline void* counted_allocation(size_t size, size_t alignment) {
  allocation_count.fetch_add(1, std::memory_order_relaxed);
  const size_t rounded = (size + alignment - 1) / alignment * alignment;
  void* p = std::aligned_alloc(alignment, rounded == 0 ? alignment : rounded);
  if (p == nullptr) throw std::bad_alloc();
  return p;
}

}  // namespace octobert::test

// The array and nothrow forms end here as well (their defaults call these).
void* operator new(size_t size) { return octobert::test::counted_allocation(size, alignof(std::max_align_t)); }
void* operator new(size_t size, std::align_val_t alignment) {
  return octobert::test::counted_allocation(size, static_cast<size_t>(alignment));
}
void operator delete(void* p) noexcept { std::free(p); }
void operator delete(void* p, size_t) noexcept { std::free(p); }
void operator delete(void* p, std::align_val_t) noexcept { std::free(p); }
void operator delete(void* p, size_t, std::align_val_t) noexcept { std::free(p); }

#endif  // OCTOBERT_TESTS_COUNT_ALLOCATIONS_H_
