// What an action that must fail says.
#ifndef OCTOBERT_TESTS_ERRORS_H_
#define OCTOBERT_TESTS_ERRORS_H_

#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "octobert/error.h"

namespace octobert::test {

// The message of the Error that action() throws, whose code must be this one; "no error" if it throws none.
inline std::string error_of(const std::function<void()>& action, ErrorCode code) {
  try {
    action();
    return "no error";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), code) << e.what();
    return e.what();
  }
}

inline bool holds(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace octobert::test

#endif  // OCTOBERT_TESTS_ERRORS_H_
