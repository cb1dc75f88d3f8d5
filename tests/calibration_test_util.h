// Values and statistics that the tests of calibration share.
#ifndef OCTOBERT_TESTS_CALIBRATION_TEST_UTIL_H_
#define OCTOBERT_TESTS_CALIBRATION_TEST_UTIL_H_

#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

#include "converter/observers.h"
#include "octobert/thread_pool.h"

namespace octobert::converter {

inline std::vector<float> normal_values(size_t count, uint32_t seed, float deviation = 1.0f) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.0f, deviation);
  std::vector<float> values(count);
  for (float& value : values) value = normal(random);
  return values;
}

inline SiteStatistics statistics_of(const std::vector<float>& data, size_t columns, std::vector<int32_t> offsets = {},
                                    int threads = 1) {
  ThreadPool pool(threads);
  SiteStatistics site(static_cast<int>(columns));
  if (offsets.empty()) offsets = {0, static_cast<int32_t>(data.size() / columns)};
  site.add(pool, data.data(), columns, offsets);
  return site;
}

}  // namespace octobert::converter

#endif  // OCTOBERT_TESTS_CALIBRATION_TEST_UTIL_H_
