// The report: what hostile texts may do to the page (nothing), what is shown and what is left out, and the bytes of
// TensorBoard's event files.
#include <gtest/gtest.h>

#include <filesystem>
#include <iterator>
#include <limits>
#include <regex>
#include <string>

#include "converter/report_charts.h"
#include "converter/report_data.h"
#include "converter/report_html.h"
#include "converter/report_text.h"
#include "converter/tensorboard.h"
#include "octobert/error.h"
#include "tests/errors.h"
#include "tests/temporary_folder.h"

namespace octobert::converter {
namespace {

// Not braces: of them g++ 12 says that a member which is not made yet may be destroyed (-Wmaybe-uninitialized).
ReportSite site(const std::string& name, ReportSite::Kind kind, const ReportHistogram& histogram,
                const std::vector<ReportRange>& ranges, const std::string& note) {
  ReportSite s;
  s.name = name;
  s.kind = kind;
  s.histogram = histogram;
  s.ranges = ranges;
  s.note = note;
  return s;
}

using Unit = ReportMetric::Unit;

// Every part filled; `evil` wherever a text can be.
ReportData full_report(const std::string& evil) {
  ReportData data;
  data.title = data.model = data.scheme = evil;
  data.provenance = {{evil, evil}};
  data.warnings = {evil};
  data.source_bytes = 45'600'000;
  data.model_bytes = 11'400'000;
  data.metrics = {{evil, evil, 0.6942, 0.6952, Unit::kShare, evil}, {"", "agreement", {}, 0.99682, Unit::kShare, ""}};
  data.sqnr = {{"embeddings", 43.2}, {evil, 1}, {"logits", 27.1}};
  data.products = {{"classifier", evil}, {evil, "static"}};
  data.clipped = {{evil, {{evil, 0.001}}}, {"second", {}}};
  for (const int layer : {0, 1, 2}) {
    const std::string prefix = "layer." + std::to_string(layer) + ".";
    data.sqnr.push_back({prefix + "ffn2", 40.0 - layer});
    data.sqnr.push_back({prefix + evil, 30.0 - layer});
    data.products.emplace_back(prefix + "ffn2", "static");
    data.clipped.back().shares.push_back({prefix + "ffn2", 0.01 * layer});
    data.sensitivity.push_back({prefix + "ffn2", evil, 0.5 * layer, 1.5});
    data.steps.push_back({layer == 0 ? "" : prefix + evil, evil, evil, evil, 0.012 + 0.001 * layer, 99.0 + layer});
  }
  data.sites.push_back(
      site(evil, ReportSite::Kind::kWeights, {-1, 1, {1, 5, 9, 2}}, {{evil, -0.5, 0.5}, {evil, -2, 2}}, evil));
  data.sites.push_back(
      site("layer.1.ffn2", ReportSite::Kind::kActivations, {-1, 3, {1, 5, 0, 2}}, {{"chosen", -0.5, 0.5}}, ""));
  data.sensitivity_measure = data.step_measure = evil;
  data.step_budget = 99.6;
  data.first_seconds = 0.02;
  data.last_seconds = 0.025;
  data.examples = {{evil, "before " + evil + " after", 7, 7 + evil.size(), evil, evil, evil}};
  data.changed_words = 12;
  return data;
}

size_t count(const std::string& text, const std::string& part) {
  size_t found = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + part.size())) ++found;
  return found;
}

// Every element is closed in order; the page has no element that could run or fetch anything.
void expect_well_formed(const std::string& page) {
  std::vector<std::string> open;
  const std::regex tag("<(/?)([a-zA-Z][a-zA-Z0-9]*)((?:[^<>\"]|\"[^\"<>]*\")*)>");
  for (std::sregex_iterator it(page.begin(), page.end(), tag), end; it != end; ++it) {
    const std::string name = (*it)[2], rest = std::regex_replace((*it)[3].str(), std::regex("\"[^\"]*\""), "");
    EXPECT_TRUE(name != "script" && name != "img" && name != "iframe" && name != "link" && name != "object") << name;
    EXPECT_EQ(rest.find(" on"), std::string::npos) << rest;
    if (name == "meta" || name == "br" || name == "wbr" || rest.ends_with('/')) continue;
    if ((*it)[1].length() == 0) {
      open.push_back(name);
    } else {
      ASSERT_FALSE(open.empty()) << name;
      ASSERT_EQ(open.back(), name);
      open.pop_back();
    }
  }
  EXPECT_TRUE(open.empty());
  // What is left without elements and the style sheet has no markup.
  std::string text = std::regex_replace(page, tag, "");
  text = text.substr(text.find("}\n<") == std::string::npos ? 0 : text.find("}\n<"));
  EXPECT_EQ(count(text, "<"), 1u) << "the doctype alone";
}

