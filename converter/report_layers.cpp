#include "converter/report_layers.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "converter/report_charts.h"
#include "converter/report_elements.h"

namespace octobert::converter {
namespace {

struct SqnrLines {
  std::vector<std::vector<ChartPoint>> lines;  // one a part
  ChartRange x{0, 1}, y{0, 1};
};

// What can be drawn: equal results are infinitely many decibels; a million is nothing that floats can have.
bool is_drawable(double decibel) { return std::abs(decibel) < 1e6; }

SqnrLines sqnr_lines(const ReportData& data, const Grid& grid) {
  SqnrLines result;
  double low = 1e300, high = -1e300;
  for (const std::string_view part : grid.parts) {
    auto& line = result.lines.emplace_back();
    for (const int layer : grid.layers) {
      const auto found = grid.index.find({layer, part});
      if (found == grid.index.end() || !is_drawable(data.sqnr[found->second].decibel)) continue;
      line.push_back({static_cast<double>(layer), data.sqnr[found->second].decibel});
      low = std::min(low, line.back().y);
      high = std::max(high, line.back().y);
    }
  }
  if (low <= high) result.y = {std::floor(low - 1), std::ceil(high + 1)};
  if (grid.layers.size() > 1) {
    result.x = {static_cast<double>(grid.layers.front()), static_cast<double>(grid.layers.back())};
  } else if (!grid.layers.empty()) {
    result.x = {grid.layers.front() - 0.5, grid.layers.front() + 0.5};
  }
  return result;
}

std::string decibel_text(double value) {
  return std::isfinite(value) ? fmt::format("{:.1f}", value) : value > 0 ? "exact" : "not a number";
}

// A place that is in no layer.
std::string place_line(std::string_view name, std::string_view value) {
  return fmt::format("<p class=\"labels\">{}: <strong>{}</strong></p>", html_escape(name), value);
}

// "chosen −0.4 to 0.4; widest channel −1.2 to 1.2"
std::string ranges_text(const ReportSite& site) {
  std::string out;
  for (const ReportRange& range : site.ranges) {
    out += fmt::format("{}{} {} to {}", out.empty() ? "" : "; ", range.name, chart_number(range.low, 3),
                       chart_number(range.high, 3));
  }
  return out;
}

}  // namespace

std::string products_body(const ReportData& data) {
  if (data.products.empty()) return "";
  const auto name_of = [](const auto& product) { return std::string_view(product.first); };
  const Grid grid = make_grid(data.products, name_of);
  std::string out;
  if (!grid.layers.empty()) {
    out = grid_table(grid, "Scheme of each matrix product", "scheme",
                     [&](size_t i) { return "<td>" + chip(data.products[i].second) + "</td>"; });
  }
  for (const auto& [product, scheme] : data.products) {
    if (!parse_site(product).layer) out += fmt::format("<p>{} {}</p>", html_escape(product), chip(scheme));
  }
  return out;
}

std::string sqnr_body(const ReportData& data) {
  if (data.sqnr.empty()) return "";
  const Grid grid = make_grid(data.sqnr, [](const LayerSqnr& entry) { return std::string_view(entry.name); });
  const SqnrLines lines = sqnr_lines(data, grid);
  std::string out = lead(
      "Signal-to-quantization-noise ratio of each intermediate result against the float model's, in decibels: every "
      "6 dB less is twice the error. Errors add up from layer to layer. Attention's scores are what its softmax is "
      "given.");
  if (!grid.layers.empty())
    out += grid_table(grid, "dB, by layer and place; the stronger the colour, the noisier", "heat", [&](size_t i) {
      const double value = data.sqnr[i].decibel;
      const double share = share_of(lines.y.high - value, lines.y.high - lines.y.low);
      return fmt::format("<td style=\"--v:{:.3f}\">{}</td>", share, decibel_text(value));
    });
  for (const LayerSqnr& entry : data.sqnr) {
    if (parse_site(entry.name).layer) continue;
    out += place_line(entry.name, decibel_text(entry.decibel) + (std::isfinite(entry.decibel) ? " dB" : ""));
  }
  if (grid.layers.size() < 2) return out;
  out += "<h3>From layer to layer</h3><div class=\"panels\">\n";
  for (size_t i = 0; i < grid.parts.size(); ++i) {
    out += fmt::format(
        "<figure><figcaption>{}</figcaption>{}</figure>\n", breakable(grid.parts[i]),
        line_panel(fmt::format("dB by layer of {}", grid.parts[i]), lines.lines[i], lines.lines, lines.x, lines.y));
  }
  return out + "</div>\n";
}

std::string sensitivity_body(const ReportData& data) {
  if (data.sensitivity.empty()) return "";
  std::vector<const ReportSensitivity*> ranking;
  double most = 0;
  for (const ReportSensitivity& row : data.sensitivity) {
    ranking.push_back(&row);
    for (const double value : {row.alone.value_or(0), row.others.value_or(0)}) {
      if (std::isfinite(value)) most = std::max(most, value);
    }
  }
  // What is not a number is the worst there is.
  const auto harm = [](const ReportSensitivity* row) {
    const double value = row->alone.value_or(row->others.value_or(0));
    return std::isnan(value) ? std::numeric_limits<double>::infinity() : value;
  };
  std::stable_sort(ranking.begin(), ranking.end(), [&](const auto* a, const auto* b) { return harm(a) > harm(b); });
  const auto number = [](std::optional<double> value) { return value ? chart_number(*value) : ""; };
  std::string rows;
  for (const ReportSensitivity* row : ranking) {
    rows += fmt::format("<tr>{}<td>{}</td>{}{}<td class=\"wide\">", row_head(row->product), chip(row->scheme),
                        number_cell(number(row->alone)), number_cell(number(row->others)));
    if (row->alone) rows += bar(*row->alone, most, "");
    if (row->others) rows += bar(*row->others, most, " second");
    rows += "</td></tr>";
  }
  const char* const text =
      "How much each matrix product hurts, the worst first.<br><span class=\"entry\"><span "
      "class=\"key\"></span>it alone quantized, all else in floats</span><span class=\"entry\"><span class=\"key "
      "second\"></span>everything quantized but it</span>";
  return lead(text) +
         table(data.sensitivity_measure.empty() ? "Harm" : data.sensitivity_measure, "",
               table_head({"product", "scheme", "#it alone", "#all but it", ""}) + "<tbody>" + rows + "</tbody>");
}

std::string clipped_body(const ReportData& data) {
  if (std::all_of(data.clipped.begin(), data.clipped.end(), [](const auto& entry) { return entry.shares.empty(); })) {
    return "";
  }
  double most = 0;
  for (const ReportClipped& source : data.clipped) {
    for (const ReportShare& entry : source.shares) {
      if (std::isfinite(entry.share)) most = std::max(most, entry.share);
    }
  }
  const auto share_text = [](double share) { return fmt::format("{:.4f} %", 100 * share); };
  std::string out = lead(
      "Activations that lie beyond the range chosen at calibration and are cut to its edge. A share that grows means "
      "texts unlike those of the calibration.");
  for (const auto& [source, shares] : data.clipped) {
    out += fmt::format("<h3>{}</h3>", html_escape(source));
    const Grid grid = make_grid(shares, [](const ReportShare& entry) { return std::string_view(entry.name); });
    if (!grid.layers.empty()) {
      out += grid_table(grid, "Share of clipped activations, by layer and place", "heat", [&, &all = shares](size_t i) {
        const double share = all[i].share;
        return fmt::format("<td style=\"--v:{:.3f}\">{}</td>", share_of(share, most), share_text(share));
      });
    }
    for (const ReportShare& entry : shares) {
      if (!parse_site(entry.name).layer) out += place_line(entry.name, share_text(entry.share));
    }
  }
  return out;
}

std::string sites_body(const ReportData& data, ReportSite::Kind kind) {
  constexpr size_t kMostColumns = 6;
  std::string panels;
  std::vector<std::string_view> parts;  // a row of panels a layer, if that many fit
  for (const ReportSite& site : data.sites) {
    const std::string chart = site.kind == kind ? histogram_panel(site) : "";
    if (chart.empty()) continue;
    const SiteName name = parse_site(site.name);
    if (name.layer && std::find(parts.begin(), parts.end(), name.part) == parts.end()) parts.push_back(name.part);
    panels += fmt::format("<figure><figcaption>{}</figcaption>{}", breakable(site.name), chart);
    for (const std::string& note : {ranges_text(site), site.note}) {
      if (!note.empty()) panels += fmt::format("<p class=\"note\">{}</p>", html_escape(note));
    }
    panels += "</figure>\n";
  }
  if (panels.empty()) return "";
  const size_t columns = parts.size() > kMostColumns ? (parts.size() + 1) / 2 : std::max<size_t>(parts.size(), 4);
  const char* const text =
      "How often each value occurs; heights are logarithmic, so that the rare outliers show.<br><span "
      "class=\"entry\"><span class=\"key area\"></span>the chosen range</span><span class=\"entry\"><span class=\"key "
      "other\"></span>other ranges, as named</span>";
  return lead(text) + fmt::format("<div class=\"panels sites\" style=\"--n:{}\">\n{}</div>\n",
                                  std::min(columns, kMostColumns), panels);
}

}  // namespace octobert::converter
