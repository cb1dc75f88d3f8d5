// Objects that are expensive to warm up, lent to one call at a time.
#ifndef OCTOBERT_ENGINE_FREE_LIST_H_
#define OCTOBERT_ENGINE_FREE_LIST_H_

#include <memory>
#include <mutex>
#include <utility>
#include <vector>

namespace octobert {

// Grows to as many objects as calls ran at once. Thread-safe; borrowing allocates only if all objects are out.
template <class T>
class FreeList {
 public:
  // An object that goes back to its list at the end of the scope.
  class Loan {
   public:
    Loan(FreeList& list, std::unique_ptr<T> object) : list_(&list), object_(std::move(object)) {}
    Loan(Loan&&) noexcept = default;
    ~Loan() {
      if (object_) list_->give_back(std::move(object_));
    }
    T& operator*() const { return *object_; }
    T* operator->() const { return object_.get(); }

   private:
    FreeList* list_;
    std::unique_ptr<T> object_;
  };

  Loan borrow() {
    const std::lock_guard lock(mutex_);
    if (free_.empty()) {
      free_.reserve(++total_);  // so that giving back can't fail
      return {*this, std::make_unique<T>()};
    }
    auto object = std::move(free_.back());
    free_.pop_back();
    return {*this, std::move(object)};
  }

 private:
  void give_back(std::unique_ptr<T> object) noexcept {
    const std::lock_guard lock(mutex_);
    free_.push_back(std::move(object));
  }

  std::mutex mutex_;
  std::vector<std::unique_ptr<T>> free_;
  size_t total_ = 0;
};

}  // namespace octobert

#endif  // OCTOBERT_ENGINE_FREE_LIST_H_
