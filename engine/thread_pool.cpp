// One piece of work (a "job": task, context, count) at a time. Index 0 is the caller's; threads claim the others one by
// one, each beginning with its own number: what an index touched in the last job is then in the right core's caches.
//
//   caller: owns busy_ → writes task_, context_, count_, pending_ → sets unclaimed_ → epoch_ += 1, wakes sleepers
//   caller: runs index 0
//   all:    claim an index, run it, look for another; then pending_ -= the number that this thread claimed
//   caller: waits for pending_ == 0 → busy_ = false
//
// A claim is an exchange of unclaimed_[i] from true to false; it stands for index i and, of a job with more indices
// than threads, i + threads_, i + 2 threads_ and so on. Whatever job the claimer came for, success means that the job
// which is published now has that index free; and that job can't end before the claimer has reported it through
// pending_. So the claimer may read task_, context_ and count_ then, and a thread that comes late to a job that is over
// finds nothing unclaimed or claims rightly from the next one. One that is late and looks while the next job is being
// published may miss some of it, but then epoch_ is not yet what it will be, and the thread looks again.
#include "octobert/thread_pool.h"

#include <linux/futex.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <climits>
#include <csignal>
#include <mutex>
#include <new>
#include <string>

#include "engine/fp_guard.h"
#include "octobert/error.h"

namespace octobert {
namespace {

using Clock = std::chrono::steady_clock;

// How long a pool thread looks for the next job before it sleeps: longer than what lies between two parallel regions
// of one call, short against anything that a user could see as load.
constexpr auto kIdleSpin = std::chrono::microseconds(20);
// How long a caller waits awake for the last tasks of others; a sleep and a wake cost about 10 us each.
constexpr auto kJoinSpin = std::chrono::microseconds(100);
constexpr int kMaxThreads = 4096;

void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#else
  __asm__ volatile("isb");  // waits tens of cycles; yield is a no-op on most cores
#endif
}

// True as soon as done() is; false after `limit`.
template <typename Done>
bool spin_until(Done done, Clock::duration limit) {
  const Clock::time_point end = Clock::now() + limit;
  do {
    for (int i = 0; i < 32; ++i) {
      if (done()) return true;
      pause();
    }
  } while (Clock::now() < end);
  return done();
}

// Sleeps unless `word` has changed from `expected`; may also return for no reason.
void futex_wait(std::atomic<uint32_t>& word, uint32_t expected) {
  static_assert(sizeof(word) == sizeof(uint32_t) && std::atomic<uint32_t>::is_always_lock_free);
  syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, expected, nullptr, nullptr, 0);
}
void futex_wake(std::atomic<uint32_t>& word, int threads) {
  syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, threads, nullptr, nullptr, 0);
}

}  // namespace

struct ThreadPool::Impl {
  explicit Impl(int threads);
  ~Impl();
  void run(int count, void (*task)(void*, int), void* context);

  const int threads_;

 private:
  // unclaimed_[1] to [threads_ - 1], beside the threads' number on a line that is only read.
  struct alignas(64) Flags {
    std::atomic<bool> of[64] = {};
  };
  std::unique_ptr<Flags[]> unclaimed_;
  std::atomic<bool>& unclaimed(int index) {
    return unclaimed_[static_cast<size_t>(index) / 64].of[static_cast<size_t>(index) % 64];
  }

  static void* thread_main(void* pool);
  void start();
  void work();
  uint32_t claim_and_run(int own);
  void run_from(int claimed) {
    for (int index = claimed; index < count_; index += threads_) task_(context_, index);
  }
  void wait_for_epoch_after(uint32_t seen);
  void wait_for_others();

  static void before_fork();
  static void after_fork_in_parent();
  static void after_fork_in_child();
  void forget_threads();

