// Operations as in Python's Lib/pickletools.py; those that PyTorch writes, and no others.
#include "converter/pickle.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <unordered_map>

#include "octobert/error.h"

namespace octobert::converter {
namespace {
using Kind = PickleValue::Kind;
}  // namespace

class PickleMachine {
 public:
  PickleMachine(std::string_view bytes, std::span<const std::string_view> allowed, const std::string& source,
                Pickle& pickle)
      : bytes_(bytes), allowed_(allowed), source_(source), pickle_(pickle) {}

  const PickleValue* run() {
    for (;;) {
      const auto operation = static_cast<uint8_t>(take(1)[0]);
      if (operation == '.') return pop();
      if (!push_constant(operation) && !use_memo(operation) && !build(operation)) {
        throw Error(ErrorCode::kUnsupported,
                    fmt::format("{}: pickle: operation 0x{:02x} at byte {} is not one that is read", source_, operation,
                                position_ - 1));
      }
    }
  }

 private:
  [[noreturn]] void fail(const std::string& problem) const {
    throw Error(ErrorCode::kFormat, fmt::format("{}: damaged pickle at byte {}: {}", source_, position_, problem));
  }

  std::string_view take(uint64_t count) {
    if (count > bytes_.size() - position_) fail("it ends too early");
    const std::string_view taken = bytes_.substr(position_, static_cast<size_t>(count));
    position_ += static_cast<size_t>(count);
    return taken;
  }

  uint64_t take_unsigned(size_t width) {
    uint64_t value = 0;
    const std::string_view taken = take(width);
    for (size_t i = 0; i < width; ++i) value |= uint64_t{static_cast<uint8_t>(taken[i])} << (8 * i);
    return value;
  }

  std::string take_line() {
    const size_t end = bytes_.find('\n', position_);
    if (end == std::string_view::npos) fail("a line without an end");
    std::string line(bytes_.substr(position_, end - position_));
    position_ = end + 1;
    return line;
  }

  PickleValue* make(Kind kind) {
    pickle_.values_.push_back(std::make_unique<PickleValue>());
    pickle_.values_.back()->kind = kind;
    return pickle_.values_.back().get();
  }

  PickleValue* push(Kind kind) {
    stack_.push_back(make(kind));
    return stack_.back();
  }

  bool push_int(int64_t value) {
    push(Kind::kInt)->integer = value;
    return true;
  }
  bool push_bool(bool value) {
    push(Kind::kBool)->integer = value;
    return true;
  }
  bool push_string(std::string_view value) {
    push(Kind::kString)->text = value;
    return true;
  }

  // What is above the innermost mark stays out of reach of pop(): an operation cannot take it by accident.
  PickleValue* pop() {
    if (stack_.size() <= (marks_.empty() ? 0 : marks_.back())) fail("the stack is empty");
    PickleValue* top = stack_.back();
    stack_.pop_back();
    return top;
  }
  PickleValue* top() {
    PickleValue* value = pop();
    stack_.push_back(value);
    return value;
  }
  std::vector<const PickleValue*> pop_mark() {
    if (marks_.empty()) fail("a mark is missing");
    std::vector<const PickleValue*> items(stack_.begin() + static_cast<ptrdiff_t>(marks_.back()), stack_.end());
    stack_.resize(marks_.back());
    marks_.pop_back();
    return items;
  }

  int64_t take_long() {  // LONG1: little-endian two's complement of any length, here at most 8 bytes
    const size_t width = static_cast<size_t>(take_unsigned(1));
    if (width > 8) fail("an integer of more than 64 bits");
    if (width == 0) return 0;
    uint64_t value = take_unsigned(width);
    if (width < 8 && (value >> (8 * width - 1)) != 0) value |= ~uint64_t{0} << (8 * width);
    return static_cast<int64_t>(value);
  }

  double take_double() {  // BINFLOAT: big-endian
    uint64_t bits = 0;
    for (const char c : take(8)) bits = bits << 8 | static_cast<uint8_t>(c);
    return std::bit_cast<double>(bits);
  }

  bool push_global(const std::string& name) {
    if (std::find(allowed_.begin(), allowed_.end(), name) == allowed_.end()) {
      throw Error(ErrorCode::kUnsupported,
                  fmt::format("{}: the pickle names '{}', which is not part of a state dict of tensors; it is not run. "
                              "Save the model's state_dict(), or better safetensors",
                              source_, name.substr(0, 200)));
    }
    push(Kind::kGlobal)->text = name;
    return true;
  }

