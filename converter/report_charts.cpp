#include "converter/report_charts.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "converter/report_text.h"

namespace octobert::converter {
namespace {

constexpr int kTickDigits = 7;  // ticks are round: this only hides the last bits

// A range of data to a range of the drawing.
class Scale {
 public:
  Scale(ChartRange from, double to_low, double to_high)
      : from_(from), to_(to_low), factor_((to_high - to_low) / (from.high - from.low)) {}
  double operator()(double value) const { return to_ + (value - from_.low) * factor_; }

 private:
  ChartRange from_;
  double to_, factor_;
};

std::string open_svg(int width, int height, std::string_view label) {
  return fmt::format("<svg viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"{}\">", width, height, html_escape(label));
}

std::string line_element(double x1, double y1, double x2, double y2, const char* kind) {
  return fmt::format("<line x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\" class=\"{}\"/>", x1, y1, x2, y2,
                     kind);
}

std::string text_element(double x, double y, const char* kind, std::string_view text) {
  return fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" class=\"{}\">{}</text>", x, y, kind, html_escape(text));
}

std::string polyline(const std::vector<ChartPoint>& points, const Scale& x, const Scale& y, const char* kind) {
  std::string out = fmt::format("<polyline class=\"{}\" points=\"", kind);
  for (const ChartPoint& point : points) out += fmt::format("{:.1f},{:.1f} ", x(point.x), y(point.y));
  return out + "\"/>";
}

bool is_drawable(ChartRange range) {
  return std::isfinite(range.low) && std::isfinite(range.high) && std::isfinite(range.high - range.low) &&
         range.low < range.high;
}

// The histogram's edges, widened where a range that can be drawn lies beyond them.
ChartRange extent(const ReportSite& site) {
  ChartRange all{site.histogram.low, site.histogram.high};
  for (const ReportRange& range : site.ranges) {
    if (!is_drawable({range.low, range.high})) continue;
    all.low = std::min(all.low, range.low);
    all.high = std::max(all.high, range.high);
  }
  return all;
}

// Steps, one a bin, as one closed path.
std::string histogram_path(const ReportHistogram& histogram, const Scale& x, double bottom, double height) {
  const uint64_t most = *std::max_element(histogram.counts.begin(), histogram.counts.end());
  const double unit = height / std::log1p(static_cast<double>(std::max<uint64_t>(most, 1)));
  const double bins = static_cast<double>(histogram.counts.size());
  const double width = (histogram.high - histogram.low) / bins;
  std::string path = fmt::format("<path class=\"bars\" d=\"M{:.1f} {:.1f}", x(histogram.low), bottom);
  for (size_t i = 0; i < histogram.counts.size(); ++i) {
    const double top = bottom - unit * std::log1p(static_cast<double>(histogram.counts[i]));
    path += fmt::format("V{:.1f}H{:.1f}", top, x(histogram.low + static_cast<double>(i + 1) * width));
  }
  return path + fmt::format("V{:.1f}Z\"/>", bottom);
}

std::string range_elements(const ReportSite& site, const Scale& x, double top, double bottom) {
  std::string out;
  for (size_t i = 0; i < site.ranges.size(); ++i) {
    const ReportRange& range = site.ranges[i];
    if (!is_drawable({range.low, range.high})) continue;
    out += "<g>";
    if (i == 0) {
      out += fmt::format("<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\" class=\"band\"/>",
                         x(range.low), top, x(range.high) - x(range.low), bottom - top);
    }
    for (const double edge : {range.low, range.high}) {
      out += line_element(x(edge), top, x(edge), bottom, i == 0 ? "edge" : "edge other");
    }
    out += fmt::format("<title>{}: {} to {}</title></g>", html_escape(range.name), chart_number(range.low),
                       chart_number(range.high));
  }
  return out;
}

// Room beyond the smallest and the largest value; one unit where they are equal.
ChartRange widened(double low, double high) {
  const double margin = high > low ? (high - low) * 0.08 : std::max(std::abs(low) * 0.01, 1e-9);
  return {low - margin, high + margin};
}

struct State {
  size_t number;
  ChartPoint point;
};

std::vector<State> states_of(const ReportData& data) {
  std::vector<State> states;
  for (size_t i = 0; i < data.steps.size(); ++i) {
    const ReportStep& step = data.steps[i];
    if (!step.seconds || !step.value || !std::isfinite(*step.seconds) || !std::isfinite(*step.value)) continue;
    states.push_back({i, {*step.seconds * 1e3, *step.value}});
  }
  return states;
}

struct Frame {
  double left, right, top, bottom;
};

// Ticks and their grid lines.
std::string axes(const Frame& frame, ChartRange x_range, ChartRange y_range, const Scale& x, const Scale& y) {
  std::string out;
  for (const double tick : round_ticks(y_range, 6)) {
    out += line_element(frame.left, y(tick), frame.right, y(tick), "grid");
    out += text_element(frame.left - 8, y(tick) + 4, "tick end", chart_number(tick, kTickDigits));
  }
  for (const double tick : round_ticks(x_range, 8)) {
    out += line_element(x(tick), frame.bottom, x(tick), frame.bottom + 5, "axis");
    out += text_element(x(tick), frame.bottom + 19, "tick mid", chart_number(tick, kTickDigits));
  }
  return out + line_element(frame.left, frame.bottom, frame.right, frame.bottom, "axis");
}

// Dots first, labels over them; a number that would lie on an earlier label is left out (the table has them all).
std::string state_elements(const ReportData& data, const std::vector<State>& states, const Scale& x, const Scale& y) {
  std::string out, labels;
  std::vector<ChartPoint> taken;
  const auto is_free = [&taken](const ChartPoint& at) {
    return std::none_of(taken.begin(), taken.end(), [&](const ChartPoint& other) {
      return std::abs(at.x - other.x) < 32 && std::abs(at.y - other.y) < 15;
    });
  };
  for (const State* state : {&states.front(), &states.back()}) {
    const bool first = state == &states.front();
    taken.push_back({x(state->point.x), y(state->point.y) + (first ? 22 : -12)});
    labels += text_element(taken.back().x, taken.back().y, "mark mid", first ? "start" : "chosen");
  }
  for (const State& state : states) {
    const ReportStep& step = data.steps[state.number];
    const bool first = &state == &states.front(), last = &state == &states.back();
    const std::string what =
        step.product.empty() ? "start" : fmt::format("{}: {} to {}", step.product, step.from, step.to);
    out += fmt::format("<g><circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"{}\" class=\"dot{}\"/><title>{}</title></g>",
                       x(state.point.x), y(state.point.y), first || last ? 6 : 4, last ? " last" : "",
                       html_escape(fmt::format("{}. {}", state.number, what)));
    const ChartPoint at{x(state.point.x), y(state.point.y) - 11};
    if (first || last || !is_free(at)) continue;
    taken.push_back(at);
    labels += text_element(at.x, at.y, "tick mid", std::to_string(state.number));
  }
  return out + labels;
}

// Times of the first and the last form as a whole, ms; none if one of them is not known.
std::vector<double> whole_times(const ReportData& data) {
  if (!data.first_seconds || !data.last_seconds) return {};
  const double first = *data.first_seconds * 1e3, last = *data.last_seconds * 1e3;
  return std::isfinite(first) && std::isfinite(last) ? std::vector<double>{first, last} : std::vector<double>();
}

// A lane of their own above the plot: they are no sums, and so on no line with those. Labels point away from each
// other.
std::string whole_elements(const std::vector<double>& times, const Frame& frame, const Scale& x) {
  constexpr double kAbove = 20;
  const double y = frame.top - kAbove;
  std::string out = text_element(frame.left - 8, y + 4, "tick end", "measured");
  out += line_element(frame.left, y, frame.right, y, "grid");
  for (size_t i = 0; i < times.size(); ++i) {
    const double at = x(times[i]);
    const bool left = times[i] < times[1 - i] || (times[i] == times[1 - i] && i == 0);
    out += line_element(at, y, at, frame.bottom, "drop");
    out += fmt::format("<g><path class=\"whole\" d=\"M{:.1f} {:.1f}l7 7l7 -7l-7 -7Z\"/>", at - 7, y);
    out += fmt::format("<title>measured as a whole: {:.2f} ms</title></g>", times[i]);
    out += text_element(at + (left ? -12 : 12), y - 6, left ? "tick end" : "tick", i == 0 ? "start" : "chosen");
  }
  return out;
}

}  // namespace

