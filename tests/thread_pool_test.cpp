#include "octobert/thread_pool.h"

#include <gtest/gtest.h>
#include <pthread.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <memory>
#include <new>
#include <numeric>
#include <thread>
#include <vector>

#include "engine/parallel.h"
#include "octobert/error.h"

#if defined(__SANITIZE_THREAD__)
#define OCTOBERT_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define OCTOBERT_TSAN 1
#endif
#endif

#if !defined(OCTOBERT_TSAN)  // clang's has the operators itself
namespace {
std::atomic<long> allocations{0};
}  // namespace

// Count what run() must not do. Not inlined, or g++ takes free() for a mismatch of new.
[[gnu::noinline]] void* operator new(size_t size) {
  allocations.fetch_add(1, std::memory_order_relaxed);
  if (void* memory = std::malloc(size)) return memory;
  throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, size_t) noexcept { std::free(memory); }
#endif

namespace octobert {
namespace {

using namespace std::chrono_literals;

// run() for a callable.
template <typename Task>
void run(Executor& executor, int count, Task task) {
  executor.run(
      count, [](void* context, int index) { (*static_cast<Task*>(context))(index); }, &task);
}

size_t threads_of_this_process() {
  const std::filesystem::directory_iterator tasks("/proc/self/task");
  return static_cast<size_t>(std::distance(begin(tasks), end(tasks)));
}

// Returns when `count` threads are inside at the same time; false after ten seconds.
class Meeting {
 public:
  explicit Meeting(int count) : count_(count) {}
  bool meet() {
    arrived_.fetch_add(1);
    for (const auto end = std::chrono::steady_clock::now() + 10s; arrived_.load() < count_;) {
      if (std::chrono::steady_clock::now() > end) return false;
      std::this_thread::yield();
    }
    return true;
  }

