// The report's charts, as SVG elements. Colours are the page's (report_style.h), by class.
#ifndef OCTOBERT_CONVERTER_REPORT_CHARTS_H_
#define OCTOBERT_CONVERTER_REPORT_CHARTS_H_

#include <string>
#include <string_view>
#include <vector>

#include "converter/report_data.h"

namespace octobert::converter {

struct ChartPoint {
  double x, y;
};

// What lies between two finite numbers, low < high.
struct ChartRange {
  double low, high;
};

// At most `most` round numbers (1, 2 or 5 times a power of ten apart) in the range.
std::vector<double> round_ticks(ChartRange range, int most);

// "0.0312", "−1.25", "3.1e+05": so many digits at most.
std::string chart_number(double value, int digits = 4);

// One line over the layers (x), with those of the other panels behind it in grey.
std::string line_panel(std::string_view label, const std::vector<ChartPoint>& line,
                       const std::vector<std::vector<ChartPoint>>& others, ChartRange x, ChartRange y);

// Counts on a logarithmic scale, the ranges over them. Empty if the site's histogram can't be drawn: without counts, or
// with edges that are not finite and ascending.
std::string histogram_panel(const ReportSite& site);

// Time (x) against accuracy (y), state by state of the search; the budget, if there is one, is a horizontal line.
// Empty if fewer than two states have both.
std::string step_chart(const ReportData& data);

}  // namespace octobert::converter

#endif  // OCTOBERT_CONVERTER_REPORT_CHARTS_H_
