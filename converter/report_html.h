// A report as one HTML page that needs nothing else: no network, no script, charts as inline SVG.
#ifndef OCTOBERT_CONVERTER_REPORT_HTML_H_
#define OCTOBERT_CONVERTER_REPORT_HTML_H_

#include <filesystem>
#include <string>

#include "converter/report_data.h"

namespace octobert::converter {

// The page, UTF-8. The same data gives the same bytes: it has no date.
std::string report_html(const ReportData& data);

inline constexpr const char* kReportFile = "index.html";

// Throws Error(kIo), naming `folder`, unless FOLDER/NAME can be written: it is a folder, or its first parent that
// exists is one, in which a folder can be made; and NAME is no folder, device or pipe. For the start of a long run:
// nothing is left there.
void check_report_folder(const std::filesystem::path& folder, const char* name);

// FOLDER/index.html, whole or not at all; the folder is made if there is none. Throws Error(kIo) naming the file.
void write_report(const std::filesystem::path& folder, const ReportData& data);

}  // namespace octobert::converter

#endif  // OCTOBERT_CONVERTER_REPORT_HTML_H_
