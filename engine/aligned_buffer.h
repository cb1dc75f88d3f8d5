// Uninitialised memory that starts on a cache line.
#ifndef OCTOBERT_ENGINE_ALIGNED_BUFFER_H_
#define OCTOBERT_ENGINE_ALIGNED_BUFFER_H_

#include <cstddef>
#include <memory>
#include <new>

namespace octobert {

class AlignedBuffer {
 public:
  static constexpr std::align_val_t kAlignment{64};

  AlignedBuffer() = default;
  explicit AlignedBuffer(size_t size) : data_(static_cast<std::byte*>(::operator new(size, kAlignment))), size_(size) {}

  std::byte* data() const { return data_.get(); }
  size_t size() const { return size_; }

 private:
  struct Delete {
    void operator()(std::byte* p) const { ::operator delete(p, kAlignment); }
  };
  std::unique_ptr<std::byte, Delete> data_;
  size_t size_ = 0;
};

}  // namespace octobert

#endif  // OCTOBERT_ENGINE_ALIGNED_BUFFER_H_
