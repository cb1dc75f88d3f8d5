// Data that only some machines have: the developers' folder beside the repository.
#ifndef OCTOBERT_TESTS_SHARED_DATA_H_
#define OCTOBERT_TESTS_SHARED_DATA_H_

#include <gtest/gtest.h>

#include <filesystem>

namespace octobert::test {

inline std::filesystem::path source_folder() { return OCTOBERT_SOURCE_DIR; }
inline std::filesystem::path shared_folder() { return source_folder().parent_path() / "shared"; }

}  // namespace octobert::test

// Ends the test as skipped, with a reason that the test run counts, where the data is not there.
#define OCTOBERT_SKIP_WITHOUT(path) \
  if (!std::filesystem::exists(path)) GTEST_SKIP() << "needs ../shared: " << (path)

#endif  // OCTOBERT_TESTS_SHARED_DATA_H_
