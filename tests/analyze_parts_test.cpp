// Windows and parts of long texts: where they are cut, and that no cut shows.
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "engine/analyze.h"
#include "engine/offsets.h"
#include "engine/windows.h"
#include "octobert/converter.h"
#include "octobert/error.h"
#include "tests/analyze_test_util.h"
#include "tests/temporary_folder.h"

namespace octobert {
namespace {

namespace fs = std::filesystem;

using test::expect_equal;
using test::kCheckpoint;
using test::open_tiny;
using test::random_texts;
using test::tiny;
using test::views;

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

}  // namespace
}  // namespace octobert