// The part of a page from one text on to another.
std::string part_of(const std::string& page, const std::string& from, const std::string& to) {
  const size_t begin = page.find(from);
  return begin == std::string::npos ? "" : page.substr(begin, page.find(to, begin) - begin);
}

TEST(ReportHtml, OfSeveralTextsTheTileShowsTheWorst) {
  using Unit = ReportMetric::Unit;
  ReportData data;
  data.metrics = {{"news.txt", "agreement", {}, 0.999, Unit::kShare, ""},
                  {"news.txt", "divergence", {}, 0.001, Unit::kNumber, ""},
                  {"chats.txt", "agreement", {}, 0.970, Unit::kShare, ""},
                  {"chats.txt", "divergence", {}, 0.004, Unit::kNumber, ""},
                  {"mails.txt", "agreement", {}, 0.998, Unit::kShare, ""}};
  const std::string tiles = part_of(report_html(data), "<ul class=\"tiles\">", "</ul>");
  EXPECT_EQ(count(tiles, "<li>"), 2u);
  EXPECT_NE(tiles.find("97.000 %</p><p class=\"why\">chats.txt, the worst of 3<"), std::string::npos) << tiles;
  EXPECT_NE(tiles.find("0.004</p><p class=\"why\">chats.txt, the worst of 2<"), std::string::npos) << tiles;
}

TEST(ReportHtml, TheWorstIsTheLargestLossWhereThereIsAFloatModel) {
  using Unit = ReportMetric::Unit;
  ReportData data;
  data.metrics = {{"hard.tsv", "F1", 0.60, 0.61, Unit::kShare, ""},
                  {"easy.tsv", "F1", 0.95, 0.90, Unit::kShare, ""},
                  {"middling.tsv", "F1", 0.80, 0.79, Unit::kShare, ""}};
  const std::string tiles = part_of(report_html(data), "<ul class=\"tiles\">", "</ul>");
  EXPECT_EQ(count(tiles, "<li>"), 1u);
  EXPECT_NE(tiles.find("90.000 %</p><p class=\"why\">easy.tsv, the worst of 3: float model 95.000 %"),
            std::string::npos)
      << tiles;
}

TEST(ReportHtml, TimesAreNoAccuracy) {
  using Unit = ReportMetric::Unit;
  ReportData data;
  data.metrics = {{"held out", "agreement", {}, 0.99, Unit::kShare, ""},
                  {"512 tokens", "static", {}, 20.0, Unit::kMilliseconds, ""},
                  {"512 tokens", "float", {}, 80.0, Unit::kMilliseconds, ""}};
  const std::string page = report_html(data);
  expect_well_formed(page);
  const std::string accuracy = part_of(page, "<section id=\"metrics\"", "</section>");
  const std::string times = part_of(page, "<section id=\"times\"", "</section>");
  EXPECT_EQ(count(accuracy, "<tr>"), 2u);  // a head and one measure
  EXPECT_EQ(accuracy.find("static"), std::string::npos);
  EXPECT_EQ(count(times, "<tr>"), 3u);
  EXPECT_NE(times.find("20.00 ms</td><td class=\"wide\"><span class=\"bar\" style=\"--v:0.2500\">"), std::string::npos)
      << times;
  data.metrics.resize(1);
  EXPECT_EQ(report_html(data).find("id=\"times\""), std::string::npos);
}

TEST(ReportHtml, RolledBackForAccuracyIsNotForSpeed) {
  ReportData data;
  data.steps = {{"", "", "static", "", 0.010, 99.1},
                {"layer.0.qkv", "static", "dynamic", "speed", 0.009, 99.2},
                {"layer.0.ffn2", "static", "dynamic", "accuracy", 0.011, 99.8},
                {"layer.1.ffn2", "static", "float", "accuracy", 0.015, 99.9}};
  const std::string page = report_html(data);
  EXPECT_NE(
      page.find("<p class=\"value\">2</p><p class=\"why\">for accuracy; 1 more, for which static is no faster</p>"),
      std::string::npos);
  const std::string section = part_of(page, "<section id=\"rollback\"", "</section>");
  EXPECT_EQ(count(section, ">accuracy</td>"), 2u);
  EXPECT_EQ(count(section, ">speed</td>"), 1u);
  data.steps[1].reason = "accuracy";
  EXPECT_NE(report_html(data).find("<p class=\"value\">3</p><p class=\"why\">products, from static</p>"),
            std::string::npos);
}