  // What a waking thread needs, on one cache line.
  alignas(64) std::atomic<uint32_t> epoch_{0};  // changes with every job and at the end; idle threads sleep on it
  int count_ = 0;
  void (*task_)(void*, int) = nullptr;
  void* context_ = nullptr;
  std::atomic<bool> stopping_{false};
  // What they report.
  alignas(64) std::atomic<uint32_t> pending_{0};  // claims not yet done; the caller sleeps on it
  std::atomic<bool> caller_sleeps_{false};
  // Rarely written.
  alignas(64) std::atomic<uint32_t> sleepers_{0};
  std::atomic<bool> busy_{false};
  int started_ = 0;               // threads running; changed by the owner of busy_
  uint32_t epoch_at_start_ = 0;   // before the first job that they can run
  std::atomic<int> numbered_{0};  // of them, those that have their number, 1 to threads_ - 1
  std::unique_ptr<pthread_t[]> handles_;
  bool asked_to_start_ = false;

  // Pools alive, so that a child of fork() can forget their threads.
  Impl* next_pool_ = nullptr;
  static std::mutex pools_mutex;
  static Impl* pools;
};

constinit std::mutex ThreadPool::Impl::pools_mutex;
constinit ThreadPool::Impl* ThreadPool::Impl::pools = nullptr;

ThreadPool::Impl::Impl(int threads)
    : threads_(threads),
      unclaimed_(new Flags[static_cast<size_t>(threads) / 64 + 1]),
      handles_(new pthread_t[static_cast<size_t>(threads)]) {
  static const int kFailed = pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
  if (kFailed != 0) throw std::bad_alloc();  // want of memory is its only failure
  const std::lock_guard lock(pools_mutex);
  next_pool_ = pools;
  pools = this;
}

ThreadPool::Impl::~Impl() {
  {
    const std::lock_guard lock(pools_mutex);
    Impl** link = &pools;
    while (*link != this) link = &(*link)->next_pool_;
    *link = next_pool_;
  }
  stopping_.store(true);
  epoch_.fetch_add(1);
  futex_wake(epoch_, INT_MAX);
  for (int i = 0; i < started_; ++i) pthread_join(handles_[static_cast<size_t>(i)], nullptr);
}

void ThreadPool::Impl::run(int count, void (*task)(void*, int), void* context) {
  // Alone, or the pool has work already (another caller's, or this very call comes out of a task): the caller is the
  // thread that there is for this work, and needs no other to finish it.
  if (count <= 1 || threads_ == 1 || busy_.exchange(true, std::memory_order_acquire)) {
    for (int i = 0; i < count; ++i) task(context, i);
    return;
  }
  if (!asked_to_start_) start();
  task_ = task;
  context_ = context;
  count_ = count;
  const int claims = std::min(count, threads_);
  pending_.store(static_cast<uint32_t>(claims - 1), std::memory_order_relaxed);
  for (int i = 1; i < claims; ++i) unclaimed(i).store(true, std::memory_order_release);
  // Sequentially consistent with the sleepers' count and check (wait_for_epoch_after): either a thread about to sleep
  // sees the new epoch, or we see it in sleepers_.
  epoch_.fetch_add(1, std::memory_order_seq_cst);
  if (sleepers_.load(std::memory_order_seq_cst) != 0) futex_wake(epoch_, std::min(count - 1, started_));

  run_from(0);
  if (const uint32_t ran = claim_and_run(1)) pending_.fetch_sub(ran, std::memory_order_acq_rel);
  wait_for_others();
  busy_.store(false, std::memory_order_release);
}

// Runs what is left of the present job, from index `own` on; how many claims that were. They are still to be reported.
uint32_t ThreadPool::Impl::claim_and_run(int own) {
  uint32_t ran = 0;
  const auto claim = [&](int i) {
    if (!unclaimed(i).load(std::memory_order_relaxed) || !unclaimed(i).exchange(false, std::memory_order_acq_rel))
      return;
    run_from(i);
    ++ran;
  };
  for (int i = own; i < threads_; ++i) claim(i);
  for (int i = 1; i < own; ++i) claim(i);
  return ran;
}

