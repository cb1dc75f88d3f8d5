#include "engine/analyze.h"

#include <algorithm>
#include <string>

#include "engine/engine_impl.h"
#include "engine/fp_guard.h"
#include "engine/offsets.h"
#include "octobert/error.h"
#include "tokenizer/utf8.h"

namespace octobert {
namespace {

// Encodings with room for more tokens than this are given back after the call (8 MB).
constexpr size_t kKeptTokens = size_t{1} << 18;

void release_if_large(Encodings& encodings) {
  size_t tokens = 0;
  for (const Encoding& chunk : encodings.chunks) tokens += chunk.ids.capacity();
  if (tokens > kKeptTokens) encodings = {};
}

// One call: windows of the texts collect until a batch is full; results are written in the texts' order.
class Analyzer {
 public:
  Analyzer(const Engine& engine, const KernelTable& kernels, std::span<const LabelTag> tags,
           const AnalyzeOptions& options, const CancelToken* cancel, AnalyzeScratch& scratch)
      : engine_(engine), kernels_(kernels), options_(options), cancel_(cancel), s_(scratch) {
    s_.rules.prepare(engine.labels(), tags, options);
    plan_ = plan_windows(options, engine);
    batch_tokens_ = static_cast<size_t>(token_budget(engine.threads()));
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
        add_text(i);
      } catch (const Error& error) {
        if (texts.size() == 1 || error.code() != ErrorCode::kInvalidInput) throw;
        throw Error(error.code(), "text " + std::to_string(i) + ": " + error.what());
      }
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
    add_words(words);
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
    uint32_t code_points = 0;
    for (const std::string_view word : words) {
      if (joined.size() + word.size() >= UINT32_MAX - 1) {
        throw Error(ErrorCode::kInvalidInput, "words: more than 2^32 - 3 bytes in all");
      }
      s_.word_begins.push_back({static_cast<uint32_t>(joined.size()), code_points});
      joined += word;
      joined += ' ';
      code_points += count_code_points(word) + 1;
    }
    if (!joined.empty()) joined.pop_back();
  }

  void add_text(size_t text) {
    const Tokenizer& tokenizer = engine_.tokenizer();
    std::string_view rest = texts_[text];
    if (!plan_.our_windows) {
      tokenizer.encode(rest, plan_.tokenize, s_.encodings);
      return add_chunks(text);
    }
    size_t part = part_size(rest, tokenizer);
    // An error is to name its place in the whole text.
    const bool check = part < rest.size() && plan_.tokenize.invalid_utf8 == InvalidUtf8::kError;
    if (check && utf8::find_invalid_utf8(rest) < rest.size()) part = rest.size();
    s_.stream.clear();
    for (uint32_t byte = 0, codepoint = 0;;) {
      tokenizer.encode(rest.substr(0, part), plan_.tokenize, s_.encodings);
      s_.stream.append(s_.encodings.chunks.front(), byte, codepoint, s_.stream.next_word());
      add_windows(text, part == rest.size());
      if (part == rest.size()) return;
      check_cancelled();
      byte += static_cast<uint32_t>(part);
      codepoint += count_code_points(rest.substr(0, part));
      rest.remove_prefix(part);
      part = part_size(rest, tokenizer);
    }
  }

  void add_words(std::span<const std::string_view> words) {
    const Tokenizer& tokenizer = engine_.tokenizer();
    if (!plan_.our_windows) {
      tokenizer.encode_words(words, plan_.tokenize, s_.encodings);
      return add_chunks(0);
    }
    const bool whole = plan_.tokenize.invalid_utf8 == InvalidUtf8::kError;  // the error is to name the word
    s_.stream.clear();
    for (size_t begin = 0, end = 0; begin < words.size(); begin = end) {
      check_cancelled();
      end = whole ? words.size() : begin + part_size(words.subspan(begin));
      tokenizer.encode_words(words.subspan(begin, end - begin), plan_.tokenize, s_.encodings);
      s_.stream.append(s_.encodings.chunks.front(), 0, 0, static_cast<int32_t>(begin));
      add_windows(0, end == words.size());
    }
  }

