// Label names from config.json and from files, and what is said of odd ones.
#include "converter/labels.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "converter/json.h"
#include "octobert/error.h"
#include "tests/errors.h"
#include "tests/temporary_folder.h"
#include "tests/tiny_checkpoint.h"

namespace octobert::converter {
namespace {

using nlohmann::json;
using test::TemporaryFolder;
using test::write_file;

TEST(Labels, OfConfig) {
  json config;
  for (int i = 0; i < 12; ++i) config["id2label"][std::to_string(i)] = "L" + std::to_string(i);
  const std::vector<std::string> labels = labels_of_config(config, "config.json");
  ASSERT_EQ(labels.size(), 12U);
  EXPECT_EQ(labels[2], "L2");  // as text, "10" and "11" come before "2"
  EXPECT_EQ(labels[11], "L11");
  EXPECT_EQ(labels_of_config(json::object(), ""), (std::vector<std::string>{"LABEL_0", "LABEL_1"}));
  EXPECT_EQ(labels_of_config(json::parse(R"({"num_labels":1})"), ""), (std::vector<std::string>{"LABEL_0"}));
  const auto refused = [](const char* text, const char* part) {
    try {
      labels_of_config(json::parse(text), "config.json");
      ADD_FAILURE() << text;
    } catch (const Error& e) {
      EXPECT_NE(std::string(e.what()).find("config.json"), std::string::npos) << e.what();
      EXPECT_NE(std::string(e.what()).find(part), std::string::npos) << e.what();
    }
  };
  refused(R"({"id2label":{}})", "id2label");
  refused(R"({"id2label":["O"]})", "id2label");
  refused(R"({"id2label":{"0":"O","2":"X"}})", "no entry for 1");
  refused(R"({"id2label":{"1":"O"}})", "no entry for 0");
  refused(R"({"id2label":{"zero":"O"}})", "'zero'");
  refused(R"({"id2label":{"-1":"O"}})", "'-1'");
  refused(R"({"id2label":{" 0":"O"}})", "' 0'");
  refused(R"({"id2label":{"0":"O","00":"X"}})", "index 0 appears twice");
  refused(R"({"id2label":{"0":0}})", "id2label[0]");
  refused(R"({"id2label":{"0":""}})", "id2label[0]");
  refused(R"({"num_labels":0})", "num_labels");
  refused(R"({"num_labels":"3"})", "num_labels");
  refused(R"({"num_labels":100000000})", "num_labels");
}

TEST(Labels, OfFile) {
  const TemporaryFolder folder;
  const auto labels = [&](const std::string& content) {
    write_file(folder / "labels.txt", content);
    return labels_of_file(folder / "labels.txt");
  };
  const std::vector<std::string> expected = {"O", "B-Größe"};
  EXPECT_EQ(labels("O\nB-Größe\n"), expected);
  EXPECT_EQ(labels("O\nB-Größe"), expected);
  EXPECT_EQ(labels("O\r\nB-Größe\r\n"), expected);
  EXPECT_EQ(labels("\xef\xbb\xbfO\nB-Größe\n"), expected);
  for (const char* bad : {"", "\n", "O\n\nB-X\n", "O\n\xff\n", "O\n\r\n", "O \nB-X\n", "O\n\tB-X\n", "O\n  \n"})
    EXPECT_THROW(labels(bad), Error) << bad;
  EXPECT_THROW(labels_of_file(folder / "absent"), Error);
  const std::string latin1 = test::error_of([&] { labels("O\nB-Gr\xf6\xdf\x65\n"); }, ErrorCode::kFormat);
  EXPECT_TRUE(test::holds(latin1, "labels.txt: line 2: not UTF-8")) << latin1;
}

// Both files that names come from, as an editor of another system saves them.
TEST(Labels, Utf16IsToldByName) {
  using namespace std::string_literals;
  const TemporaryFolder folder;
  for (const std::string& content : {"\xff\xfeO\0\n\0"s, "\xfe\xff\0O\0\n"s, "{\0}\0"s, "\0{\0}"s}) {
    write_file(folder / "names", content);
    for (const std::string& message :
         {test::error_of([&] { labels_of_file(folder / "names"); }, ErrorCode::kFormat),
          test::error_of([&] { read_json_object(folder / "names"); }, ErrorCode::kFormat)}) {
      EXPECT_TRUE(test::holds(message, "names: line 1: not UTF-8")) << message;
      EXPECT_TRUE(test::holds(message, "looks like UTF-16")) << message;
    }
  }
}

TEST(Labels, Warnings) {
  EXPECT_TRUE(label_warnings({"O", "B-PER", "I-PER", "OTHER"}).empty());
  EXPECT_EQ(label_warnings({"LABEL_0", "LABEL_1"}).size(), 1U);
  EXPECT_TRUE(label_warnings({"LABEL_0", "X"}).empty());
  const std::vector<std::string> grouped = label_warnings({"O", "B-O", "I-O"});
  ASSERT_EQ(grouped.size(), 2U);
  EXPECT_NE(grouped[0].find("'B-O'"), std::string::npos);
  EXPECT_EQ(label_warnings({"O", "A", "A", "A"}).size(), 1U);
}

}  // namespace
}  // namespace octobert::converter
