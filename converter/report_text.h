// Texts of a report: from files, so they may hold anything.
#ifndef OCTOBERT_CONVERTER_REPORT_TEXT_H_
#define OCTOBERT_CONVERTER_REPORT_TEXT_H_

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "converter/report_data.h"

namespace octobert::converter {

// Valid UTF-8 whatever the bytes are: U+FFFD for what is not. Control and direction characters, which could change how
// what follows reads, become visible, e.g. <U+202E>.
std::string visible(std::string_view text);

// What visible() gives, for the inside of HTML elements and of quoted attributes.
std::string html_escape(std::string_view text);

// For a cell of a Markdown table: what html_escape() gives on one line, without Markdown's own marks.
std::string markdown_escape(std::string_view text);

// "layer.3.ffn2" -> 3 and "ffn2"; anything else -> no layer and the name itself.
struct SiteName {
  std::optional<int> layer;
  std::string_view part;
};
SiteName parse_site(std::string_view name);

// The text around the word, at most `limit` bytes on each side, cut where characters begin.
struct Excerpt {
  bool cut_front = false, cut_back = false;
  std::string_view before, word, after;
};
Excerpt excerpt(const ReportExample& example, size_t limit);

// "12.34 %", "0.0123", "3.4 ms".
std::string metric_text(std::optional<double> value, ReportMetric::Unit unit);
std::string bytes_text(uint64_t bytes);  // "45.6 MB"

// FOLDER/NAME with these bytes, whole or not at all; the folder is made if there is none. Throws Error(kIo).
void write_into_folder(const std::filesystem::path& folder, const char* name, std::string_view bytes);

}  // namespace octobert::converter

#endif  // OCTOBERT_CONVERTER_REPORT_TEXT_H_
