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
#include "tests/count_allocations.h"
#include "tests/temporary_folder.h"

namespace octobert {
namespace {

namespace fs = std::filesystem;

const Strategy kStrategies[] = {Strategy::kWords, Strategy::kNone,    Strategy::kSimple,
                                Strategy::kFirst, Strategy::kAverage, Strategy::kMax};
constexpr size_t kPositions = 48;  // of the tiny checkpoint
const std::string kNfdHelene = "He\xCC\x81le\xCC\x80ne";

const fs::path kCheckpoint = fs::path(OCTOBERT_SOURCE_DIR) / "tests/data/entities/checkpoint";

// The random checkpoint of the entity goldens: 48 positions, labels O and B-/I- of four types.
Engine open_tiny(const std::string& scheme = "dynamic", int threads = 1, const std::string& isa = "",
                 const fs::path& checkpoint = kCheckpoint) {
  const test::TemporaryFolder folder;
  ConvertOptions options;
  options.scheme = scheme;
  options.check = false;
  convert(checkpoint, folder / "tiny.octo", options);
  OpenOptions open;
  open.threads = threads;
  open.isa = isa;
  open.load_into_memory = true;
  return Engine::open(folder / "tiny.octo", open);
}

const Engine& tiny() {
  static const Engine kEngine = open_tiny();
  return kEngine;
}

std::vector<std::string> random_texts(size_t count, uint32_t seed, size_t most_words = 120) {
  const std::vector<std::string> words = {
      "the",           "berlin", "New York-based", "5.975,74", "東京",      kNfdHelene, "[SEP]", "x_y",
      "http://t.co/a", "😀",      "U.S.",           "\xC2\xAD", "president", "\n",       "of",    "\xFF"};
  std::mt19937 random(seed);
  std::vector<std::string> texts(count);
  for (std::string& text : texts) {
    const size_t n = random() % 4 == 0 ? random() % most_words : random() % 12;
    for (size_t w = 0; w < n; ++w) text += words[random() % words.size()] + (random() % 6 == 0 ? "" : " ");
  }
  return texts;
}

std::vector<std::string_view> views(const std::vector<std::string>& texts) { return {texts.begin(), texts.end()}; }

// Every field, floats to the bit. Views are compared by place in their text.
void expect_equal(const Analysis& a, const Analysis& b, const std::string& what) {
  ASSERT_EQ(a.entity_count, b.entity_count) << what;
  EXPECT_EQ(a.truncated, b.truncated) << what;
  for (size_t i = 0; i < a.entity_count; ++i) {
    const Entity &x = a.entities[i], &y = b.entities[i];
    EXPECT_EQ(x.label, y.label) << what;
    EXPECT_EQ(x.score, y.score) << what;
    EXPECT_EQ(x.text, y.text) << what;
    EXPECT_TRUE(x.bytes == y.bytes && x.codepoints == y.codepoints && x.utf16 == y.utf16) << what;
    EXPECT_EQ(x.word, y.word) << what;
    EXPECT_EQ(x.index, y.index) << what;
    EXPECT_EQ(x.label_scores, y.label_scores) << what;
  }
  ASSERT_EQ(a.words.size(), b.words.size()) << what;
  for (size_t i = 0; i < a.words.size(); ++i) {
    EXPECT_EQ(a.words[i].label, b.words[i].label) << what;
    EXPECT_EQ(a.words[i].score, b.words[i].score) << what;
  }
}

ErrorCode error_code(const std::function<void()>& call, std::string* message = nullptr) {
  try {
    call();
  } catch (const Error& error) {
    if (message != nullptr) *message = error.what();
    return error.code();
  }
  ADD_FAILURE() << "no error";
  return ErrorCode::kIo;
}

TEST(WindowExtent, EachTokenBelongsToTheWindowThatShowsMost) {
  for (size_t room = 1; room <= 9; ++room) {
    for (size_t stride = 0; stride < room; ++stride) {
      for (size_t tokens = 1; tokens <= 40; ++tokens) {
        std::vector<WindowExtent> windows;
        do {
          windows.push_back(window_extent(windows.size(), tokens, room, stride));
        } while (windows.back().end < tokens);
        std::vector<size_t> owner(tokens, SIZE_MAX);
        for (size_t w = 0; w < windows.size(); ++w) {
          ASSERT_LE(windows[w].end - windows[w].begin, room);
          ASSERT_LE(windows[w].begin, windows[w].own_begin);
          ASSERT_LE(windows[w].own_end, windows[w].end);
          for (size_t t = windows[w].own_begin; t < windows[w].own_end; ++t) {
            ASSERT_EQ(owner[t], SIZE_MAX);
            owner[t] = w;
          }
        }
        const auto context = [&](size_t w, size_t t) {
          const WindowExtent& e = windows[w];
          if (t < e.begin || t >= e.end) return ptrdiff_t{-1};
          const size_t left = e.begin == 0 ? tokens : t - e.begin, right = e.end == tokens ? tokens : e.end - 1 - t;
          return static_cast<ptrdiff_t>(std::min(left, right));
        };
        for (size_t t = 0; t < tokens; ++t) {
          size_t best = 0;
          for (size_t w = 1; w < windows.size(); ++w) {
            if (context(w, t) > context(best, t)) best = w;
          }
          ASSERT_EQ(owner[t], best) << "room " << room << ", stride " << stride << ", " << tokens << " tokens: " << t;
        }
      }
    }
  }
}

// Engine of the tiny checkpoint with `from` replaced by `to` in its tokenizer.json.
Engine open_edited(const std::string& from, const std::string& to) {
  const test::TemporaryFolder folder;
  for (const auto& file : fs::directory_iterator(kCheckpoint)) fs::copy_file(file, folder / file.path().filename());
  std::string json = test::read_file(folder / "tokenizer.json");
  const size_t at = json.find(from);
  if (at == std::string::npos) throw std::runtime_error(from);
  test::write_file(folder / "tokenizer.json", json.replace(at, from.size(), to));
  return open_tiny("dynamic", 1, "", folder.path());
}

TEST(Parts, TextsAreCutOnlyWhereNoTokenChanges) {
  const std::string mask = R"("content":"[MASK]","single_word":)";
  const std::string flags = R"(false,"lstrip":false,"rstrip":false,"normalized":false)";
  const std::pair<std::string, std::string> edits[] = {
      {"", ""},
      {R"("lowercase":true)", R"("lowercase":false)"},
      {R"("handle_chinese_chars":true)", R"("handle_chinese_chars":false)"},
      {R"("clean_text":true)", R"("clean_text":false)"},
      {mask + flags, mask + R"(true,"lstrip":false,"rstrip":false,"normalized":false)"},
      {mask + flags, mask + R"(false,"lstrip":true,"rstrip":false,"normalized":false)"},
      {mask + flags, mask + R"(false,"lstrip":false,"rstrip":true,"normalized":false)"},
      {mask + flags, mask + R"(false,"lstrip":false,"rstrip":false,"normalized":true)"}};
  const std::string atoms[] = {"a",    "berlin",   " ",        "\n",   "\t",       "\v",       "_",
                               "-",    ".",        "[",        "MASK", "]",        "東",       "京",
                               "、",   "é",        "ก",        "е",    "😀",        "\xCC\x81", "\xC2\xAD",
                               "\xFF", "\xE4\xB8", "\xF0\x9F", "\x80", "\xC2\xA0", "[MASK]",   std::string(1, '\0')};
  std::mt19937 random(11);
  for (const auto& [from, to] : edits) {
    const Engine engine = from.empty() ? open_tiny() : open_edited(from, to);
    const Tokenizer& tokenizer = engine.tokenizer();
    size_t cuts = 0;
    Encodings whole, left, right;
    for (int i = 0; i < 400; ++i) {
      std::string text;
      for (size_t n = random() % 12; n-- > 0;) text += atoms[random() % std::size(atoms)];
      tokenizer.encode(text, {.add_special_tokens = false}, whole);
      for (size_t at = 1; at < text.size(); ++at) {
        if ((static_cast<uint8_t>(text[at]) & 0xC0) == 0x80) continue;
        if (!tokenizer.can_cut_between(code_point_before(text, at), code_point_at(text, at))) continue;
        ++cuts;
        tokenizer.encode(std::string_view(text).substr(0, at), {.add_special_tokens = false}, left);
        tokenizer.encode(std::string_view(text).substr(at), {.add_special_tokens = false}, right);
        TokenStream stream;
        const auto codepoints = static_cast<uint32_t>(count_code_points(std::string_view(text).substr(0, at)));
        stream.append(left.chunks[0], 0, 0, 0);
        stream.append(right.chunks[0], static_cast<uint32_t>(at), codepoints, stream.next_word());
        const Encoding& expected = whole.chunks[0];
        ASSERT_EQ(stream.rows().ids, expected.ids) << to << ": " << text;
        ASSERT_EQ(stream.rows().bytes, expected.bytes) << to << ": " << text;
        ASSERT_EQ(stream.rows().codepoints, expected.codepoints) << to << ": " << text;
        for (size_t t = 1; t < expected.size(); ++t) {
          ASSERT_EQ(stream.rows().words[t] == stream.rows().words[t - 1], expected.words[t] == expected.words[t - 1]);
        }
      }
    }
    const bool reaches =
        to.find("strip\":true") != std::string::npos || to.find("normalized\":true") != std::string::npos;
    EXPECT_EQ(cuts == 0, reaches) << to;
  }
}

// Texts that are encoded in parts, against the same encoded as a whole.
TEST(Parts, LongTextsAreSeamless) {
  std::string text;
  while (text.size() < 1'500'000) text += random_texts(1, static_cast<uint32_t>(text.size()))[0] + " ";
  AnalyzeOptions options;
  const Analysis in_parts = tiny().analyze(text, options);
  // Normalized added tokens forbid cuts; one that never occurs changes nothing else.
  const std::string mask = R"("content":"[MASK]","single_word":false,"lstrip":false,"rstrip":false,"normalized":)";
  const Engine whole = open_edited(mask + "false", mask + "true");
  ASSERT_EQ(part_size(text, whole.tokenizer()), text.size());
  ASSERT_LT(part_size(text, tiny().tokenizer()), text.size());
  expect_equal(whole.analyze(text, options), in_parts, "parts");
  const std::vector<std::string> words = random_texts(200'000, 9, 3);
  Analysis a, b;
  ASSERT_LT(part_size(views(words)), words.size());
  tiny().analyze_words(views(words), options, a);
  options.invalid_utf8 = InvalidUtf8::kError;  // takes words all at once
  std::vector<std::string> valid = words;
  for (std::string& word : valid) {
    for (size_t at; (at = word.find('\xFF')) != std::string::npos;) word.replace(at, 1, "\xEF\xBF\xBD");
  }
  tiny().analyze_words(views(valid), options, b);
  ASSERT_EQ(a.entity_count, b.entity_count);
  for (size_t i = 0; i < a.entity_count; ++i) {
    EXPECT_EQ(a.entities[i].codepoints, b.entities[i].codepoints);
    EXPECT_EQ(a.entities[i].score, b.entities[i].score);
  }
}

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

TEST(AnalyzeWords, OneLabelAWord) {
  const std::vector<std::string_view> words = {"New", "York-based", "", "\xC2\xAD", "5.975,74", "東京", "of"};
  for (const Strategy strategy : kStrategies) {
    AnalyzeOptions options;
    options.strategy = strategy;
    Analysis result;
    tiny().analyze_words(words, options, result);
    ASSERT_EQ(result.words.size(), words.size());
    for (size_t w = 0; w < words.size(); ++w) {
      const bool empty = w == 2 || w == 3;
      EXPECT_EQ(result.words[w].score == 0, empty) << w;
      if (empty) {
        EXPECT_EQ(result.words[w].label, "O");
      }
    }
    EXPECT_EQ(*result.joined_words, "New York-based  \xC2\xAD 5.975,74 東京 of");
    for (size_t i = 0; i < result.entity_count; ++i) {
      const Entity& e = result.entities[i];
      EXPECT_EQ(e.text, std::string_view(*result.joined_words).substr(e.bytes.begin, e.bytes.end - e.bytes.begin));
    }
  }
}

// kFirst and kWords: the first piece; kAverage, kMax as named. From logits of our own asking.
TEST(AnalyzeWords, LabelsArePooledOverTheWordsPieces) {
  const std::vector<std::string_view> words = {"experimentally", "berlin", "U.S.A", "presidential", "x"};
  Encodings encodings;
  tiny().tokenizer().encode_words(words, {}, encodings);
  const Encoding& all = encodings.chunks[0];
  const size_t labels = tiny().labels().size();
  std::vector<float> p(all.size() * labels);
  const int32_t offsets[] = {0, static_cast<int32_t>(all.size())};
  Workspace workspace;
  tiny().logits({all.ids, {}, offsets}, p, workspace);
  for (size_t t = 0; t < all.size(); ++t) {
    float sum = 0;
    for (size_t l = 0; l < labels; ++l) sum += p[t * labels + l] = std::exp(p[t * labels + l]);
    for (size_t l = 0; l < labels; ++l) p[t * labels + l] /= sum;
  }
  for (const Strategy strategy : kStrategies) {
    AnalyzeOptions options;
    options.strategy = strategy;
    Analysis result;
    tiny().analyze_words(words, options, result);
    for (size_t w = 0; w < words.size(); ++w) {
      std::vector<float> row(labels, 0);
      size_t pieces = 0, best = 0;
      for (size_t t = 0; t < all.size(); ++t) {
        if (all.special[t] || static_cast<size_t>(all.words[t]) != w) continue;
        const auto top = [&](size_t u) { return *std::max_element(&p[u * labels], &p[(u + 1) * labels]); };
        if (pieces++ == 0 || (strategy == Strategy::kMax && top(t) > top(best))) best = t;
        for (size_t l = 0; l < labels; ++l) row[l] += p[t * labels + l];
      }
      for (float& x : row) x /= static_cast<float>(pieces);
      if (strategy != Strategy::kAverage) row.assign(&p[best * labels], &p[(best + 1) * labels]);
      const uint32_t label = argmax(row);
      EXPECT_EQ(result.words[w].label, tiny().labels()[label]);
      EXPECT_NEAR(result.words[w].score, row[label], 1e-5);
    }
  }
}

TEST(AnalyzeWords, LongInputInWindows) {
  std::mt19937 random(5);
  const std::vector<std::string> texts = random_texts(400, 6, 3);
  const std::vector<std::string_view> words = views(texts);
  for (const Strategy strategy : kStrategies) {
    AnalyzeOptions options;
    options.strategy = strategy;
    options.stride = 6;
    options.ignore_labels.clear();
    Analysis result;
    tiny().analyze_words(words, options, result);
    EXPECT_FALSE(result.truncated);
    Encodings encodings;
    tiny().tokenizer().encode_words(words, {}, encodings);
    std::vector<bool> has_token(words.size());
    for (const int32_t word : encodings.chunks[0].words) {
      if (word >= 0) has_token[static_cast<size_t>(word)] = true;
    }
    for (size_t w = 0; w < words.size(); ++w) EXPECT_EQ(result.words[w].score > 0, has_token[w]);
  }
}

TEST(AnalyzeWords, CopiesKeepTheirTexts) {
  const std::vector<std::string_view> words = {"new", "berlin", "president"}, others = {"of", "x"};
  AnalyzeOptions options;
  options.ignore_labels.clear();
  Analysis result;
  tiny().analyze_words(words, options, result);
  const Analysis copy = result;
  tiny().analyze_words(others, options, result);
  EXPECT_EQ(*copy.joined_words, "new berlin president");
  EXPECT_EQ(copy.entities[0].text.data(), copy.joined_words->data());
  EXPECT_EQ(*result.joined_words, "of x");
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
