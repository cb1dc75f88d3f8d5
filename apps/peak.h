// How much arithmetic a core can do from registers alone: the ceilings that kernels and engines are set against.
// A multiply-accumulate of 8-bit numbers, or of floats, counts as one.
#ifndef OCTOBERT_APPS_PEAK_H_
#define OCTOBERT_APPS_PEAK_H_

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/cpu.h"
#include "kernels/kernels.h"

namespace octobert::bench {

struct PeakLoop {
  const char* name;
  const char* unit;  // "GMAC/s" or "GHz"
  CpuFeatures needs;
  void (*run)(uint64_t trips);
  double work;  // of one trip: multiply-accumulates, or cycles
};

// All that are known for this architecture; empty but on x86-64.
std::span<const PeakLoop> peak_loops();

// The loop of the products of `kernels` (int8, or float), null where none is known or this processor lacks it.
const PeakLoop* peak_loop_of(const KernelTable& kernels, bool floats);

// What `loop` does a second on the calling thread, in its unit: the best of several trials of about `seconds` in all,
// since whatever else runs only ever lowers a ceiling.
double measure_peak(const PeakLoop& loop, double seconds);

// The same in turns with what is set against it, so that both have the clock of the same moments: one that wanders from
// 2.6 to 3.4 GHz within seconds (seen on Emerald Rapids) cancels. On the calling thread.
class PeakTurns {
 public:
  explicit PeakTurns(const PeakLoop* loop);  // null: nothing is done, the rate is 0
  void turn();                               // takes about 0.75 ms
  double rate() const;                       // the median of all turns, in the loop's unit; 0 before the first

 private:
  const PeakLoop* loop_;
  uint64_t trips_ = 0;
  std::vector<double> seconds_;  // of each turn
};

}  // namespace octobert::bench

#endif  // OCTOBERT_APPS_PEAK_H_
