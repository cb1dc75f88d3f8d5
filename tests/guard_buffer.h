// Memory whose last (or first) byte touches an unmapped page: an access past it ends the test at once.
// With OCTOBERT_TEST_READABLE_GUARDS in the environment that page can be read, but not written: qemu 7.2 reads all of
// vmaskmov's memory, the lanes masked out too, which a CPU does not (scripts/test_old_x86.sh).
#ifndef OCTOBERT_TESTS_GUARD_BUFFER_H_
#define OCTOBERT_TESTS_GUARD_BUFFER_H_

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <new>
#include <span>

namespace octobert::testing {

enum class Guard { kAfter, kBefore };  // which end touches the unmapped page (the other is within a page of one)

// count values of T, zero at first. With kAfter the data ends at the guard page, so it starts at any multiple of
// sizeof(T); where a kernel wants 64-byte alignment, make the size a multiple of 64.
template <class T>
class GuardBuffer {
 public:
  explicit GuardBuffer(std::size_t count, Guard guard = Guard::kAfter) : count_(count) {
    const std::size_t page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    const std::size_t bytes = (count * sizeof(T) + page - 1) / page * page;
    mapped_ = bytes + 2 * page;
    const int guards = std::getenv("OCTOBERT_TEST_READABLE_GUARDS") != nullptr ? PROT_READ : PROT_NONE;
    void* base = mmap(nullptr, mapped_, guards, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED) throw std::bad_alloc();
    base_ = static_cast<char*>(base);
    char* inside = base_ + page;
    if (bytes > 0 && mprotect(inside, bytes, PROT_READ | PROT_WRITE) != 0) throw std::bad_alloc();
    data_ = reinterpret_cast<T*>(guard == Guard::kAfter ? inside + bytes - count * sizeof(T) : inside);
  }
  ~GuardBuffer() { munmap(base_, mapped_); }
  GuardBuffer(const GuardBuffer&) = delete;
  GuardBuffer& operator=(const GuardBuffer&) = delete;

  T* data() { return data_; }
  const T* data() const { return data_; }
  std::size_t size() const { return count_; }
  T& operator[](std::size_t i) { return data_[i]; }
  const T& operator[](std::size_t i) const { return data_[i]; }
  T* begin() { return data_; }
  T* end() { return data_ + count_; }
  std::span<const T> span() const { return {data_, count_}; }

 private:
  char* base_ = nullptr;
  std::size_t mapped_ = 0;
  T* data_ = nullptr;
  std::size_t count_;
};

}  // namespace octobert::testing

#endif  // OCTOBERT_TESTS_GUARD_BUFFER_H_
