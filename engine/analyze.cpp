#include "engine/analyze.h"

#include <algorithm>
#include <string>

#include "engine/engine_impl.h"
#include "engine/fp_guard.h"
#include "octobert/error.h"
#include "tokenizer/utf8.h"

namespace octobert {
namespace {

// Encodings with room for more tokens than this are given back after the call (8 MB).
constexpr size_t kKeptTokens = size_t{1} << 18;

// Every token that the template added at the chunk's beginning, and at its end.
struct Specials {
  size_t before = 0, after = 0;
};
Specials template_specials(const Encoding& encoding) {
  Specials specials;
  const size_t size = encoding.size();
  while (specials.before < size && encoding.special[specials.before]) ++specials.before;
  while (specials.after < size - specials.before && encoding.special[size - 1 - specials.after]) ++specials.after;
  return specials;
}

// Code points of a text in which each maximal invalid subpart is one, as the tokenizer counts.
uint32_t count_code_points(std::string_view text) {
  const auto* const data = reinterpret_cast<const uint8_t*>(text.data());
  size_t count = 0;
  for (size_t at = 0; at < text.size();) {
    const size_t invalid = utf8::find_invalid_utf8(text, at);
    count += utf8::count_code_points(data + at, data + invalid);
    if (invalid == text.size()) break;
    ++count;
    at = invalid + utf8::invalid_subpart_size(text, invalid);
  }
  return static_cast<uint32_t>(count);
}

void release_if_large(Encodings& encodings) {
  size_t tokens = 0;
  for (const Encoding& chunk : encodings.chunks) tokens += chunk.ids.capacity();
  if (tokens > kKeptTokens) encodings = {};
}

// How a call cuts texts into windows.
struct WindowPlan {
  size_t room = 0;           // tokens of the text in a window
  size_t stride = 0;         // that neighbours share
  bool our_windows = false;  // else the tokenizer's chunks
  size_t batch_tokens = 0;   // windows are collected until there are so many; results do not depend on it
  TokenizeOptions tokenize;
};

WindowPlan plan_windows(const AnalyzeOptions& options, const Engine& engine) {
  const Tokenizer& tokenizer = engine.tokenizer();
  const auto positions = static_cast<size_t>(engine.info().max_positions);
  size_t length = positions;
  if (tokenizer.model_max_length() != 0) length = std::min(length, tokenizer.model_max_length());
  if (options.max_length != 0) length = options.max_length;
  if (length > positions || length <= tokenizer.special_count()) {
    throw Error(ErrorCode::kInvalidInput, "max_length: expected " + std::to_string(tokenizer.special_count() + 1) +
                                              " to " + std::to_string(positions) + " tokens, the template's " +
                                              std::to_string(tokenizer.special_count()) + " included, found " +
                                              std::to_string(length));
  }
  WindowPlan plan;
  plan.batch_tokens = static_cast<size_t>(token_budget(engine.threads()));
  plan.room = length - tokenizer.special_count();
  const bool ours = options.strategy == Strategy::kWords;
  plan.our_windows = ours && !options.truncate;
  plan.stride = options.stride.value_or(ours ? std::min(length / 4, plan.room - 1) : 0);
  if (plan.stride >= plan.room) {
    throw Error(ErrorCode::kInvalidInput, "stride: expected less than the " + std::to_string(plan.room) +
                                              " tokens of text in a window, found " + std::to_string(plan.stride));
  }
  plan.tokenize.special_tokens_in_text = options.special_tokens_in_text;
  plan.tokenize.invalid_utf8 = options.invalid_utf8;
  if (plan.our_windows) return plan;
  plan.tokenize.max_length = length;
  plan.tokenize.overflow = options.stride.has_value() && !options.truncate;
  plan.tokenize.stride = plan.tokenize.overflow ? plan.stride : 0;
  return plan;
}

// One call: texts go in by add(), windows collect until a batch is full, results are written in the texts' order.
class Analyzer {
 public:
  Analyzer(const Engine& engine, const KernelTable& kernels, std::span<const LabelTag> tags,
           const AnalyzeOptions& options, const CancelToken* cancel, AnalyzeScratch& scratch)
      : engine_(engine), kernels_(kernels), options_(options), cancel_(cancel), s_(scratch) {
    s_.rules.prepare(engine.labels(), tags, options);
    plan_ = plan_windows(options, engine);
    s_.word_begins.clear();
    clear_batch();
  }
  ~Analyzer() { release_if_large(s_.encodings); }
  Analyzer(const Analyzer&) = delete;
  Analyzer& operator=(const Analyzer&) = delete;

  void analyze(std::span<const std::string_view> texts, std::span<Analysis> results) {
    texts_ = texts;
    results_ = results;
    for (size_t i = 0; i < texts.size(); ++i) {
      check_cancelled();
      reset(results[i]);
      try {
        engine_.tokenizer().encode(texts[i], plan_.tokenize, s_.encodings);
      } catch (const Error& error) {
        if (texts.size() == 1) throw;
        throw Error(error.code(), "text " + std::to_string(i) + ": " + error.what());
      }
      add_encoded(i);
    }
    flush();
  }