  bool push_constant(uint8_t operation) {
    switch (operation) {
      case 0x80:  // PROTO
        if (const uint64_t version = take_unsigned(1); version < 2 || version > 5) {
          fail(fmt::format("protocol {}", version));
        }
        return true;
      case 0x95:  // FRAME: a hint of length
        take(8);
        return true;
      case 'N':
        push(Kind::kNone);
        return true;
      case 0x88:
        return push_bool(true);
      case 0x89:
        return push_bool(false);
      case 'J':
        return push_int(static_cast<int32_t>(take_unsigned(4)));
      case 'K':
        return push_int(static_cast<int64_t>(take_unsigned(1)));
      case 'M':
        return push_int(static_cast<int64_t>(take_unsigned(2)));
      case 0x8a:
        return push_int(take_long());
      case 'G':
        push(Kind::kFloat)->real = take_double();
        return true;
      case 'X':  // BINUNICODE
        return push_string(take(take_unsigned(4)));
      case 0x8c:  // SHORT_BINUNICODE
      case 'U':   // SHORT_BINSTRING
        return push_string(take(take_unsigned(1)));
      case 'c': {  // GLOBAL
        const std::string module = take_line();
        return push_global(module + " " + take_line());
      }
      case 0x93: {  // STACK_GLOBAL
        const PickleValue *name = pop(), *module = pop();
        if (name->kind != Kind::kString || module->kind != Kind::kString) fail("the name of a global is not a string");
        return push_global(module->text + " " + name->text);
      }
      default:
        return false;
    }
  }

  bool put(uint64_t index) {
    memo_[index] = top();
    return true;
  }
  bool get(uint64_t index) {
    const auto found = memo_.find(index);
    if (found == memo_.end()) fail(fmt::format("memo {} was never set", index));
    stack_.push_back(found->second);
    return true;
  }

  bool use_memo(uint8_t operation) {
    switch (operation) {
      case 'q':
        return put(take_unsigned(1));
      case 'r':
        return put(take_unsigned(4));
      case 0x94:  // MEMOIZE
        return put(memo_.size());
      case 'h':
        return get(take_unsigned(1));
      case 'j':
        return get(take_unsigned(4));
      default:
        return false;
    }
  }

  bool push_tuple(size_t count) {
    std::vector<const PickleValue*> items(count);
    for (size_t i = count; i-- > 0;) items[i] = pop();
    push(Kind::kTuple)->items = std::move(items);
    return true;
  }

  PickleValue* top_of(Kind kind, const char* name) {
    PickleValue* value = top();
    if (value->kind != kind) fail(fmt::format("expected a {}", name));
    return value;
  }

  bool set_items(const std::vector<const PickleValue*>& items) {
    PickleValue* dict = top_of(Kind::kDict, "dict");
    if (items.size() % 2 != 0) fail("a key without a value");
    dict->items.insert(dict->items.end(), items.begin(), items.end());
    return true;
  }

  bool append(const std::vector<const PickleValue*>& items) {
    PickleValue* list = top_of(Kind::kList, "list");
    list->items.insert(list->items.end(), items.begin(), items.end());
    return true;
  }

  bool call() {  // REDUCE, NEWOBJ
    const PickleValue *arguments = pop(), *function = pop();
    if (function->kind != Kind::kGlobal || arguments->kind != Kind::kTuple) fail("a call of what is not a function");
    if (function->text == "collections OrderedDict") {
      if (!arguments->items.empty()) fail("an OrderedDict with arguments");
      push(Kind::kDict);
    } else {
      push(Kind::kCall)->items = {function, arguments};
    }
    return true;
  }

  bool build(uint8_t operation) {
    switch (operation) {
      case '(':
        marks_.push_back(stack_.size());
        return true;
      case 't':
        push_marked_tuple();
        return true;
      case ')':
        return push_tuple(0);
      case 0x85:
        return push_tuple(1);
      case 0x86:
        return push_tuple(2);
      case 0x87:
        return push_tuple(3);
      case '}':
        push(Kind::kDict);
        return true;
      case ']':
        push(Kind::kList);
        return true;
      case 's': {
        const PickleValue *value = pop(), *key = pop();
        return set_items({key, value});
      }
      case 'u':
        return set_items(pop_mark());
      case 'a':
        return append({pop()});
      case 'e':
        return append(pop_mark());
      case 'Q': {  // BINPERSID
        const PickleValue* id = pop();
        push(Kind::kPersistent)->items = {id};
        return true;
      }
      case 'R':
      case 0x81:
        return call();
      case 'b':  // BUILD: attributes of an object, here a state dict's _metadata: not needed
        pop();
        top();
        return true;
      default:
        return false;
    }
  }

  void push_marked_tuple() {
    std::vector<const PickleValue*> items = pop_mark();
    push(Kind::kTuple)->items = std::move(items);
  }

  std::string_view bytes_;
  std::span<const std::string_view> allowed_;
  const std::string& source_;
  Pickle& pickle_;
  size_t position_ = 0;
  std::vector<PickleValue*> stack_;
  std::vector<size_t> marks_;
  std::unordered_map<uint64_t, PickleValue*> memo_;
};

Pickle::Pickle(std::string_view bytes, std::span<const std::string_view> allowed, const std::string& source) {
  root_ = PickleMachine(bytes, allowed, source, *this).run();
}

}  // namespace octobert::converter
