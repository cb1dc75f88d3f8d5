// Engine::analyze as a whole: windows, batches, options, bad input, cancelling, memory.
#include "engine/analyze.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <cmath>
#include <random>
#include <thread>

#include "engine/offsets.h"
#include "engine/windows.h"
#include "octobert/converter.h"
#include "octobert/error.h"
#include "tests/analyze_test_util.h"
#include "tests/count_allocations.h"
#include "tests/temporary_folder.h"

namespace octobert {
namespace {

using test::error_code;
using test::expect_equal;
using test::kPositions;
using test::kStrategies;
using test::open_tiny;
using test::random_texts;
using test::tiny;
using test::views;

// The labels of all tokens of a text by the rule itself, one window a call, and from them the text of each run of equal
// labels; against ours with nothing ignored and every word of one token.
TEST(Analyze, LongTextsAreMergedTokenByToken) {
  std::string text;
  const char* const words[] = {"the", "of", "berlin", "a", "z", "m", "7", "k"};
  std::mt19937 random(3);
  for (int i = 0; i < 300; ++i) text += std::string(words[random() % 8]) + " ";
  for (const size_t stride : {0U, 1U, 7U, 40U}) {
    AnalyzeOptions options;
    options.stride = stride;
    options.ignore_labels.clear();
    options.label_scores = true;
    const Analysis found = tiny().analyze(text, options);
    EXPECT_FALSE(found.truncated);

    Encodings encodings;
    tiny().tokenizer().encode(text, {}, encodings);
    const Encoding& all = encodings.chunks[0];
    const size_t tokens = all.size() - 2, room = kPositions - 2, labels = tiny().labels().size();
    std::vector<float> merged(tokens * labels);
    Workspace workspace;
    for (size_t w = 0, end = 0; end < tokens; ++w) {
      const WindowExtent e = window_extent(w, tokens, room, stride);
      end = e.end;
      std::vector<int32_t> ids = {all.ids.front()};
      ids.insert(ids.end(), all.ids.begin() + 1 + static_cast<ptrdiff_t>(e.begin),
                 all.ids.begin() + 1 + static_cast<ptrdiff_t>(e.end));
      ids.push_back(all.ids.back());
      std::vector<float> logits(ids.size() * labels);
      const int32_t offsets[] = {0, static_cast<int32_t>(ids.size())};
      tiny().logits({ids, {}, offsets}, logits, workspace);
      for (size_t t = e.own_begin; t < e.own_end; ++t) {
        const float* const row = &logits[(1 + t - e.begin) * labels];
        std::copy_n(row, labels, &merged[t * labels]);
      }
    }
    std::vector<LabelTag> tags = label_tags(tiny().labels());
    size_t entity = 0;
    for (size_t t = 0; t < tokens; ++entity) {
      ASSERT_LT(entity, found.entity_count);
      const auto label = [&](size_t u) { return argmax(std::span(merged).subspan(u * labels, labels)); };
      const LabelTag first = tags[label(t)];
      size_t end = t + 1;
      while (end < tokens && tags[label(end)].type == first.type && tags[label(end)].tag != Tag::kBegin) ++end;
      EXPECT_EQ(found.entities[entity].label, first.name);
      EXPECT_EQ(found.entities[entity].bytes, (Span{all.bytes[t + 1].begin, all.bytes[end].end}))
          << "stride " << stride;
      t = end;
    }
    EXPECT_EQ(entity, found.entity_count);
  }
}

TEST(Analyze, ABatchIsItsTextsAlone) {
  const std::vector<std::string> texts = random_texts(200, 1);
  for (const Strategy strategy : kStrategies) {
    for (const bool windows : {false, true}) {
      AnalyzeOptions options;
      options.strategy = strategy;
      options.label_scores = windows;
      if (windows) options.stride = 5, options.max_length = 20;
      const std::vector<Analysis> together = tiny().analyze(views(texts), options);
      for (size_t i = 0; i < texts.size(); ++i) {
        expect_equal(tiny().analyze(texts[i], options), together[i], "text " + std::to_string(i));
      }
    }
  }
}

TEST(Analyze, ThreadsAndInstructionSetsChangeNothing) {
  const std::vector<std::string> texts = random_texts(60, 2);
  for (const char* const scheme : {"float", "dynamic"}) {
    const std::vector<Analysis> expected = open_tiny(scheme, 1, "scalar").analyze(views(texts));
    for (const IsaInfo& isa : compiled_isas()) {
      if (!isa.available) continue;
      const std::vector<Analysis> found = open_tiny(scheme, 3, isa.name).analyze(views(texts));
      for (size_t i = 0; i < texts.size(); ++i)
        expect_equal(expected[i], found[i], std::string(scheme) + " " + isa.name);
    }
  }
}

TEST(Analyze, TruncationIsAskedForAndReported) {
  std::string text;
  for (int i = 0; i < 100; ++i) text += "berlin ";
  AnalyzeOptions options;
  options.ignore_labels.clear();
  const Analysis whole = tiny().analyze(text, options);
  EXPECT_FALSE(whole.truncated);
  EXPECT_EQ(whole.entities.back().bytes.end, text.size() - 1);
  options.truncate = true;
  const Analysis cut = tiny().analyze(text, options);
  EXPECT_TRUE(cut.truncated);
  EXPECT_EQ(cut.entities.back().bytes.end, (kPositions - 2) * 7 - 1);
  EXPECT_FALSE(tiny().analyze("berlin", options).truncated);
  for (const Strategy strategy : kStrategies) {
    if (strategy == Strategy::kWords) continue;
    options = {};
    options.strategy = strategy;
    EXPECT_TRUE(tiny().analyze(text, options).truncated);
    options.stride = 4;
    EXPECT_FALSE(tiny().analyze(text, options).truncated);
    options.truncate = true;
    EXPECT_TRUE(tiny().analyze(text, options).truncated);
  }
}

TEST(Analyze, NothingToSee) {
  for (const Strategy strategy : kStrategies) {
    AnalyzeOptions options;
    options.strategy = strategy;
    options.ignore_labels.clear();
    options.stride = 2;
    for (const std::string& text :
         {std::string(), std::string(" \t\n"), std::string(3, '\0'), std::string("\xC2\xAD")}) {
      EXPECT_EQ(tiny().analyze(text, options).entity_count, 0U);
    }
    Analysis result;
    tiny().analyze_words({}, options, result);
    EXPECT_EQ(result.entity_count, 0U);
    EXPECT_TRUE(result.words.empty());
    tiny().analyze(std::span<const std::string_view>(), options, std::span<Analysis>());
  }
}

TEST(Analyze, InvalidUtf8) {
  AnalyzeOptions options;
  options.ignore_labels.clear();
  // The middle of a word is bad; the reference sees U+FFFD there, which clean_text drops.
  const std::string text = "ber\xF0\x9Flin \xFF 😀";
  for (const Strategy strategy : kStrategies) {
    options.strategy = strategy;
    const Analysis found = tiny().analyze(text, options);
    ASSERT_GT(found.entity_count, 0U);
    const Entity& last = found.entities[found.entity_count - 1];
    EXPECT_EQ(last.bytes.end, text.size());
    EXPECT_EQ(last.codepoints.end, 11U);
    EXPECT_EQ(last.utf16.end, 12U);
    for (size_t i = 0; i < found.entity_count; ++i) {
      EXPECT_EQ(found.entities[i].text.data(), text.data() + found.entities[i].bytes.begin);
      EXPECT_EQ(found.entities[i].word.find('\xF0') != std::string::npos,
                found.entities[i].word.find("\xF0\x9F\x98\x80") != std::string::npos)
          << "words are valid UTF-8";
    }
  }
  options.invalid_utf8 = InvalidUtf8::kError;
  std::string message;
  EXPECT_EQ(error_code([&] { tiny().analyze(text, options); }, &message), ErrorCode::kInvalidInput);
  EXPECT_NE(message.find('3'), std::string::npos) << message;
  const std::string long_text = std::string(700'000, ' ') + "berlin \xFF";
  EXPECT_EQ(error_code([&] { tiny().analyze(long_text, options); }, &message), ErrorCode::kInvalidInput);
  EXPECT_NE(message.find("700007"), std::string::npos) << message;
  const std::vector<std::string_view> two = {"fine", text};
  EXPECT_EQ(error_code([&] { tiny().analyze(two, options); }, &message), ErrorCode::kInvalidInput);
  EXPECT_EQ(message.rfind("text 1: ", 0), 0U) << message;
}

TEST(Analyze, SpecialTokensInTheText) {
  AnalyzeOptions options;
  options.strategy = Strategy::kNone;
  options.ignore_labels.clear();
  EXPECT_EQ(tiny().analyze("a [SEP] b", options).entities[1].word, "[SEP]");
  options.special_tokens_in_text = SpecialTokensInText::kEscape;
  EXPECT_EQ(tiny().analyze("a [SEP] b", options).entities[1].word, "[");
}

TEST(Analyze, BadOptions) {
  const auto fails = [](AnalyzeOptions options) {
    EXPECT_EQ(error_code([&] { tiny().analyze("berlin", options); }), ErrorCode::kInvalidInput);
  };
  AnalyzeOptions options;
  options.max_length = kPositions + 1;
  fails(options);
  options.max_length = 2;  // room for the specials only
  fails(options);
  options.max_length = 10;
  options.stride = 8;
  fails(options);
  options = {};
  options.min_score_by_label = {{"nobody", 0.5f}};
  fails(options);
  std::vector<Analysis> one(1);
  EXPECT_EQ(error_code([&] { tiny().analyze(std::span<const std::string_view>(), AnalyzeOptions{}, one); }),
            ErrorCode::kInvalidInput);
  EXPECT_EQ(error_code([] { parse_strategy("word"); }), ErrorCode::kInvalidInput);
}

TEST(Analyze, Cancel) {
  std::string text;
  for (int i = 0; i < 400'000; ++i) text += "berlin of ";
  const std::string_view view = text;
  Analysis result;
  CancelToken token;
  std::thread other([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(30));
    token.cancel();
  });
  const auto call = [&] { tiny().analyze({&view, 1}, AnalyzeOptions{}, {&result, 1}, &token); };
  EXPECT_EQ(error_code(call), ErrorCode::kCancelled);
  other.join();
  EXPECT_EQ(error_code(call), ErrorCode::kCancelled) << "stays cancelled";
  const std::vector<std::string_view> words = {"a"};
  EXPECT_EQ(error_code([&] { tiny().analyze_words(words, AnalyzeOptions{}, result, &token); }), ErrorCode::kCancelled);
  EXPECT_EQ(tiny().analyze("a").truncated, false) << "the engine works on";
}

TEST(Analyze, WarmCallsAllocateNothing) {
  const Engine engine = open_tiny("dynamic", 2);
  const std::vector<std::string> texts = random_texts(40, 8);
  const std::vector<std::string_view> text_views = views(texts);
  const std::vector<std::string_view> words = {"New", "York", "\xFF", "presidential", "東京"};
  std::vector<Analysis> results(texts.size());
  Analysis of_words;
  for (const Strategy strategy : kStrategies) {
    AnalyzeOptions options;
    options.strategy = strategy;
    options.label_scores = true;
    options.ignore_labels = {};
    options.stride = 5;
    const auto call = [&] {
      engine.analyze(text_views, options, results);
      engine.analyze_words(words, options, of_words);
    };
    call();
    call();
    const size_t before = test::allocation_count;
    call();
    EXPECT_EQ(test::allocation_count - before, 0U) << static_cast<int>(strategy);
  }
}

long peak_kilobytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss;
}

TEST(Analyze, TenMegabytesInBoundedMemory) {
  constexpr size_t kSize = 10'000'000;
  const auto repeat = [](std::string_view unit) {
    std::string text;
    while (text.size() < kSize) text += unit;
    return text;
  };
  std::string noise(kSize, ' ');
  std::mt19937 random(1);
  for (char& c : noise) c = static_cast<char>(random());
  const std::string nul(kSize, '\0');
  for (const std::string& text :
       {repeat("the president of berlin, "), repeat("a"), repeat("."), repeat("東京、"), noise, nul}) {
    AnalyzeOptions options;
    options.ignore_labels.clear();
    options.min_score = 1;  // the result's size is the caller's affair
    const long before = peak_kilobytes();
    Analysis result;
    const std::string_view view = text;
    tiny().analyze({&view, 1}, options, {&result, 1});
    EXPECT_FALSE(result.truncated);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    // An endless word is one part. Added tokens that are matched in normalized text need all of it at once, with
    // 8 bytes of origin for each, in a vector that grows by doubling: 27 bytes a byte. Everything else takes far less.
    EXPECT_LT(peak_kilobytes() - before, 300'000) << text.substr(0, 10);
#endif
  }
}

TEST(Analyze, LongTextsAreSeenToTheirEnd) {
  std::string text;
  while (text.size() < 1'000'000) text += "the president of berlin, ";
  AnalyzeOptions options;
  options.ignore_labels.clear();
  EXPECT_EQ(tiny().analyze(text, options).entities.back().bytes.end, text.size() - 1);
  const std::string word(1'000'000, 'a');  // an endless one
  const Analysis found = tiny().analyze(word, options);
  ASSERT_EQ(found.entity_count, 1U);
  EXPECT_EQ(found.entities[0].bytes, (Span{0, 1'000'000}));
}

}  // namespace
}  // namespace octobert
