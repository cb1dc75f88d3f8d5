// Errors of the library: thrown at the edges (open, convert, bad user input), never by the kernels.
#ifndef OCTOBERT_ERROR_H_
#define OCTOBERT_ERROR_H_

#include <stdexcept>
#include <string>

#include "octobert/export.h"

namespace octobert {

enum class ErrorCode {
  kIo,            // a file can't be opened, read, mapped or written
  kFormat,        // a file's content is not what its format says (names file, field, expected, found)
  kUnsupported,   // valid, but not something this build can do (other family, newer version, other machine)
  kInvalidInput,  // a caller's argument: invalid UTF-8, an id out of range, an unknown label
  kNumeric,       // a non-finite logit
  kCancelled,     // the caller's CancelToken was set
  kCheckFailed,   // a bar that the caller asked for was not met (agreement, test vectors)
};

class OCTOBERT_API Error : public std::runtime_error {
 public:
  Error(ErrorCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
  ErrorCode code() const noexcept { return code_; }

 private:
  ErrorCode code_;
};

}  // namespace octobert

#endif  // OCTOBERT_ERROR_H_
