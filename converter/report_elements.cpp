#include "converter/report_elements.h"

#include <fmt/format.h>

#include <cmath>

namespace octobert::converter {

namespace {

// The class of cells whose text is kept on one line: those of so few bytes.
const char* on_one_line(std::string_view text, size_t most) { return text.size() <= most ? " class=\"short\"" : ""; }

}  // namespace

std::string cell(std::string_view text) {
  // "held out", "layer.11.attention_output"
  return fmt::format("<td{}>{}</td>", on_one_line(text, 32), html_escape(text));
}
std::string number_cell(std::string_view text) { return fmt::format("<td class=\"n\">{}</td>", html_escape(text)); }
std::string row_head(std::string_view text) {
  return fmt::format("<th scope=\"row\"{}>{}</th>", on_one_line(text, 12), breakable(text));
}

std::string breakable(std::string_view name) {
  std::string out;
  for (const char c : html_escape(name)) {
    out += c;
    if (c == '.' || c == '_') out += "<wbr>";
  }
  return out;
}

std::string signed_text(std::string number) {
  if (number.starts_with('-')) number.replace(0, 1, "−");
  return number;
}

std::string table_head(const std::vector<std::string_view>& columns) {
  std::string out = "<thead><tr>";
  for (const std::string_view column : columns) {
    const bool number = column.starts_with('#');
    out += fmt::format("<th scope=\"col\"{}>{}</th>", number ? " class=\"n\"" : "",
                       breakable(number ? column.substr(1) : column));
  }
  return out + "</tr></thead>";
}

std::string table(std::string_view caption, const char* kind, const std::string& content) {
  return fmt::format(
      "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{0}\"><table class=\"{1}\">"
      "<caption><span>{0}</span></caption>{2}</table></div>\n",
      html_escape(caption), kind, content);
}

std::string lead(std::string_view html) { return fmt::format("<p class=\"lead\">{}</p>\n", html); }

std::string chip(std::string_view scheme) {
  // A class for each scheme that the style sheet knows; the text alone tells any other.
  std::string kind;
  for (const std::string_view known : {"float", "weight-only", "dynamic", "static", "int4", "codebook"}) {
    if (scheme.find(known) != std::string_view::npos) kind = known;
  }
  return fmt::format("<span class=\"chip {}\">{}</span>", kind, html_escape(scheme));
}

double share_of(double value, double most) {
  return std::isfinite(value) && most > 0 ? std::clamp(value / most, 0.0, 1.0) : 0;
}

std::string bar(double value, double most, const char* kind) {
  return fmt::format("<span class=\"bar{}\" style=\"--v:{:.4f}\"></span>", kind, share_of(value, most));
}

std::string change(double difference, std::string_view text, bool larger_is_better) {
  const bool better = (difference > 0) == larger_is_better;
  return fmt::format("<span class=\"{}\">{}</span>", difference == 0 ? "" : better ? "up" : "down", text);
}

}  // namespace octobert::converter
