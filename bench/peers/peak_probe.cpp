// How much arithmetic the processor can do from registers alone, and how fast memory streams: the ceilings that every
// engine's figures are set against, measured in the same run.
//
//   peers_peak_probe CPU[,CPU...] [--seconds X] [--stream-mb N]...
//
// One thread on each named CPU. One JSON line a case: {"name", "unit", "threads", "value", "low", "high"}; `value` is
// the median of the trials, all threads together. A multiply-accumulate of 8-bit numbers counts as one (GMAC/s).
#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string_view>
#include <thread>
#include <vector>

#include "apps/peak.h"

#if !defined(__x86_64__)
#error "The probe knows x86-64's instructions only; elsewhere the report leaves the shares of the peak out."
#endif

namespace {

using octobert::CpuFeatures;
using octobert::bench::PeakLoop;

// ---- trials ----
constexpr int kTrials = 9;

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

// Runs body(thread) on every CPU at once; seconds from the first start to the last end.
template <class Body>
double run_on(const std::vector<int>& cpus, Body body) {
  std::atomic<size_t> ready{0};
  std::vector<double> begin(cpus.size()), end(cpus.size());
  std::vector<std::thread> threads;
  for (size_t i = 0; i < cpus.size(); ++i) {
    threads.emplace_back([&, i] {
      cpu_set_t set;
      CPU_ZERO(&set);
      CPU_SET(static_cast<size_t>(cpus[i]), &set);
      pthread_setaffinity_np(pthread_self(), sizeof set, &set);
      ready.fetch_add(1);
      while (ready.load() < cpus.size()) std::this_thread::yield();
      begin[i] = now();
      body(i);
      end[i] = now();
    });
  }
  for (std::thread& thread : threads) thread.join();
  return *std::max_element(end.begin(), end.end()) - *std::min_element(begin.begin(), begin.end());
}

void print(const char* name, const char* unit, size_t threads, std::vector<double> rates) {
  std::sort(rates.begin(), rates.end());
  std::printf(R"({"name": "%s", "unit": "%s", "threads": %zu, "value": %.3f, "low": %.3f, "high": %.3f})"
              "\n",
              name, unit, threads, rates[rates.size() / 2], rates.front(), rates.back());
  std::fflush(stdout);
}

void measure(const PeakLoop& what, const std::vector<int>& cpus, double seconds) {
  uint64_t trips = 1000;
  double took = 0;
  while ((took = run_on(cpus, [&](size_t) { what.run(trips); })) < 0.01) trips *= 4;
  trips = static_cast<uint64_t>(static_cast<double>(trips) * std::max(seconds / kTrials / took, 0.1)) + 1;
  const double sharers =
      std::string_view(what.unit) == "GHz" ? 1 : static_cast<double>(cpus.size());  // a clock does not add up
  std::vector<double> rates;
  for (int i = 0; i < kTrials; ++i) {
    took = run_on(cpus, [&](size_t) { what.run(trips); });
    rates.push_back(what.work * static_cast<double>(trips) * sharers / took / 1e9);
  }
  print(what.name, what.unit, cpus.size(), rates);
}

// Reads [data, data + bytes), a multiple of 256, with 32-byte loads: what a core can take in from memory.
void read_stream(const std::byte* data, size_t bytes) {
  size_t left = bytes / 256;
  asm volatile(
      "1:\n.irp n,0,32,64,96,128,160,192,224\nvmovdqu \\n(%0), %%ymm0\n.endr\n"
      "add $256, %0\ndec %1\njnz 1b\nvzeroupper"
      : "+r"(data), "+r"(left)
      :
      : "cc", "memory", "xmm0");
}

// Every thread reads its own part of one buffer again and again.
void measure_stream(size_t megabytes, const std::vector<int>& cpus, double seconds) {
  constexpr size_t kHugePage = 2 << 20;
  const size_t part = megabytes * 1000000 / cpus.size() / 4096 * 4096;
  const size_t size = (part * cpus.size() + kHugePage - 1) / kHugePage * kHugePage;
  const std::unique_ptr<std::byte, decltype(&std::free)> buffer(
      static_cast<std::byte*>(std::aligned_alloc(kHugePage, size)), &std::free);
  if (!buffer) {
    std::fprintf(stderr, "no memory for %zu bytes\n", size);
    std::exit(1);
  }
  std::memset(buffer.get(), 1, size);
  const auto pass = [&](size_t i) { read_stream(buffer.get() + part * i, part); };
  const double once = run_on(cpus, pass);
  const int passes = std::max(1, static_cast<int>(seconds / kTrials / once));
  std::vector<double> rates;
  for (int trial = 0; trial < kTrials; ++trial) {
    const double took = run_on(cpus, [&](size_t i) {
      for (int n = 0; n < passes; ++n) pass(i);
    });
    rates.push_back(static_cast<double>(part * cpus.size()) * passes / took / 1e9);
  }
  char name[32];
  std::snprintf(name, sizeof name, "stream_%zuMB", megabytes);
  print(name, "GB/s", cpus.size(), rates);
}

// ---- command line ----
template <class Number>
Number parse(std::string_view text) {
  Number number{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || !(number >= 0)) {
    std::fprintf(stderr, "expected a number, found \"%.*s\"\n", static_cast<int>(text.size()), text.data());
    std::exit(2);
  }
  return number;
}

std::vector<int> parse_list(std::string_view text) {
  std::vector<int> numbers;
  for (size_t comma = 0; comma != text.npos; text.remove_prefix(std::min(comma + 1, text.size()))) {
    comma = text.find(',');
    numbers.push_back(parse<int>(text.substr(0, comma)));
  }
  return numbers;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2 || argc % 2 != 0) {
    std::fprintf(stderr, "usage: peers_peak_probe CPU[,CPU...] [--seconds X] [--stream-mb N]...\n");
    return 2;
  }
  const std::vector<int> cpus = parse_list(argv[1]);
  double seconds = 0.3;
  std::vector<size_t> streams;
  for (int i = 2; i < argc; i += 2) {
    const std::string_view option = argv[i];
    if (option == "--seconds") {
      seconds = parse<double>(argv[i + 1]);
    } else if (option == "--stream-mb") {
      streams.push_back(parse<size_t>(argv[i + 1]));
    } else {
      std::fprintf(stderr, "unknown option \"%s\"\n", argv[i]);
      return 2;
    }
  }
  const CpuFeatures features = octobert::detect_cpu_features();
  for (const PeakLoop& what : octobert::bench::peak_loops()) {
    if ((features & what.needs) == what.needs) measure(what, cpus, seconds);
  }
  if ((features & octobert::kFeatureAvx2) != 0) {
    for (const size_t megabytes : streams) measure_stream(std::max<size_t>(megabytes, 1), cpus, seconds);
  }
}