std::vector<double> round_ticks(ChartRange range, int most) {
  if (!is_drawable(range)) return {};
  const double rough = (range.high - range.low) / most;
  const double power = std::pow(10.0, std::floor(std::log10(rough)));
  double step = 10 * power;
  for (const double factor : {5.0, 2.0, 1.0}) {
    if (factor * power >= rough) step = factor * power;
  }
  std::vector<double> ticks;
  const double first = std::ceil(range.low / step);
  for (int i = 0; i <= most && (first + i) * step <= range.high; ++i) ticks.push_back((first + i) * step);
  return ticks;
}

std::string chart_number(double value, int digits) {
  if (value == 0) return "0";
  return (value < 0 ? "−" : "") + fmt::format("{:.{}g}", std::abs(value), digits);
}

std::string line_panel(std::string_view label, const std::vector<ChartPoint>& line,
                       const std::vector<std::vector<ChartPoint>>& others, ChartRange x_range, ChartRange y_range) {
  constexpr int kWidth = 250, kHeight = 140;
  constexpr Frame kFrame{30, 240, 10, 114};
  const Scale x(x_range, kFrame.left + 8, kFrame.right - 8), y(y_range, kFrame.bottom, kFrame.top);
  std::string out = open_svg(kWidth, kHeight, label);
  for (const double tick : round_ticks(y_range, 4)) {
    out += line_element(kFrame.left, y(tick), kFrame.right, y(tick), "grid");
    out += text_element(kFrame.left - 6, y(tick) + 3.5, "tick end", chart_number(tick, kTickDigits));
  }
  for (const double tick : round_ticks(x_range, 8)) {
    if (tick == std::floor(tick))
      out += text_element(x(tick), kFrame.bottom + 16, "tick mid", chart_number(tick, kTickDigits));
  }
  for (const std::vector<ChartPoint>& other : others) out += polyline(other, x, y, "line behind");
  out += polyline(line, x, y, "line");
  for (const ChartPoint& point : line) {
    out += fmt::format(
        "<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"3\" class=\"dot\"><title>layer {}: {:.1f} dB</title></circle>",
        x(point.x), y(point.y), chart_number(point.x), point.y);
  }
  return out + "</svg>";
}

