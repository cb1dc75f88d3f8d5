// octobert bench --profile: where the time of a shape goes, by operation and layer.
#ifndef OCTOBERT_APPS_BENCH_PROFILE_H_
#define OCTOBERT_APPS_BENCH_PROFILE_H_

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "octobert/engine.h"

namespace octobert::apps {

// What one call computes: a PackedBatch's ids and offsets.
struct BenchCall {
  std::vector<int32_t> ids;
  std::vector<int32_t> offsets = {0};
};

// Multiply-accumulates of the matrix products, attention's two included: the useful work, as the peers' tables count
// it. For a text of S tokens, per layer, S (4 D^2 + 2 D F) and 2 S^2 D; and the classifier's.
double multiply_accumulates(const Engine& engine, std::span<const BenchCall> calls);

// Runs `calls` again and again for `seconds` and appends a table (or a JSON object a line) of thread time per
// repetition. A product's share of the peak is the time that its multiply-accumulates take from registers alone
// (measured between repetitions, on one thread) over the time that it took; where the layers have no product of its
// kind of numbers, that peak is not measured.
void append_profile(const Engine& engine, const std::string& shape, std::span<const BenchCall> calls, double seconds,
                    bool json, std::string& out);

}  // namespace octobert::apps

#endif  // OCTOBERT_APPS_BENCH_PROFILE_H_
