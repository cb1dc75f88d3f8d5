#include "converter/report_html.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <map>
#include <system_error>

#include "converter/output_file.h"
#include "converter/report_charts.h"
#include "converter/report_elements.h"
#include "converter/report_layers.h"
#include "converter/report_style.h"
#include "converter/report_text.h"
#include "octobert/error.h"

namespace octobert::converter {
namespace {

constexpr size_t kMaxExamples = 500;     // a page of more is no pleasure; the count tells how many there are
constexpr size_t kExampleContext = 300;  // bytes of text on each side of the word

// A section of the page and its entry in the navigation.
struct Section {
  const char* id;
  const char* heading;
  std::string body;  // empty: left out
};

// ---- the head: what, how large, how good ----

std::string tile(std::string_view what, std::string_view value, const std::string& why) {
  return fmt::format("<li><p class=\"what\">{}</p><p class=\"value\">{}</p><p class=\"why\">{}</p></li>\n",
                     html_escape(what), html_escape(value), why);
}

std::string size_tile(const ReportData& data) {
  if (!data.model_bytes) return "";
  if (!data.source_bytes || *data.source_bytes == 0 || *data.model_bytes == 0) {
    return tile("Size", bytes_text(*data.model_bytes), "");
  }
  const double ratio = static_cast<double>(*data.source_bytes) / static_cast<double>(*data.model_bytes);
  const double share = std::min(1 / ratio, 1.0);
  return tile("Size", bytes_text(*data.model_bytes),
              fmt::format("<span class=\"meter\" style=\"--v:{:.4f}\"><i></i></span>from {}: {:.2f} times smaller",
                          share, bytes_text(*data.source_bytes), ratio));
}

std::string metric_change(const ReportMetric& metric) {
  if (!metric.reference || !metric.model) return "";
  const double difference = *metric.model - *metric.reference;
  if (metric.unit == ReportMetric::Unit::kShare) {
    return change(difference, signed_text(fmt::format("{:+.2f} points", 100 * difference)), true);
  }
  return signed_text(fmt::format("{:+.4g}", difference));
}

bool is_time(const ReportMetric& metric) { return metric.unit == ReportMetric::Unit::kMilliseconds; }

// Of one measure on several texts the worst: the lowest share, the largest of other numbers; of how the model differs
// from the float model, where that is known of both.
struct MetricTile {
  const ReportMetric* metric;
  size_t texts = 1;
  void add(const ReportMetric& other) {
    ++texts;
    double more = *other.model - *metric->model;
    if (other.reference && metric->reference) more -= *other.reference - *metric->reference;
    if (metric->unit == ReportMetric::Unit::kShare ? more < 0 : more > 0) metric = &other;
  }
};

std::string metric_tile(const MetricTile& of) {
  const ReportMetric& metric = *of.metric;
  std::string why = html_escape(metric.source);
  if (of.texts > 1) why += fmt::format(", the worst of {}", of.texts);
  if (metric.reference) {
    why += fmt::format("{}float model {}, {}", why.empty() ? "" : ": ", metric_text(metric.reference, metric.unit),
                       metric_change(metric));
  }
  return tile(metric.name, metric_text(metric.model, metric.unit), why);
}

std::string metric_tiles(const ReportData& data) {
  constexpr size_t kMost = 3;
  std::vector<MetricTile> shown;
  for (const ReportMetric& metric : data.metrics) {
    if (!metric.model || is_time(metric)) continue;
    const auto found = std::find_if(shown.begin(), shown.end(),
                                    [&metric](const MetricTile& other) { return other.metric->name == metric.name; });
    if (found != shown.end()) {
      found->add(metric);
    } else if (shown.size() < kMost) {
      shown.push_back({&metric});
    }
  }
  std::string out;
  for (const MetricTile& of : shown) out += metric_tile(of);
  return out;
}

std::string tiles(const ReportData& data) {
  std::string out = size_tile(data) + metric_tiles(data);
  const LayerSqnr* noisiest = nullptr;
  for (const LayerSqnr& entry : data.sqnr) {
    const bool noisier = noisiest == nullptr || entry.decibel < noisiest->decibel;
    if (std::isfinite(entry.decibel) && noisier) noisiest = &entry;
  }
  if (noisiest != nullptr) {
    out += tile("Lowest signal-to-noise ratio", fmt::format("{:.1f} dB", noisiest->decibel), breakable(noisiest->name));
  }
  if (data.steps.size() > 1) {
    const auto speed = static_cast<size_t>(
        std::count_if(data.steps.begin(), data.steps.end(), [](const auto& step) { return step.reason == "speed"; }));
    out += tile("Rolled back", std::to_string(data.steps.size() - 1 - speed),
                speed == 0 ? "products, from static"
                           : fmt::format("for accuracy; {} more, for which static is no faster", speed));
  }
  return out.empty() ? "" : "<ul class=\"tiles\">\n" + out + "</ul>\n";
}

std::string warnings(const ReportData& data) {
  if (data.warnings.empty()) return "";
  std::string items;
  for (const std::string& warning : data.warnings) items += fmt::format("<li>{}</li>", html_escape(warning));
  return fmt::format("<section class=\"warnings\" aria-label=\"Warnings\"><h2>Warnings</h2><ul>{}</ul></section>\n",
                     items);
}

// ---- sections ----

std::string metrics_body(const ReportData& data) {
  std::string rows;
  for (const ReportMetric& metric : data.metrics) {
    if (is_time(metric)) continue;
    rows += "<tr>" + row_head(metric.name) + cell(metric.source) +
            number_cell(metric_text(metric.reference, metric.unit)) +
            number_cell(metric_text(metric.model, metric.unit)) +
            fmt::format("<td class=\"n\">{}</td>", metric_change(metric)) +
            fmt::format("<td class=\"text\">{}</td></tr>", html_escape(metric.note));
  }
  if (rows.empty()) return "";
  return table(
      "Measured against the float model", "",
      table_head({"measure", "on", "#float model", "#this model", "#change", "note"}) + "<tbody>" + rows + "</tbody>");
}

std::string times_body(const ReportData& data) {
  double most = 0;
  for (const ReportMetric& metric : data.metrics) {
    if (is_time(metric)) most = std::max(most, metric.model.value_or(0));
  }
  std::string rows;
  for (const ReportMetric& metric : data.metrics) {
    if (!is_time(metric) || !metric.model) continue;
    rows += "<tr>" + row_head(metric.name) + cell(metric.source) + number_cell(metric_text(metric.model, metric.unit)) +
            fmt::format("<td class=\"wide\">{}</td></tr>", bar(*metric.model, most, ""));
  }
  if (rows.empty()) return "";
  return table("Measured on this machine, the forms in turns", "",
               table_head({"form", "of", "#time", ""}) + "<tbody>" + rows + "</tbody>");
}

// The steps' times are sums of what was measured product by product; the model as a whole is another measurement.
std::string two_times(const ReportData& data) {
  if (!data.first_seconds || !data.last_seconds || !data.steps.front().seconds || !data.steps.back().seconds) return "";
  return fmt::format(
      "<p class=\"labels\"><span class=\"key round\"></span>sum: the first form as timed before the search, and what "
      "each product's scheme costs beside it, timed in all layers at once: {:.2f} to {:.2f} ms.<br>"
      "<span class=\"key hollow\"></span>measured: the whole model, first and chosen form side by side after the "
      "search: "
      "{:.2f} and {:.2f} ms. The machine may have been busier then, and costs do not add up exactly.</p>\n",
      1e3 * *data.steps.front().seconds, 1e3 * *data.steps.back().seconds, 1e3 * *data.first_seconds,
      1e3 * *data.last_seconds);
}

std::string steps_body(const ReportData& data) {
  if (data.steps.empty()) return "";
  const auto difference = [](std::optional<double> a, std::optional<double> b, double unit, bool larger_is_better) {
    if (!a || !b) return std::string();
    return change(*b - *a, signed_text(fmt::format("{:+.3f}", (*b - *a) * unit)), larger_is_better);
  };
  std::string rows;
  for (size_t i = 0; i < data.steps.size(); ++i) {
    const ReportStep &step = data.steps[i], &before = data.steps[i == 0 ? 0 : i - 1];
    rows += fmt::format("<tr>{}", row_head(std::to_string(i)));
    rows += step.product.empty()
                ? "<td>start</td><td></td>"
                : cell(step.product) + "<td class=\"short\">" + chip(step.from) + " → " + chip(step.to) + "</td>";
    rows += cell(step.reason);
    rows += number_cell(step.seconds ? fmt::format("{:.2f}", *step.seconds * 1e3) : "");
    rows += fmt::format("<td class=\"n\">{}</td>", i == 0 ? "" : difference(before.seconds, step.seconds, 1e3, false));
    rows += number_cell(step.value ? signed_text(fmt::format("{:.3f}", *step.value)) : "");
    rows += fmt::format("<td class=\"n\">{}</td></tr>", i == 0 ? "" : difference(before.value, step.value, 1, true));
  }
  const std::string measure = "#" + (data.step_measure.empty() ? "accuracy" : data.step_measure);
  const std::string chart = step_chart(data);
  return lead(
             "The search starts from all static, gives the most harmful products back to a finer scheme until the "
             "budget holds, then takes whatever is faster while it still does. The budget has to hold on the texts "
             "that are tuned on, which the figures here are of, and on those held out. For accuracy: the scheme costs "
             "time, which only the budget asks for. For speed: as timed here static is no faster, whatever it would "
             "lose.") +
         (chart.empty() ? "" : "<figure class=\"big\">" + chart + "</figure>") + two_times(data) +
         table("What each step cost in time and gave in accuracy", "",
               table_head({"step", "product", "change", "for", "#sum, ms", "#cost, ms", measure, "#gain"}) + "<tbody>" +
                   rows + "</tbody>");
}

// Which label became which, and how often, most frequent first.
std::string transitions(const ReportData& data) {
  std::map<std::pair<std::string, std::string>, size_t> counts;
  for (const ReportExample& example : data.examples) ++counts[{example.reference_label, example.model_label}];
  std::vector<std::pair<std::pair<std::string, std::string>, size_t>> sorted(counts.begin(), counts.end());
  std::stable_sort(sorted.begin(), sorted.end(), [](const auto& a, const auto& b) { return a.second > b.second; });
  constexpr size_t kMost = 12;
  std::string rows;
  for (size_t i = 0; i < std::min(sorted.size(), kMost); ++i) {
    const auto& [labels, count] = sorted[i];
    rows += "<tr>" + cell(labels.first) + cell(labels.second) + number_cell(std::to_string(count)) +
            fmt::format("<td class=\"wide\">{}</td></tr>",
                        bar(static_cast<double>(count), static_cast<double>(sorted.front().second), ""));
  }
  return table(sorted.size() > kMost ? "The most frequent changes of label" : "Changes of label", "",
               table_head({"float model", "this model", "#words", ""}) + "<tbody>" + rows + "</tbody>");
}

std::string example_item(const ReportExample& example) {
  const Excerpt part = excerpt(example, kExampleContext);
  std::string out = fmt::format(
      "<li><p dir=\"auto\">{}{}<mark>{}</mark>{}{}</p><span class=\"labels\">float model "
      "<code>{}</code>, this model <code>{}</code>",
      part.cut_front ? "… " : "", html_escape(part.before), html_escape(part.word), html_escape(part.after),
      part.cut_back ? " …" : "", html_escape(example.reference_label), html_escape(example.model_label));
  if (!example.gold_label.empty()) {
    const bool was_right = example.gold_label == example.reference_label;
    const bool is_right = example.gold_label == example.model_label;
    out += fmt::format(", in the text <code>{}</code>: {}", html_escape(example.gold_label),
                       is_right    ? "<span class=\"up\">wrong → right</span>"
                       : was_right ? "<span class=\"down\">right → wrong</span>"
                                   : "wrong → wrong");
  }
  if (!example.source.empty()) out += fmt::format(" ({})", html_escape(example.source));
  return out + "</span></li>\n";
}

std::string examples_body(const ReportData& data) {
  if (data.examples.empty()) return "";
  constexpr size_t kOpen = 20;
  const size_t shown = std::min(data.examples.size(), kMaxExamples);
  const size_t total = std::max(data.changed_words, data.examples.size());
  std::string open, folded;
  for (size_t i = 0; i < shown; ++i) (i < kOpen ? open : folded) += example_item(data.examples[i]);
  std::string out =
      lead(fmt::format("{} {} a label that is not the float model's{}", total, total == 1 ? "word has" : "words have",
                       shown < total ? fmt::format("; the first {} are below.", shown) : ".")) +
      transitions(data) + "<h3>In their texts</h3><ol class=\"examples\">" + open + "</ol>";
  if (!folded.empty()) {
    out += fmt::format("<details><summary>{} more</summary><ol class=\"examples\">{}</ol></details>", shown - kOpen,
                       folded);
  }
  return out;
}

std::string provenance_body(const ReportData& data) {
  if (data.provenance.empty()) return "";
  std::string rows;
  for (const auto& [key, value] : data.provenance) {
    rows += fmt::format("<tr>{}<td><code>{}</code></td></tr>", row_head(key), html_escape(value));
  }
  return table("Where the numbers come from", "", "<tbody>" + rows + "</tbody>");
}

std::vector<Section> sections_of(const ReportData& data) {
  std::vector<Section> sections = {
      {"metrics", "Accuracy", metrics_body(data)},
      {"times", "Time", times_body(data)},
      {"rollback", "Rolled back", steps_body(data)},
      {"sensitivity", "Sensitivity", sensitivity_body(data)},
      {"products", "Schemes", products_body(data)},
      {"sqnr", "Noise by layer", sqnr_body(data)},
      {"clipped", "Clipped", clipped_body(data)},
      {"activations", "Activations", sites_body(data, ReportSite::Kind::kActivations)},
      {"weights", "Weights", sites_body(data, ReportSite::Kind::kWeights)},
      {"examples", "Changed labels", examples_body(data)},
      {"provenance", "Provenance", provenance_body(data)},
  };
  std::erase_if(sections, [](const Section& section) { return section.body.empty(); });
  return sections;
}

}  // namespace

std::string report_html(const ReportData& data) {
  const std::vector<Section> sections = sections_of(data);
  std::string links, bodies;
  for (const Section& section : sections) {
    links += fmt::format("<li><a href=\"#{}\">{}</a></li>", section.id, section.heading);
    bodies += fmt::format("<section id=\"{0}\" aria-labelledby=\"{0}-h\"><h2 id=\"{0}-h\">{1}</h2>\n{2}</section>\n",
                          section.id, section.heading, section.body);
  }
  const std::string title = html_escape(data.title.empty() ? "octobert" : data.title);
  const std::string subtitle = data.scheme.empty() ? "" : "Scheme " + chip(data.scheme);
  // The policy forbids scripts and every request, whatever a text might smuggle in.
  return fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta http-equiv=\"Content-Security-Policy\" "
      "content=\"default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'\">\n"
      "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"><title>{0}: "
      "{1}</title>\n<style>{2}</style>"
      "</head>\n<body><a class=\"skip\" href=\"#main\">Skip to the report</a>\n<header><div><p>{0}</p><h1>{1}</h1>"
      "<p>{3}</p></div></header>\n<nav aria-label=\"Sections\"><ul>{4}</ul></nav>\n<main "
      "id=\"main\">\n{5}{6}{7}</main>\n"
      "<footer>Made by octobert.</footer></body></html>\n",
      title, html_escape(data.model), kReportStyle, subtitle, links, warnings(data), tiles(data), bodies);
}

