// How texts are cut: parts for the tokenizer, windows for the model.
#ifndef OCTOBERT_ENGINE_WINDOWS_H_
#define OCTOBERT_ENGINE_WINDOWS_H_

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "octobert/engine.h"

namespace octobert {

// How a call cuts its texts.
struct WindowPlan {
  size_t room = 0;           // tokens of the text in a window
  size_t stride = 0;         // of them shared by neighbours
  bool our_windows = false;  // window_extent()'s; else the tokenizer's chunks
  TokenizeOptions tokenize;
};

// Throws Error(kInvalidInput) for a max_length or stride that can't be.
WindowPlan plan_windows(const AnalyzeOptions& options, const Engine& engine);

// Tokens [begin, end) of a text of `tokens` that window number `index` shows, and those it owns: each token belongs to
// the window that shows the most of what is around it, counted in tokens to the nearer border of the window (a border
// of the text is no border); the earlier window of equals. Windows of `room` tokens overlap by `stride` < room. Windows
// are cut without regard to words: with the default stride no token is near the border of its own window.
struct WindowExtent {
  size_t begin, end, own_begin, own_end;
};
WindowExtent window_extent(size_t index, size_t tokens, size_t room, size_t stride);

// Bytes at the beginning of a long text that the tokenizer can take by themselves; all if it is short or has no place
// to cut. So the tokens of a text of megabytes need not be in memory at once.
size_t part_size(std::string_view text, const Tokenizer& tokenizer);

// The same for words: how many.
size_t part_size(std::span<const std::string_view> words);

// Tokens that the template added at the beginning and the end of a chunk.
struct Specials {
  size_t before = 0, after = 0;
};
Specials template_specials(const Encoding& encoding);

// Tokens as arrays, named as in Encoding.
struct TokenRows {
  std::vector<int32_t> ids, type_ids, words;
  std::vector<Span> bytes, codepoints;

  size_t size() const { return ids.size(); }
  void clear();
  // Tokens [begin, end) of an Encoding or other TokenRows.
  template <class Tokens>
  void append(const Tokens& from, size_t begin, size_t end) {
    const auto copy = [&](auto& to, const auto& source) {
      to.insert(to.end(), source.begin() + static_cast<std::ptrdiff_t>(begin),
                source.begin() + static_cast<std::ptrdiff_t>(end));
    };
    copy(ids, from.ids);
    copy(type_ids, from.type_ids);
    copy(words, from.words);
    copy(bytes, from.bytes);
    copy(codepoints, from.codepoints);
  }
  void erase_front(size_t count);
};

// The tokens of a text that comes in parts, of which windows are made as it goes. Template specials are left out.
class TokenStream {
 public:
  void clear();
  // The next part's tokens, at these places of the text: its first byte, code point, and word of the caller's.
  void append(const Encoding& part, uint32_t byte, uint32_t codepoint, int32_t word);
  // For a part of a text whose words are counted on from those before.
  int32_t next_word() const { return next_word_; }
  // Sets `extent` to the next window's; false if that needs more of the text, or (`complete`) there is none.
  bool next_window(const WindowPlan& plan, bool complete, WindowExtent& extent);
  bool is_first() const { return windows_ == 1; }  // the window that next_window() gave
  size_t tokens() const { return first_ + rows_.size(); }
  // Where they are: token t of the text is row t - first().
  const TokenRows& rows() const { return rows_; }
  size_t first() const { return first_; }
  // Forgets what no later window shows.
  void drop(const WindowPlan& plan);

 private:
  TokenRows rows_;
  size_t first_ = 0, windows_ = 0, window_end_ = 0;
  int32_t next_word_ = 0;
};

}  // namespace octobert

#endif  // OCTOBERT_ENGINE_WINDOWS_H_