  void analyze_words(std::span<const std::string_view> words, Analysis& result) {
    check_cancelled();
    reset(result);
    join(words, result);
    const std::string_view joined = *result.joined_words;
    texts_ = {&joined, 1};
    results_ = {&result, 1};
    // A word that gives no token, of control characters only, is outside of everything.
    result.words.assign(words.size(), {"O", 0});
    s_.word_contexts.assign(words.size(), 0);
    engine_.tokenizer().encode_words(words, plan_.tokenize, s_.encodings);
    add_encoded(0);
    flush();
  }

 private:
  static void reset(Analysis& result) {
    result.entity_count = 0;
    result.words.clear();
    result.truncated = false;
  }

  void check_cancelled() const {
    if (cancel_ != nullptr && cancel_->cancelled()) throw Error(ErrorCode::kCancelled, "cancelled");
  }

  void join(std::span<const std::string_view> words, Analysis& result) {
    if (!result.joined_words || result.joined_words.use_count() > 1) {
      result.joined_words = std::make_shared<std::string>();  // a copy of the last result keeps its texts
    }
    std::string& joined = *result.joined_words;
    joined.clear();
    s_.word_begins.clear();
    uint32_t code_points = 0;
    for (const std::string_view word : words) {
      if (joined.size() + word.size() >= UINT32_MAX) {
        throw Error(ErrorCode::kInvalidInput, "words: more than 2^32 - 2 bytes in all");
      }
      s_.word_begins.push_back({static_cast<uint32_t>(joined.size()), code_points});
      joined += word;
      joined += ' ';
      code_points += count_code_points(word) + 1;
    }
    if (!joined.empty()) joined.pop_back();
  }

  // The text that s_.encodings holds.
  void add_encoded(size_t text) {
    results_[text].truncated = s_.encodings.truncated;
    if (plan_.our_windows) {
      const Encoding& encoding = s_.encodings.chunks.front();
      const Specials specials = template_specials(encoding);
      const size_t tokens = encoding.size() - specials.before - specials.after;
      for (size_t w = 0, end = 0; end < tokens; ++w) {
        const WindowExtent extent = window_extent(w, tokens, plan_.room, plan_.stride);
        end = extent.end;
        add_window(text, encoding, specials, extent, w == 0, end == tokens);
      }
      return;
    }
    for (size_t c = 0; c < s_.encodings.count; ++c) {
      const Encoding& encoding = s_.encodings.chunks[c];
      const Specials specials = template_specials(encoding);
      const size_t tokens = encoding.size() - specials.before - specials.after;
      if (tokens == 0) continue;
      add_window(text, encoding, specials, {0, tokens, 0, tokens}, c == 0, c + 1 == s_.encodings.count);
    }
  }

  void add_window(size_t text, const Encoding& from, Specials specials, const WindowExtent& extent, bool first,
                  bool last) {
    const size_t rows = specials.before + extent.end - extent.begin + specials.after;
    if (!s_.windows.empty() && s_.ids.size() + rows > plan_.batch_tokens) flush();
    Window window;
    window.text = text;
    window.row = s_.ids.size() + specials.before;
    window.size = extent.end - extent.begin;
    window.own_begin = extent.own_begin - extent.begin;
    window.own_end = extent.own_end - extent.begin;
    window.first_index = static_cast<int32_t>(specials.before);
    window.first = first;
    window.last = last;
    s_.windows.push_back(window);
    append_rows(from, 0, specials.before);
    append_rows(from, specials.before + extent.begin, specials.before + extent.end);
    append_rows(from, from.size() - specials.after, from.size());
    if (!s_.word_begins.empty()) move_to_joined_text(window);
    s_.offsets.push_back(static_cast<int32_t>(s_.ids.size()));
  }

  void append_rows(const Encoding& from, size_t begin, size_t end) {
    const auto append = [&](auto& to, const auto& source) {
      to.insert(to.end(), source.begin() + static_cast<std::ptrdiff_t>(begin),
                source.begin() + static_cast<std::ptrdiff_t>(end));
    };
    append(s_.ids, from.ids);
    append(s_.type_ids, from.type_ids);
    append(s_.words, from.words);
    append(s_.bytes, from.bytes);
    append(s_.codepoints, from.codepoints);
  }

  // Offsets inside the caller's words -> offsets in the words joined.
  void move_to_joined_text(const Window& window) {
    for (size_t row = window.row; row < window.row + window.size; ++row) {
      const Span begin = s_.word_begins[static_cast<size_t>(s_.words[row])];
      s_.bytes[row] = {s_.bytes[row].begin + begin.begin, s_.bytes[row].end + begin.begin};
      s_.codepoints[row] = {s_.codepoints[row].begin + begin.end, s_.codepoints[row].end + begin.end};
    }
  }

  void clear_batch() {
    s_.ids.clear();
    s_.type_ids.clear();
    s_.words.clear();
    s_.bytes.clear();
    s_.codepoints.clear();
    s_.windows.clear();
    s_.offsets.assign(1, 0);
  }