TEST(ReportHtml, SumsOfTimesAreNotTheModelsTime) {
  ReportData data;
  data.steps = {{"", "", "static", "", 0.010, 99.1}, {"layer.0.ffn2", "static", "dynamic", "accuracy", 0.011, 99.8}};
  const auto rollback = [&] { return part_of(report_html(data), "<section id=\"rollback\"", "</section>"); };
  EXPECT_EQ(count(rollback(), "class=\"whole\""), 0u);
  EXPECT_EQ(count(rollback(), ">measured</text>"), 0u);
  data.first_seconds = 0.0142;
  data.last_seconds = 0.0147;
  const std::string both = rollback();
  EXPECT_EQ(count(both, "class=\"whole\""), 2u);
  for (const char* shown : {">measured</text>", "measured as a whole: 14.20 ms", "measured as a whole: 14.70 ms",
                            "10.00 to 11.00 ms", "14.20 and 14.70 ms"}) {
    EXPECT_NE(both.find(shown), std::string::npos) << shown;
  }
}

TEST(ReportHtml, HostileTextsStayTexts) {
  const std::string evil[] = {"<script>alert(1)</script>",
                              "\" onload=\"alert(1)",
                              "' onload='x",
                              "</style><img src=x>",
                              "&lt;b&gt;",
                              "]]>-->",
                              "a\xff\xfe\xc0\xafz",
                              "x\xE2\x80\xAEy\xE2\x81\xA6z",
                              "{}{0}%s",
                              std::string("nul\0byte", 8),
                              "\x1b[31m"};
  for (const std::string& text : evil) {
    SCOPED_TRACE(html_escape(text));
    const std::string page = report_html(full_report(text));
    expect_well_formed(page);
    EXPECT_EQ(page.find("<script"), std::string::npos);
    EXPECT_EQ(page.find("onload=\""), std::string::npos);
    EXPECT_NE(page.find(html_escape(text)), std::string::npos);
    for (const char c : page) EXPECT_TRUE(c == '\n' || static_cast<unsigned char>(c) >= 0x20);
  }
}

TEST(ReportHtml, NothingIsFetched) {
  const std::string page = report_html(full_report("text"));
  EXPECT_EQ(count(page, "http"), 1u) << "http-equiv alone";
  EXPECT_EQ(page.find("url("), std::string::npos);
  EXPECT_EQ(page.find("src="), std::string::npos);
  EXPECT_EQ(page.find("@import"), std::string::npos);
  EXPECT_NE(page.find("default-src 'none'"), std::string::npos);
}

TEST(ReportHtml, EveryPartIsOptional) {
  const std::string empty = report_html({});
  expect_well_formed(empty);
  EXPECT_EQ(empty.find("<section"), std::string::npos);
  const std::string full = report_html(full_report("text"));
  EXPECT_EQ(count(full, "<section id="), 10u);
  for (const char* id : {"metrics", "rollback", "sensitivity", "products", "sqnr", "clipped", "activations", "weights",
                         "examples", "provenance"}) {
    EXPECT_EQ(count(full, std::string("href=\"#") + id + "\""), 1u) << id;
    EXPECT_EQ(count(full, std::string("<section id=\"") + id + "\""), 1u) << id;
  }
  EXPECT_EQ(full, report_html(full_report("text")));
}

TEST(ReportHtml, ShowsTheFigures) {
  ReportData data = full_report("text");
  const std::string page = report_html(data);
  for (const char* shown : {"69.420 %", "69.520 %", "+0.10 points", "99.682 %", "40.0", "11.4 MB", "4.00 times smaller",
                            "27.1 dB", "1.0000 %", "<mark>text</mark>", "12 words have", "polyline", "chosen"}) {
    EXPECT_NE(page.find(shown), std::string::npos) << shown;
  }
  // right to wrong, and the other way
  data.examples = {{"", "a b", 0, 1, "B-PER", "O", "B-PER"}, {"", "a b", 2, 3, "B-PER", "O", "O"}};
  const std::string changed = report_html(data);
  EXPECT_EQ(count(changed, "right → wrong"), 1u);
  EXPECT_EQ(count(changed, "wrong → right"), 1u);
}