  // The windows that the stream is ready for; s_.encodings still holds its last part.
  void add_windows(size_t text, bool complete) {
    const Encoding& part = s_.encodings.chunks.front();
    WindowExtent extent{};
    while (s_.stream.next_window(plan_, complete, extent)) {
      Window window;
      window.text = text;
      window.own_begin = extent.own_begin - extent.begin;
      window.own_end = extent.own_end - extent.begin;
      window.first = s_.stream.is_first();
      window.last = complete && extent.end == s_.stream.tokens();
      const size_t first = s_.stream.first();
      add_window(window, part, s_.stream.rows(), extent.begin - first, extent.end - first);
    }
    s_.stream.drop(plan_);
  }

  // The tokenizer's chunks as they are.
  void add_chunks(size_t text) {
    results_[text].truncated = s_.encodings.truncated;
    for (size_t c = 0; c < s_.encodings.count; ++c) {
      const Encoding& chunk = s_.encodings.chunks[c];
      const Specials specials = template_specials(chunk);
      const size_t tokens = chunk.size() - specials.before - specials.after;
      if (tokens == 0) continue;  // and there is no other chunk
      Window window;
      window.text = text;
      window.own_end = tokens;
      window.first = c == 0;
      window.last = c + 1 == s_.encodings.count;
      add_window(window, chunk, chunk, specials.before, chunk.size() - specials.after);
    }
  }

  // Tokens [begin, end) of `tokens` between the specials of `frame`.
  template <class Tokens>
  void add_window(Window& window, const Encoding& frame, const Tokens& tokens, size_t begin, size_t end) {
    const Specials specials = template_specials(frame);
    const size_t rows = specials.before + end - begin + specials.after;
    if (!s_.windows.empty() && s_.batch.size() + rows > batch_tokens_) flush();
    window.row = s_.batch.size() + specials.before;
    window.size = end - begin;
    window.first_index = static_cast<int32_t>(specials.before);
    s_.batch.append(frame, 0, specials.before);
    s_.batch.append(tokens, begin, end);
    s_.batch.append(frame, frame.size() - specials.after, frame.size());
    if (!s_.word_begins.empty()) move_to_joined_text(window);
    s_.windows.push_back(window);
    s_.offsets.push_back(static_cast<int32_t>(s_.batch.size()));
  }

  // Offsets inside the caller's words -> offsets in the words joined.
  void move_to_joined_text(const Window& window) {
    for (size_t row = window.row; row < window.row + window.size; ++row) {
      const Span begin = s_.word_begins[static_cast<size_t>(s_.batch.words[row])];
      Span& bytes = s_.batch.bytes[row];
      Span& codepoints = s_.batch.codepoints[row];
      bytes = {bytes.begin + begin.begin, bytes.end + begin.begin};
      codepoints = {codepoints.begin + begin.end, codepoints.end + begin.end};
    }
  }

  void clear_batch() {
    s_.batch.clear();
    s_.windows.clear();
    s_.offsets.assign(1, 0);
  }

  void flush() {
    if (s_.windows.empty()) return;
    check_cancelled();
    const size_t labels = engine_.labels().size();
    s_.probabilities.resize(s_.batch.size() * labels);
    engine_.logits({s_.batch.ids, s_.batch.type_ids, s_.offsets}, s_.probabilities, s_.workspace, cancel_);
    {
      const FpGuard guard;
      SoftmaxArgs softmax{};
      softmax.x = softmax.y = s_.probabilities.data();
      softmax.ldx = softmax.ldy = labels;
      softmax.m = static_cast<int>(s_.batch.size());
      softmax.n = static_cast<int>(labels);
      kernels_.softmax(softmax);
      for (const Window& window : s_.windows) decode(window);
    }
    clear_batch();
  }

  TokenRun run(const Window& window, size_t begin, size_t end) const {
    const size_t first = window.row + begin, count = end - begin, labels = engine_.labels().size();
    const auto rows = [&](const auto& all) { return std::span(all).subspan(first, count); };
    TokenRun run;
    run.ids = rows(s_.batch.ids);
    run.words = rows(s_.batch.words);
    run.bytes = rows(s_.batch.bytes);
    run.codepoints = rows(s_.batch.codepoints);
    run.probabilities = s_.probabilities.data() + first * labels;
    run.labels = labels;
    return run;
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
  size_t batch_tokens_ = 0;  // windows collect until there are so many; results do not depend on it
  std::span<const std::string_view> texts_;
  std::span<Analysis> results_;
};

}  // namespace

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