  void flush() {
    if (s_.windows.empty()) return;
    check_cancelled();
    const size_t labels = engine_.labels().size();
    s_.probabilities.resize(s_.ids.size() * labels);
    engine_.logits({s_.ids, s_.type_ids, s_.offsets}, s_.probabilities, s_.workspace, cancel_);
    {
      const FpGuard guard;
      SoftmaxArgs softmax{};
      softmax.x = softmax.y = s_.probabilities.data();
      softmax.ldx = softmax.ldy = labels;
      softmax.m = static_cast<int>(s_.ids.size());
      softmax.n = static_cast<int>(labels);
      kernels_.softmax(softmax);
      for (const Window& window : s_.windows) decode(window);
    }
    clear_batch();
  }

  TokenRun run(const Window& window, size_t begin, size_t end) const {
    const size_t labels = engine_.labels().size();
    const auto rows = [&](const auto& all) { return std::span(all).subspan(window.row + begin, end - begin); };
    return {rows(s_.ids),
            rows(s_.words),
            rows(s_.bytes),
            rows(s_.codepoints),
            s_.probabilities.data() + (window.row + begin) * labels,
            labels};
  }

  void decode(const Window& window) {
    Analysis& result = results_[window.text];
    const std::string_view text = texts_[window.text];
    if (window.first) s_.writer.begin(text, s_.rules, result);
    if (options_.strategy == Strategy::kWords) {
      if (window.first) s_.words_decoder.begin(text, s_.rules, s_.writer, result.words);
      s_.words_decoder.add(run(window, window.own_begin, window.own_end));
      if (window.last) s_.words_decoder.finish();
      return;
    }
    ReferenceDecoder& decoder = s_.reference_decoder;
    if (window.first) decoder.begin(text, options_.strategy, engine_.tokenizer(), s_.rules, s_.writer);
    const TokenRun tokens = run(window, 0, window.size);
    decoder.add_window(tokens, window.first_index);
    if (!result.words.empty()) label_words(tokens, result.words);
    if (window.last) decoder.finish();
  }

  // Labels of the caller's words for the reference's strategies, which speak of entities only: pooled over a word's
  // tokens as the strategy does (kNone and kSimple: the first), from the window that shows most of its surroundings.
  void label_words(const TokenRun& run, std::vector<WordLabel>& labels) {
    for (size_t begin = 0, end = 0; begin < run.size(); begin = end) {
      while (end < run.size() && run.words[end] == run.words[begin]) ++end;
      const auto word = static_cast<size_t>(run.words[begin]);
      const auto context = static_cast<uint32_t>(1 + std::min(begin, run.size() - end));
      if (context <= s_.word_contexts[word]) continue;
      s_.word_contexts[word] = context;
      const std::span<const float> row = pool_probabilities(run, begin, end, options_.strategy, s_.pooled);
      const uint32_t label = argmax(row);
      labels[word] = {engine_.labels()[label], row[label]};
    }
  }

  const Engine& engine_;
  const KernelTable& kernels_;
  const AnalyzeOptions& options_;
  const CancelToken* cancel_;
  AnalyzeScratch& s_;
  WindowPlan plan_;
  std::span<const std::string_view> texts_;
  std::span<Analysis> results_;
};

}  // namespace

WindowExtent window_extent(size_t index, size_t tokens, size_t room, size_t stride) {
  const size_t begin = index * (room - stride);
  const size_t end = std::min(tokens, begin + room);
  // The border with the next window lies in the middle of what both show: a token t of it is room - 1 - (t - begin)
  // tokens from this window's end and t - (begin + room - stride) from the next one's beginning.
  const size_t own_begin = index == 0 ? 0 : begin + (stride + 1) / 2;
  const size_t own_end = end == tokens ? tokens : end - stride + (stride + 1) / 2;
  return {begin, end, own_begin, own_end};
}

Analysis Engine::analyze(std::string_view text, const AnalyzeOptions& options) const {
  Analysis result;
  analyze({&text, 1}, options, {&result, 1});
  return result;
}

std::vector<Analysis> Engine::analyze(std::span<const std::string_view> texts, const AnalyzeOptions& options) const {
  std::vector<Analysis> results(texts.size());
  analyze(texts, options, results);
  return results;
}

void Engine::analyze(std::span<const std::string_view> texts, const AnalyzeOptions& options,
                     std::span<Analysis> results, const CancelToken* cancel) const {
  if (results.size() != texts.size()) {
    throw Error(ErrorCode::kInvalidInput, "results: expected one for each of the " + std::to_string(texts.size()) +
                                              " texts, found " + std::to_string(results.size()));
  }
  const auto scratch = impl_->analyze_scratch.borrow();
  Analyzer(*this, *impl_->kernels, impl_->tags(options.strategy), options, cancel, *scratch).analyze(texts, results);
}

void Engine::analyze_words(std::span<const std::string_view> words, const AnalyzeOptions& options, Analysis& result,
                           const CancelToken* cancel) const {
  const auto scratch = impl_->analyze_scratch.borrow();
  Analyzer(*this, *impl_->kernels, impl_->tags(options.strategy), options, cancel, *scratch)
      .analyze_words(words, result);
}

}  // namespace octobert