TEST(ReportHtml, NumbersThatAreNone) {
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN(), kInfinity = std::numeric_limits<double>::infinity();
  for (const double bad : {kNan, kInfinity, -kInfinity, 0.0, 1e308, -1e308, 5e-324}) {
    ReportData data = full_report("text");
    for (LayerSqnr& entry : data.sqnr) entry.decibel = bad;
    for (ReportClipped& source : data.clipped) {
      for (ReportShare& entry : source.shares) entry.share = bad;
    }
    for (ReportSensitivity& entry : data.sensitivity) entry.alone = entry.others = bad;
    for (ReportMetric& metric : data.metrics) metric.reference = metric.model = bad;
    for (ReportSite& site : data.sites) {
      site.histogram.low = bad;
      for (ReportRange& range : site.ranges) range.high = bad;
    }
    data.steps[1].seconds = data.steps[1].value = bad;
    data.first_seconds = data.last_seconds = bad;
    const std::string page = report_html(data);
    expect_well_formed(page);
    for (const char* attribute : {"=\"nan", "=\"inf", "=\"-nan", "=\"-inf", "--v:nan", "--v:-nan", "--v:inf", ",nan",
                                  ",-nan", ",inf", "Vnan", "Hnan", "V-nan", "H-nan", "Minf"}) {
      EXPECT_EQ(page.find(attribute), std::string::npos) << attribute << " with " << bad;
    }
    EXPECT_FALSE(event_file(data, 0).empty());
  }
}

TEST(ReportHtml, ExamplesAreCutAtCharacters) {
  ReportExample example{"", "", 0, 0, "A", "B", ""};
  for (int i = 0; i < 100; ++i) example.text += "ä";
  example.begin = 100;
  example.end = 102;
  const Excerpt part = excerpt(example, 11);
  EXPECT_EQ(part.before, "äääää");
  EXPECT_EQ(part.word, "ä");
  EXPECT_EQ(part.after, "äääää");
  EXPECT_TRUE(part.cut_front && part.cut_back);
  example.begin = 1000;  // beyond the text: nothing is taken for granted
  example.end = 5;
  EXPECT_EQ(excerpt(example, 11).word, "");
  example.begin = 0;
  EXPECT_FALSE(excerpt(example, 11).cut_front);
}

TEST(ReportText, OnlyUtf8AndNothingHidden) {
  EXPECT_EQ(visible("aäあ𝄞\n"), "aäあ𝄞\n");
  EXPECT_EQ(visible("\x80 \xc3 \xe3\x81"), "\uFFFD \uFFFD \uFFFD\uFFFD");
  EXPECT_EQ(visible("\xed\xa0\x80"), "\uFFFD\uFFFD\uFFFD");       // a surrogate
  EXPECT_EQ(visible("\xf4\x90\x80\x80").substr(0, 3), "\uFFFD");  // beyond U+10FFFF
  EXPECT_EQ(visible("\xc0\xaf"), "\uFFFD\uFFFD");                 // overlong
  EXPECT_EQ(visible(std::string("\0\x1b\x7f", 3)), "<U+0000><U+001B><U+007F>");
  EXPECT_EQ(visible("\u202Eab\u2066"), "<U+202E>ab<U+2066>");
  EXPECT_EQ(html_escape("<a href=\"x\">'&"), "&lt;a href=&quot;x&quot;&gt;&#39;&amp;");
  EXPECT_EQ(html_escape("\u202E"), "&lt;U+202E&gt;");
  EXPECT_EQ(markdown_escape("a|b\nc"), "a&#124;b c");
}

TEST(ReportText, Sites) {
  EXPECT_EQ(parse_site("layer.12.ffn2").layer, 12);
  EXPECT_EQ(parse_site("layer.12.ffn2").part, "ffn2");
  for (const char* name : {"logits", "layer.", "layer.x.ffn2", "layer.1", "layer.1.", "layer.-1.x",
                           "layer.99999999999.x", "", "layer.1x.y"}) {
    EXPECT_FALSE(parse_site(name).layer) << name;
    EXPECT_EQ(parse_site(name).part, name);
  }
}

