// What calibration runs over: the samples of a file, which is read twice and never kept; text files line by line.
#include "converter/calibration_samples.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <map>
#include <random>

#include "converter/convert.h"
#include "converter/provenance.h"
#include "converter/text_lines.h"
#include "octobert/error.h"
#include "tests/errors.h"
#include "tests/temporary_folder.h"
#include "tests/tiny_checkpoint.h"

namespace octobert::converter {
namespace {

using test::error_of;
using test::holds;
using test::TemporaryFolder;
using test::TinyCheckpoint;
using test::write_file;

std::string random_line(std::mt19937& random, size_t most_words) {
  const char* words[] = {"marta", "in", "lisbon", "yes", "the", "q", "bcd", "xyz", "ha", ",", "k", "a-long-word"};
  std::string line;
  for (size_t i = 0, count = 1 + random() % most_words; i < count; ++i) {
    line += std::string(i == 0 ? "" : " ") + words[random() % std::size(words)];
  }
  return line;
}

class Samples : public testing::Test {
 protected:
  Samples() {
    TinyCheckpoint().write(folder_ / "");
    bytes_ = convert_to_memory(folder_.path(), {});
    engine_.emplace(Engine::open_memory(bytes_, {.threads = 1}));
  }

  EncodedTexts samples_of(const std::string& name, size_t samples, size_t every = 0) {
    CalibrationTexts texts((folder_ / name).string());
    texts.leave_out_held(every);
    std::vector<std::string> warnings;
    return encode_samples(*engine_, texts, samples, warnings);
  }

  // All texts at once, as calibration_samples.h says it: 32 is the tiny model's window.
  EncodedTexts expected(const std::vector<std::string>& texts, size_t samples) const {
    constexpr size_t kWindow = 32;
    TokenizeOptions options;
    options.max_length = kWindow;
    Encodings encodings;
    EncodedTexts result;
    const size_t count = std::min(samples, texts.size());
    for (size_t i = 0; i < count; ++i) {
      const size_t first = i * texts.size() / count;
      std::string sample = texts[first];
      if (i % 16 == 15) {
        const size_t tokens = kWindow >> (3 - i / 16 % 4);
        size_t bytes = sample.size() + 1;
        for (size_t next = 1; next < texts.size() && bytes < 6 * tokens; ++next) {
          const std::string& text = texts[(first + next) % texts.size()];
          sample += " " + text;
          bytes += text.size() + 1;
        }
      }
      engine_->tokenizer().encode(sample, options, encodings);
      const Encoding& chunk = encodings.chunks.front();
      result.ids.insert(result.ids.end(), chunk.ids.begin(), chunk.ids.end());
      result.offsets.push_back(static_cast<int32_t>(result.ids.size()));
    }
    return result;
  }

