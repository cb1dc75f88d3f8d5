// Tokens of one text before truncation and template, in a growing buffer that is reused from call to call.
#ifndef OCTOBERT_TOKENIZER_TOKEN_BUFFER_H_
#define OCTOBERT_TOKENIZER_TOKEN_BUFFER_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

namespace octobert {

// Where a source character lies: its first byte and its index in code points.
struct Place {
  uint32_t byte = 0;
  uint32_t code_point = 0;
};

struct Token {
  uint32_t id;
  uint32_t word;
  Place begin;
  Place end;
};

// Like a vector, but growth leaves new elements unwritten: they are written once, by whoever reserved them.
class TokenBuffer {
 public:
  size_t size() const { return size_; }
  void clear() { size_ = 0; }
  void truncate(size_t size) { size_ = size; }
  std::span<Token> tokens() { return {tokens_.get(), size_}; }

  // Makes room for `count` more, which push() then needs not check.
  void reserve_more(size_t count) {
    if (capacity_ - size_ < count) grow(count);
  }
  void push(const Token& token) { tokens_[size_++] = token; }

  size_t capacity_bytes() const { return capacity_ * sizeof(Token); }

 private:
  void grow(size_t count) {
    const size_t capacity = std::max(size_ + count, capacity_ + capacity_ / 2);
    auto tokens = std::make_unique_for_overwrite<Token[]>(capacity);
    std::copy_n(tokens_.get(), size_, tokens.get());
    tokens_ = std::move(tokens);
    capacity_ = capacity;
  }

  std::unique_ptr<Token[]> tokens_;
  size_t size_ = 0;
  size_t capacity_ = 0;
};

}  // namespace octobert

#endif  // OCTOBERT_TOKENIZER_TOKEN_BUFFER_H_
