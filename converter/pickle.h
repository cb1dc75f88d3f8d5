// A restricted reader of Python pickles: builds a tree of plain values and runs nothing. A pickle is a program for a
// stack machine whose GLOBAL and REDUCE call any function by name; here names come from a list, and a call is only
// written down ("rebuild a tensor from these arguments") for the reader of the tree to make sense of.
#ifndef OCTOBERT_CONVERTER_PICKLE_H_
#define OCTOBERT_CONVERTER_PICKLE_H_

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace octobert::converter {

struct PickleValue {
  enum class Kind { kNone, kBool, kInt, kFloat, kString, kTuple, kList, kDict, kGlobal, kPersistent, kCall };
  Kind kind = Kind::kNone;
  int64_t integer = 0;  // kInt, kBool
  double real = 0;      // kFloat
  std::string text;     // kString; kGlobal: "torch._utils _rebuild_tensor_v2"
  std::vector<const PickleValue*>
      items;  // kDict: key, value, key, value, ...; kPersistent: the id; kCall: function, arguments

  bool is_global(std::string_view name) const { return kind == Kind::kGlobal && text == name; }
};

// A pickle's tree; shared parts may occur in it several times, and a hostile one may contain itself: walk it to a
// bounded depth.
class Pickle {
 public:
  // One pickle of protocol 2 to 5 that ends with STOP; bytes after it are ignored. `allowed`: names that GLOBAL may
  // give, "module name". Memory is at most proportional to the bytes. Throws Error(kFormat) for a damaged pickle,
  // Error(kUnsupported) naming an operation or a GLOBAL that is not allowed. `source`: for messages.
  Pickle(std::string_view bytes, std::span<const std::string_view> allowed, const std::string& source);

  const PickleValue& root() const { return *root_; }

 private:
  friend class PickleMachine;
  std::vector<std::unique_ptr<PickleValue>> values_;
  const PickleValue* root_ = nullptr;
};

}  // namespace octobert::converter

#endif  // OCTOBERT_CONVERTER_PICKLE_H_
