// What the tests of packed files share: a small one, and what opening it says.
#ifndef OCTOBERT_TESTS_MODEL_FILE_TEST_UTIL_H_
#define OCTOBERT_TESTS_MODEL_FILE_TEST_UTIL_H_

#include <gtest/gtest.h>

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "engine/model_file.h"
#include "octobert/error.h"
#include "tests/packed_image.h"
#include "tests/tiny_model.h"

namespace octobert::test {

inline std::vector<std::byte> tiny_image() {
  return TinyModel({.hidden = 8, .layers = 1, .heads = 2, .intermediate = 12, .vocab = 12, .positions = 6}).pack();
}

// What opening says, through make_bert_model; "" if nothing.
struct Outcome {
  ErrorCode code;
  std::string message;
};
inline Outcome open_image(std::span<const std::byte> bytes, const ModelFileOptions& options = {}) {
  try {
    const ModelFile file = ModelFile::open_memory(bytes, options, "test.octo");
    make_bert_model(file);
    return {ErrorCode::kIo, ""};
  } catch (const Error& e) {
    return {e.code(), e.what()};
  }
}

inline void expect_refused(PackedImage& image, ErrorCode code, const std::string& part) {
  image.fix_checksums();
  const Outcome outcome = open_image(image.view());
  EXPECT_NE(outcome.message.find(part), std::string::npos) << "said: " << outcome.message;
  EXPECT_NE(outcome.message.find("test.octo"), std::string::npos) << "said: " << outcome.message;
  EXPECT_EQ(outcome.code, code) << outcome.message;
}

}  // namespace octobert::test

#endif  // OCTOBERT_TESTS_MODEL_FILE_TEST_UTIL_H_