 private:
  const int count_;
  std::atomic<int> arrived_{0};
};

// As many tasks as threads, that end only when all run at once: each thread of the pool must take part.
bool all_threads_take_part(ThreadPool& pool) {
  Meeting meeting(pool.concurrency());
  std::atomic<int> met{0};
  run(pool, pool.concurrency(), [&](int) { met += meeting.meet() ? 1 : 0; });
  return met == pool.concurrency();
}

class Pools : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Threads, Pools, testing::Values(1, 2, 3, 8));

TEST_P(Pools, EveryIndexOnce) {
  ThreadPool pool(GetParam());
  EXPECT_EQ(pool.concurrency(), GetParam());
  for (const int count : {0, 1, 2, 3, 7, 8, 9, 64, 1000}) {
    std::vector<int> times(static_cast<size_t>(count));
    run(pool, count, [&](int i) { ++times[static_cast<size_t>(i)]; });
    EXPECT_EQ(times, std::vector<int>(static_cast<size_t>(count), 1));
  }
}

// Runs tasks one after the other, the last first.
class Backwards : public Executor {
 public:
  int concurrency() const override { return 130; }
  void run(int count, void (*task)(void* context, int index), void* context) override {
    while (count-- > 0) task(context, count);
  }
};

void expect_every_item_once(Executor& executor, int count) {
  const Workers workers{&executor, count, 0};
  for (const int items : {0, 1, 2, 3, 7, 64, 65, 129, 1000}) {
    const auto taken = [&](const auto& share) {
      std::vector<std::atomic<int>> times(static_cast<size_t>(items));
      parallel_for(workers, items, share, [&](int worker, int item) {
        if (0 <= worker && worker < count) ++times[static_cast<size_t>(item)];
      });
      return std::count(times.begin(), times.end(), 1);
    };
    EXPECT_EQ(taken([&](int w) { return items * w / count; }), items);
    EXPECT_EQ(taken([&](int w) { return w == count ? items : 0; }), items);
    EXPECT_EQ(taken([&](int w) { return w == 0 ? 0 : items; }), items);
  }
}

TEST_P(Pools, ParallelForTakesEveryItemOnceWhoseverItIs) {
  ThreadPool pool(GetParam());
  expect_every_item_once(pool, GetParam());
  expect_every_item_once(pool, 130);
}

TEST(ParallelFor, TakesEveryItemOnceOnAnExecutorOfTheCallers) {
  Backwards executor;
  for (const int count : {1, 2, 63, 64, 65, 130}) expect_every_item_once(executor, count);
}

// In jobs that all threads take part in, each runs the same index every time.
TEST(ThreadPool, ThreadsKeepTheirIndex) {
  constexpr int kThreads = 4;
  ThreadPool pool(kThreads);
  std::vector<std::thread::id> first(kThreads);
  for (int job = 0; job < 50; ++job) {
    std::vector<std::thread::id> by(kThreads);
    Meeting meeting(kThreads);
    std::atomic<int> met{0};
    run(pool, kThreads, [&](int i) {
      by[static_cast<size_t>(i)] = std::this_thread::get_id();
      met += meeting.meet() ? 1 : 0;
    });
    ASSERT_EQ(met, kThreads);
    EXPECT_EQ(by[0], std::this_thread::get_id());
    if (job == 0) first = by;
    EXPECT_EQ(by, first);
  }
}

TEST_P(Pools, ManyShortJobsInARowSeeEachOthersResults) {
  ThreadPool pool(GetParam());
  std::vector<long> values(5);
  for (int job = 0; job < 3000; ++job) {
    run(pool, 5, [&](int i) {
      // Often another thread than the one that wrote it in the job before.
      values[static_cast<size_t>(i)] += job;
    });
  }
  EXPECT_EQ(values, std::vector<long>(5, 2999L * 3000 / 2));
}

TEST_P(Pools, AllThreadsTakePartAlsoAfterASleep) {
  ThreadPool pool(GetParam());
  for (int round = 0; round < 20; ++round) {
    ASSERT_TRUE(all_threads_take_part(pool)) << "round " << round;
    std::this_thread::sleep_for(round % 2 == 0 ? 0us : 1000us);
  }
}

TEST_P(Pools, TasksMayRunTasks) {
  ThreadPool pool(GetParam());
  std::atomic<int> ran{0};
  run(pool, 6, [&](int) { run(pool, 5, [&](int) { run(pool, 3, [&](int) { ++ran; }); }); });
  EXPECT_EQ(ran, 6 * 5 * 3);
}

TEST_P(Pools, SeveralCallersAtOnce) {
  ThreadPool pool(GetParam());
  std::vector<std::thread> callers;
  std::vector<long> sums(4);
  for (size_t caller = 0; caller < sums.size(); ++caller) {
    callers.emplace_back([&pool, &sum = sums[caller]] {
      for (int job = 0; job < 500; ++job) {
        std::vector<int> results(17);
        run(pool, 17, [&](int i) { results[static_cast<size_t>(i)] = i + job; });
        sum += std::accumulate(results.begin(), results.end(), 0L);
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(sums, std::vector<long>(4, 500L * 136 + 17L * (499 * 500 / 2)));
}

// While none starts: the system may go on counting one that has been joined for a moment.
size_t fewest_threads_of_this_process() {
  size_t fewest = threads_of_this_process();
  for (int i = 0; i < 50; ++i) {
    std::this_thread::sleep_for(2ms);
    fewest = std::min(fewest, threads_of_this_process());
  }
  return fewest;
}

TEST(ThreadPool, StartsItsThreadsAtTheFirstCallThatNeedsThem) {
  const size_t before = fewest_threads_of_this_process();
  ThreadPool pool(4);
  run(pool, 1, [](int) {});
  EXPECT_EQ(fewest_threads_of_this_process(), before);
  run(pool, 2, [](int) {});
  EXPECT_GE(threads_of_this_process(), before + 3);  // ThreadSanitizer starts one of its own
}

TEST(ThreadPool, EndsItsThreads) {
  {
    ThreadPool first(3);  // a sanitizer's own thread starts with the first of ours
    run(first, 8, [](int) {});
  }
  const size_t before = fewest_threads_of_this_process();
  for (int i = 0; i < 50; ++i) {
    ThreadPool pool(3);
    if (i % 2 == 0) std::this_thread::sleep_for(100us);
    run(pool, 8, [](int) {});
    if (i % 3 == 0) std::this_thread::sleep_for(100us);  // asleep or still spinning
  }
  // A joined thread may stay in /proc for a moment.
  for (int i = 0; i < 1000 && threads_of_this_process() > before; ++i) std::this_thread::sleep_for(1ms);
  EXPECT_EQ(threads_of_this_process(), before);
}

TEST(ThreadPool, DefaultIsTheUsableCores) { EXPECT_EQ(ThreadPool().concurrency(), usable_cores()); }

TEST(ThreadPool, RefusesNonsense) {
  EXPECT_THROW(ThreadPool(-1), Error);
  EXPECT_THROW(ThreadPool(1 << 20), Error);
}

#if !defined(OCTOBERT_TSAN)
TEST(ThreadPool, RunAllocatesNothing) {
  ThreadPool pool(3);
  run(pool, 8, [](int) {});
  const long before = allocations.load();
  for (int i = 0; i < 100; ++i) run(pool, 8, [](int) {});
  std::this_thread::sleep_for(1ms);
  run(pool, 8, [](int) {});
  EXPECT_EQ(allocations.load(), before);
}
#endif

TEST(ThreadPool, AnIdlePoolBurnsNothing) {
  ThreadPool pool(4);
  ASSERT_TRUE(all_threads_take_part(pool));
  std::this_thread::sleep_for(5ms);
  const std::clock_t before = std::clock();  // CPU time of all threads of this process
  std::this_thread::sleep_for(300ms);
  const double seconds = static_cast<double>(std::clock() - before) / CLOCKS_PER_SEC;
  EXPECT_LT(seconds, 0.003);  // 1 % of one of the four
}

TEST(ThreadPool, ThreadsBlockTheHostsSignalsAndKeepItsAffinity) {
  cpu_set_t process;
  ASSERT_EQ(sched_getaffinity(0, sizeof(process), &process), 0);
  ThreadPool pool(2);
  const std::thread::id caller = std::this_thread::get_id();
  Meeting meeting(2);
  std::atomic<int> checked{0};
  run(pool, 2, [&](int) {
    ASSERT_TRUE(meeting.meet());
    if (std::this_thread::get_id() == caller) return;
    sigset_t blocked;
    pthread_sigmask(SIG_SETMASK, nullptr, &blocked);
    EXPECT_TRUE(sigismember(&blocked, SIGINT) && sigismember(&blocked, SIGTERM) && sigismember(&blocked, SIGCHLD));
    cpu_set_t mine;
    EXPECT_EQ(sched_getaffinity(0, sizeof(mine), &mine), 0);
    EXPECT_TRUE(CPU_EQUAL(&mine, &process));
    ++checked;
  });
  EXPECT_EQ(checked, 1);
  sigset_t blocked;
  pthread_sigmask(SIG_SETMASK, nullptr, &blocked);
  EXPECT_FALSE(sigismember(&blocked, SIGINT));
}

#if defined(__x86_64__)
uint64_t fp_control() { return __builtin_ia32_stmxcsr() & ~0x3fu; }
void set_fp_control(uint64_t value) { __builtin_ia32_ldmxcsr(static_cast<uint32_t>(value)); }
constexpr uint64_t kFpDefault = 0x1f80, kFpStrange = 0xffc0;  // FTZ, DAZ, towards zero
#else
uint64_t fp_control() {
  uint64_t value;
  __asm__ volatile("mrs %0, fpcr" : "=r"(value));
  return value;
}
void set_fp_control(uint64_t value) { __asm__ volatile("msr fpcr, %0" ::"r"(value)); }
constexpr uint64_t kFpDefault = 0, kFpStrange = 0x1c00000;
#endif

TEST(ThreadPool, ThreadsHaveTheDefaultFloatingPointEnvironment) {
  set_fp_control(kFpStrange);
  ThreadPool pool(2);
  const std::thread::id caller = std::this_thread::get_id();
  Meeting meeting(2);
  std::atomic<uint64_t> on_caller{1}, on_pool{1};
  run(pool, 2, [&](int) {
    meeting.meet();
    (std::this_thread::get_id() == caller ? on_caller : on_pool) = fp_control();
  });
  set_fp_control(kFpDefault);
  EXPECT_EQ(on_pool, kFpDefault);
  EXPECT_EQ(on_caller, kFpStrange);  // the caller's is the caller's business (engine/fp_guard.h)
}

// ---- fork ----

// The child's verdict as exit status: 0 if check() holds. A child that hangs is killed by its alarm.
template <typename Check>
testing::AssertionResult holds_in_child(Check check) {
  const pid_t child = fork();
  if (child == 0) {
    alarm(20);
    _exit(check() ? 0 : 1);
  }
  int status = 0;
  if (child < 0 || waitpid(child, &status, 0) != child) return testing::AssertionFailure() << "fork failed";
  if (status == 0) return testing::AssertionSuccess();
  return testing::AssertionFailure() << "child's status " << status;
}

class ForkTest : public testing::Test {
 protected:
  void SetUp() override {
#if defined(OCTOBERT_TSAN)
    GTEST_SKIP() << "ThreadSanitizer supports no new threads in the child of a process that had threads";
#endif
  }
};

TEST_F(ForkTest, ChildStartsItsOwnThreads) {
  ThreadPool pool(3);
  ASSERT_TRUE(all_threads_take_part(pool));
  EXPECT_TRUE(holds_in_child([&] { return threads_of_this_process() == 1 && all_threads_take_part(pool); }));
  EXPECT_TRUE(all_threads_take_part(pool));
}

TEST_F(ForkTest, ChildMayDestroyThePool) {
  auto pool = std::make_unique<ThreadPool>(3);
  ASSERT_TRUE(all_threads_take_part(*pool));
  EXPECT_TRUE(holds_in_child([&] {
    pool.reset();
    ThreadPool other(2);
    return all_threads_take_part(other);
  }));
}

TEST_F(ForkTest, WhileAnotherThreadUsesThePool) {
  ThreadPool pool(3);
  std::atomic<bool> stop{false};
  std::thread busy([&] {
    while (!stop) run(pool, 6, [](int) { std::this_thread::yield(); });
  });
  for (int i = 0; i < 20; ++i) {
    EXPECT_TRUE(holds_in_child([&] { return all_threads_take_part(pool); }));
  }
  stop = true;
  busy.join();
}

TEST_F(ForkTest, GrandchildrenToo) {
  ThreadPool pool(2);
  EXPECT_TRUE(holds_in_child([&] {
    return all_threads_take_part(pool) &&
           static_cast<bool>(holds_in_child([&] { return all_threads_take_part(pool); })) &&
           all_threads_take_part(pool);
  }));
}

}  // namespace
}  // namespace octobert
