// What the engine's tests share.
#ifndef OCTOBERT_TESTS_ENGINE_TEST_UTIL_H_
#define OCTOBERT_TESTS_ENGINE_TEST_UTIL_H_

#include <gtest/gtest.h>

#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "octobert/engine.h"
#include "tests/tiny_model.h"

namespace octobert::test {

inline std::vector<float> logits_of(const Engine& engine, const RandomBatch& b) {
  Workspace workspace;
  std::vector<float> logits(b.ids.size() * engine.labels().size());
  engine.logits(b.batch(), logits, workspace);
  return logits;
}

// EXPECT_EQ would take -0 for 0.
inline void expect_equal_bits(std::span<const float> a, std::span<const float> b, const std::string& what) {
  ASSERT_EQ(a.size(), b.size()) << what;
  EXPECT_EQ(std::memcmp(a.data(), b.data(), a.size_bytes()), 0) << what;
}

}  // namespace octobert::test

#endif  // OCTOBERT_TESTS_ENGINE_TEST_UTIL_H_