void check_report_folder(const std::filesystem::path& folder, const char* name) {
  const auto fail = [&folder](const std::string& why) {
    throw Error(ErrorCode::kIo, fmt::format("{}: can't be a folder for a report: {}", folder.string(), why));
  };
  if (folder.empty()) fail("the name is empty");
  std::error_code error;
  std::filesystem::path existing = folder;
  while (!std::filesystem::exists(existing, error) && !error) {
    // Nothing can be made under the name of a link to nothing.
    if (std::filesystem::is_symlink(existing, error)) fail(existing.string() + " is a link to nothing");
    existing = existing.has_parent_path() && existing != existing.root_path() ? existing.parent_path() : ".";
  }
  if (error) fail(error.message());
  if (!std::filesystem::is_directory(existing, error)) fail(existing.string() + " is not a folder");
  // Trying is the only sure answer: access() knows nothing of quotas, /proc or what the superuser may not do.
  if (existing == folder) {
    const OutputFile probe(folder / name);
  } else {
    std::string probe = (existing / ".octobert.XXXXXX").string();
    if (::mkdtemp(probe.data()) == nullptr) {
      fail(fmt::format("{}: {}", existing.string(), std::generic_category().message(errno)));
    }
    ::rmdir(probe.c_str());
  }
}

void write_report(const std::filesystem::path& folder, const ReportData& data) {
  write_into_folder(folder, kReportFile, report_html(data));
}

}  // namespace octobert::converter