  TemporaryFolder folder_;
  std::vector<std::byte> bytes_;
  std::optional<Engine> engine_;
};

TEST_F(Samples, AreThoseOfAllTextsAtOnce) {
  std::mt19937 random(1);
  for (const size_t count : {40U, 43U, 64U, 100U, 1000U, 3001U}) {
    for (const size_t most_words : {1U, 3U, 40U}) {
      for (const size_t every : {0U, 4U}) {
        std::vector<std::string> texts;
        std::string lines;
        for (size_t i = 0; i < count; ++i) {
          const std::string line = random_line(random, most_words);
          if (!is_held_out(i, every)) texts.push_back(line);
          lines += line + "\n";
        }
        write_file(folder_ / "a.txt", lines);
        for (const size_t samples : {24U, 50U, 64U, 512U}) {
          const EncodedTexts found = samples_of("a.txt", samples, every), wanted = expected(texts, samples);
          ASSERT_EQ(found.ids, wanted.ids) << count << " texts, " << samples << " samples, " << every;
          ASSERT_EQ(found.offsets, wanted.offsets);
        }
      }
    }
  }
}

TEST_F(Samples, OfWords) {
  std::mt19937 random(2);
  std::string rows, lines;
  for (size_t i = 0; i < 200; ++i) {
    const std::string line = random_line(random, 9);
    lines += line + "\n";
    for (size_t begin = 0, end = 0; end != line.npos; begin = end + 1) {
      end = line.find(' ', begin);
      rows += line.substr(begin, end == line.npos ? end : end - begin) + "\tO\n";
    }
    rows += "\n";
  }
  write_file(folder_ / "a.txt", lines);
  write_file(folder_ / "a.tsv", rows);
  EXPECT_EQ(samples_of("a.tsv", 64).ids, samples_of("a.txt", 64).ids);
}

TEST_F(Samples, EveryLengthAndPositionIsSeen) {
  std::string lines;
  for (int i = 0; i < 64; ++i) lines += "the marta in lisbon\n";
  write_file(folder_ / "a.txt", lines);
  const EncodedTexts encoded = samples_of("a.txt", 64);
  std::map<int32_t, int> lengths;
  for (size_t i = 0; i + 1 < encoded.offsets.size(); ++i) ++lengths[encoded.offsets[i + 1] - encoded.offsets[i]];
  EXPECT_EQ(encoded.offsets.size(), 65U);
  EXPECT_EQ(lengths.at(6), 60);  // four words and two specials
  EXPECT_EQ(lengths.rbegin()->first, 32);
  EXPECT_EQ(lengths.size(), 5U);  // four that are joined of several
}

TEST_F(Samples, OfJsonLinesOfEachForm) {
  std::string lines, json;
  for (size_t i = 0; i < 60; ++i) {
    lines += "marta in lisbon , yes\n";
    json += i % 3 == 0   ? R"("marta in lisbon , yes")"
            : i % 3 == 1 ? R"({"text": "marta in lisbon , yes"})"
                         : R"(["marta", "in", "lisbon", ",", "yes"])";
    json += "\r\n\n";
  }
  write_file(folder_ / "a.txt", lines);
  write_file(folder_ / "a.jsonl", json);
  EXPECT_EQ(samples_of("a.jsonl", 40).ids, samples_of("a.txt", 40).ids);
}

TEST_F(Samples, AFileThatChangesMeanwhile) {
  std::string lines;
  for (int i = 0; i < 100; ++i) lines += "marta in lisbon , yes\n";
  std::string other = lines;
  other.replace(0, 5, "lisbo");
  for (const std::string& later : {other, lines.substr(22), lines + "one more\n"}) {
    write_file(folder_ / "a.txt", lines);
    const CalibrationTexts texts((folder_ / "a.txt").string());
    EXPECT_EQ(texts.size(), 100U);
    write_file(folder_ / "a.txt", later);
    std::vector<std::string> warnings;
    const std::string message = error_of([&] { encode_samples(*engine_, texts, 64, warnings); }, ErrorCode::kIo);
    EXPECT_TRUE(holds(message, "a.txt: changed while it was used")) << message;
  }
}

TEST(CalibrationTexts, CountsAndHashes) {
  const TemporaryFolder folder;
  write_file(folder / "a.txt", "\xef\xbb\xbfone\n\n  \ntwo\r\nthree");
  CalibrationTexts texts((folder / "a.txt").string());
  EXPECT_EQ(texts.size(), 3U);
  EXPECT_EQ(texts.source(), sha256_of_file(folder / "a.txt"));
  std::vector<std::string> found;
  const auto add = [&found](size_t index, Sentence&& text) {
    EXPECT_EQ(index, found.size());
    found.push_back(text.words.front());
  };
  texts.for_each(add);
  EXPECT_EQ(found, (std::vector<std::string>{"one", "two", "three"}));
  texts.leave_out_held(2);
  EXPECT_EQ(texts.size(), 2U);
  found.clear();
  texts.for_each(add);
  EXPECT_EQ(found, (std::vector<std::string>{"one", "three"}));
}

TEST(CalibrationTexts, WhatCannotBeReadTwice) {
  const TemporaryFolder folder;
  const std::string pipe = (folder / "pipe.txt").string();
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  for (const std::string& name : {pipe, folder.path().string()}) {
    const std::string message = error_of([&] { CalibrationTexts texts(name); }, ErrorCode::kIo);
    EXPECT_TRUE(holds(message, name + ": not a regular file")) << message;
  }
}

// ---- text files line by line ----

std::vector<std::string> lines_of(const std::filesystem::path& path, size_t limit = 1 << 20) {
  std::vector<std::string> found;
  TextLines lines(path, limit);
  while (const auto line = lines.next()) found.emplace_back(*line);
  return found;
}

TEST(TextLines, OfAnyLength) {
  const TemporaryFolder folder;
  std::mt19937 random(3);
  for (const size_t longest : {3U, 100U, 70000U, 200000U}) {
    for (const bool ends : {true, false}) {
      std::vector<std::string> lines;
      std::string content = "\xef\xbb\xbf";
      for (size_t bytes = 0; bytes < 400000;) {
        std::string line;
        while (line.size() < random() % longest) line += random() % 2 == 0 ? "é€" : "x🚢";
        bytes += line.size() + 1;
        content += line + (random() % 2 == 0 ? "\n" : "\r\n");
        lines.push_back(std::move(line));
      }
      lines.emplace_back(ends ? "last" : "last\r");
      content += ends ? "last\n" : "last\r\r";
      write_file(folder / "a", content);
      EXPECT_TRUE(lines_of(folder / "a") == lines) << longest;
      Sha256 hash;
      TextLines hashed(folder / "a", content.size(), &hash);
      hashed.check_rest();
      EXPECT_EQ(hash.finish(), sha256_of(content));
    }
  }
  write_file(folder / "a", "");
  EXPECT_TRUE(lines_of(folder / "a").empty());
  write_file(folder / "a", "\n\r\n\n");
  EXPECT_EQ(lines_of(folder / "a"), (std::vector<std::string>{"", "", ""}));
}

TEST(TextLines, OtherEncodingsAreToldBeforeOtherFaults) {
  const TemporaryFolder folder;
  std::string content;
  for (int i = 0; i < 30000; ++i) content += "a line\n";
  write_file(folder / "a", content + "na\xefve\n");
  for (const bool early : {false, true}) {
    TextLines lines(folder / "a", 1 << 20);
    if (early) lines.next();
    const std::string message =
        error_of([&] { early ? lines.fail("a fault of its own") : lines.check_rest(); }, ErrorCode::kFormat);
    EXPECT_TRUE(holds(message, "a: line 30001: not UTF-8 (convert")) << message;
  }
  write_file(folder / "a", content);
  TextLines lines(folder / "a", 1 << 20);
  lines.next();
  lines.next();
  EXPECT_TRUE(holds(error_of([&] { lines.fail("why"); }, ErrorCode::kFormat), "a: line 2: why"));
  // UTF-16 without a mark, whose first line has no NUL.
  write_file(folder / "a", std::string("\x2d\x4e\xfd\x56\n\0\x2d\x4e", 8));
  EXPECT_TRUE(holds(error_of([&] { lines_of(folder / "a"); }, ErrorCode::kFormat), "line 1: not UTF-8: it has a NUL"));
  write_file(folder / "a", content);
  EXPECT_TRUE(holds(error_of([&] { lines_of(folder / "a", content.size() - 1); }, ErrorCode::kFormat), "longer than"));
  EXPECT_EQ(lines_of(folder / "a", content.size()).size(), 30000U);
}

}  // namespace
}  // namespace octobert::converter