std::string histogram_panel(const ReportSite& site) {
  constexpr int kWidth = 220, kHeight = 96;
  constexpr Frame kFrame{6, 214, 4, 78};
  if (site.histogram.counts.empty() || !is_drawable({site.histogram.low, site.histogram.high})) return "";
  const ChartRange all = extent(site);
  const Scale x(all, kFrame.left, kFrame.right);
  std::string out = open_svg(kWidth, kHeight, "histogram of " + site.name);
  out += range_elements(site, x, kFrame.top, kFrame.bottom);
  out += histogram_path(site.histogram, x, kFrame.bottom, kFrame.bottom - kFrame.top - 4);
  out += line_element(kFrame.left, kFrame.bottom, kFrame.right, kFrame.bottom, "axis");
  out += text_element(kFrame.left, kHeight - 5, "tick", chart_number(all.low));
  out += text_element(kFrame.right, kHeight - 5, "tick end", chart_number(all.high));
  if (x(0) > kFrame.left + 50 && x(0) < kFrame.right - 50) out += text_element(x(0), kHeight - 5, "tick mid", "0");
  return out + "</svg>";
}

std::string step_chart(const ReportData& data) {
  constexpr int kWidth = 900, kHeight = 400;
  const std::vector<double> whole = whole_times(data);
  const Frame frame{74, 876, whole.empty() ? 34.0 : 72.0, 346};
  const std::vector<State> states = states_of(data);
  if (states.size() < 2) return "";
  std::vector<ChartPoint> points;
  for (const State& state : states) points.push_back(state.point);
  const auto by_x = [](const ChartPoint& a, const ChartPoint& b) { return a.x < b.x; };
  const auto by_y = [](const ChartPoint& a, const ChartPoint& b) { return a.y < b.y; };
  const auto [left, right] = std::minmax_element(points.begin(), points.end(), by_x);
  const auto [low, high] = std::minmax_element(points.begin(), points.end(), by_y);
  const bool budget = data.step_budget && std::isfinite(*data.step_budget);
  double fastest = left->x, slowest = right->x;
  for (const double time : whole) {
    fastest = std::min(fastest, time);
    slowest = std::max(slowest, time);
  }
  const ChartRange x_range = widened(fastest, slowest);
  const ChartRange y_range = budget ? widened(std::min(low->y, *data.step_budget), std::max(high->y, *data.step_budget))
                                    : widened(low->y, high->y);
  if (!is_drawable(x_range) || !is_drawable(y_range)) return "";
  const Scale x(x_range, frame.left, frame.right), y(y_range, frame.bottom - 16, frame.top);  // room for "start"
  std::string out = open_svg(kWidth, kHeight, "Time and accuracy as products are rolled back");
  out += axes(frame, x_range, y_range, x, y);
  if (budget) {
    out += line_element(frame.left, y(*data.step_budget), frame.right, y(*data.step_budget), "budget");
    out += text_element(frame.left + 4, y(*data.step_budget) - 6, "tick", "asked for");
  }
  out += polyline(points, x, y, "line");
  if (!whole.empty()) out += whole_elements(whole, frame, x);
  out += state_elements(data, states, x, y);
  out += text_element(frame.left, 16, "name", data.step_measure);
  out += text_element(frame.right, kHeight - 10, "name end", "time, ms; of line and dots the sum of the products'");
  return out + "</svg>";
}

}  // namespace octobert::converter