TEST(ReportCharts, Ticks) {
  EXPECT_EQ(round_ticks({0, 10}, 5), (std::vector<double>{0, 2, 4, 6, 8, 10}));
  for (const ChartRange range : {ChartRange{-3.2, 7.1}, {98.95, 99.7}, {1e-9, 2e-9}, {-1e12, 5}}) {
    const std::vector<double> ticks = round_ticks(range, 6);
    ASSERT_GE(ticks.size(), 2u);
    EXPECT_LE(ticks.size(), 7u);
    for (const double tick : ticks) EXPECT_TRUE(tick >= range.low && tick <= range.high);
  }
  EXPECT_TRUE(round_ticks({1, 1}, 5).empty());
  EXPECT_TRUE(round_ticks({0, std::numeric_limits<double>::infinity()}, 5).empty());
}

// ---- TensorBoard ----

// RFC 3720, B.4, and the check value of the catalogue of CRCs.
TEST(TensorBoard, Crc32c) {
  EXPECT_EQ(crc32c(""), 0u);
  EXPECT_EQ(crc32c("123456789"), 0xE3069283u);
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8A9136AAu);
  EXPECT_EQ(crc32c(std::string(32, '\xff')), 0x62A8AB43u);
  std::string ascending, descending;
  for (int i = 0; i < 32; ++i) {
    ascending += static_cast<char>(i);
    descending += static_cast<char>(31 - i);
  }
  EXPECT_EQ(crc32c(ascending), 0x46DD794Eu);
  EXPECT_EQ(crc32c(descending), 0x113FDB5Cu);
}

// The bytes that TensorBoard 2.20's own EventFileWriter gives for these events
// (scripts/goldens/make_tensorboard_golden.py).
TEST(TensorBoard, GoldenBytes) {
  ReportData data;
  data.title = "octobert verify";
  data.sqnr = {{"embeddings", 0}, {"layer.3.ffn2", 31.25}, {"layer.200.ü", -0.1}};
  data.sites.push_back(site("layer.3.ffn2", ReportSite::Kind::kWeights, {-1, 1, {1, 2, 0, 400}}, {}, ""));
  data.sites.push_back(site("classifier", ReportSite::Kind::kActivations, {0, 8, {3}}, {}, ""));
  EXPECT_EQ(event_file(data, 1700000000.5),
            test::read_file(std::string(OCTOBERT_SOURCE_DIR) + "/tests/data/report.tfevents"));
}

TEST(Reports, FilesAppearWholeAndReplaceTheOld) {
  const test::TemporaryFolder folder;
  const std::filesystem::path made = folder.path() / "a" / "b";
  for (const char* text : {"first", "second"}) {
    check_report_folder(made, kReportFile);
    check_report_folder(made, kTensorboardFile);
    write_report(made, full_report(text));
    write_tensorboard(made, full_report(text));
  }
  EXPECT_EQ(test::read_file(made / "index.html"), report_html(full_report("second")));
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(made), {}), 2) << "something was left behind";
}

TEST(Reports, FoldersThatCannotBe) {
  const test::TemporaryFolder folder;
  const std::filesystem::path file = folder.path() / "file";
  test::write_file(file, "x");
  const std::filesystem::path link = folder.path() / "link", taken = folder.path() / "taken";
  std::filesystem::create_symlink("nowhere", link);
  std::filesystem::create_directories(taken / kReportFile);
  // Under /proc nobody can make a file or a folder, whatever the permissions say.
  for (const std::filesystem::path& bad : {file, file / "inside", std::filesystem::path(), link, link / "inside", taken,
                                           std::filesystem::path("/proc"), std::filesystem::path("/proc/octobert/a")}) {
    const std::string message = test::error_of([&] { check_report_folder(bad, kReportFile); }, ErrorCode::kIo);
    EXPECT_TRUE(test::holds(message, bad.string())) << message;
  }
  check_report_folder(taken, kTensorboardFile);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(taken), {}), 1) << "something was left behind";
  for (const auto write : {&write_report, &write_tensorboard}) {
    try {
      write(file / "inside", {});
      FAIL();
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kIo);
      EXPECT_NE(std::string(error.what()).find(file.string()), std::string::npos) << error.what();
    }
  }
  EXPECT_FALSE(std::filesystem::exists(folder.path() / "new"));
  const auto entries = [&] { return std::distance(std::filesystem::directory_iterator(folder.path()), {}); };
  const auto before = entries();
  check_report_folder(folder.path() / "new" / "folder", kReportFile);
  EXPECT_EQ(entries(), before) << "only looked";
}

}  // namespace
}  // namespace octobert::converter