void ThreadPool::Impl::wait_for_others() {
  const auto done = [this] { return pending_.load(std::memory_order_acquire) == 0; };
  if (done() || spin_until(done, kJoinSpin)) return;
  caller_sleeps_.store(true, std::memory_order_seq_cst);
  while (const uint32_t pending = pending_.load(std::memory_order_seq_cst)) futex_wait(pending_, pending);
  caller_sleeps_.store(false, std::memory_order_relaxed);
}

void ThreadPool::Impl::work() {
  const FpGuard fp;  // threads inherit their creator's control word
  const int own = numbered_.fetch_add(1, std::memory_order_relaxed) + 1;
  // The first look, too, comes after a job's epoch: one before, while the job is being published, could miss its own
  // index and take another's, and so on with every job.
  uint32_t seen = epoch_at_start_;
  while (true) {
    wait_for_epoch_after(seen);
    seen = epoch_.load(std::memory_order_seq_cst);
    if (stopping_.load()) return;
    if (const uint32_t ran = claim_and_run(own)) {
      const bool last = pending_.fetch_sub(ran, std::memory_order_seq_cst) == ran;
      if (last && caller_sleeps_.load(std::memory_order_seq_cst)) futex_wake(pending_, 1);
    }
  }
}

void ThreadPool::Impl::wait_for_epoch_after(uint32_t seen) {
  if (spin_until([&] { return epoch_.load(std::memory_order_acquire) != seen; }, kIdleSpin)) return;
  sleepers_.fetch_add(1, std::memory_order_seq_cst);
  while (epoch_.load(std::memory_order_seq_cst) == seen) futex_wait(epoch_, seen);
  sleepers_.fetch_sub(1, std::memory_order_relaxed);
}

void* ThreadPool::Impl::thread_main(void* pool) {
  static_cast<Impl*>(pool)->work();
  return nullptr;
}

// Starts the threads; where the system gives fewer than asked for, those do the work.
void ThreadPool::Impl::start() {
  asked_to_start_ = true;
  epoch_at_start_ = epoch_.load(std::memory_order_relaxed);
  // Signals are for the host's threads.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  while (started_ < threads_ - 1) {
    pthread_t& handle = handles_[static_cast<size_t>(started_)];
    if (pthread_create(&handle, nullptr, thread_main, this) != 0) break;
    pthread_setname_np(handle, "octobert");
    ++started_;
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

// ---- fork: the child has a copy of the pool, perhaps in the middle of another thread's job, and none of its threads
// ----

void ThreadPool::Impl::before_fork() { pools_mutex.lock(); }
void ThreadPool::Impl::after_fork_in_parent() { pools_mutex.unlock(); }
void ThreadPool::Impl::after_fork_in_child() {
  for (Impl* pool = pools; pool != nullptr; pool = pool->next_pool_) pool->forget_threads();
  pools_mutex.unlock();
}

void ThreadPool::Impl::forget_threads() {
  for (int i = 1; i < threads_; ++i) unclaimed(i).store(false);
  numbered_.store(0);
  pending_.store(0);
  caller_sleeps_.store(false);
  sleepers_.store(0);
  started_ = 0;
  asked_to_start_ = false;
  busy_.store(false);
}

ThreadPool::ThreadPool(int threads) {
  if (threads < 0 || threads > kMaxThreads) {
    throw Error(ErrorCode::kInvalidInput, "threads: expected 0 (all usable cores) to " + std::to_string(kMaxThreads) +
                                              ", found " + std::to_string(threads));
  }
  impl_ = std::make_unique<Impl>(threads == 0 ? std::min(usable_cores(), kMaxThreads) : threads);
}
ThreadPool::~ThreadPool() = default;
int ThreadPool::concurrency() const { return impl_->threads_; }
void ThreadPool::run(int count, void (*task)(void* context, int index), void* context) {
  impl_->run(count, task, context);
}

}  // namespace octobert
