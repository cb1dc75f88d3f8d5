// --report and --tensorboard, of every subcommand that measures.
#ifndef OCTOBERT_APPS_REPORT_H_
#define OCTOBERT_APPS_REPORT_H_

#include <string>
#include <vector>

#include "apps/command.h"
#include "converter/report_data.h"

namespace octobert::apps {

struct ReportOptions {
  std::string html, tensorboard;  // folders; empty: not asked for
  bool wanted() const { return !html.empty() || !tensorboard.empty(); }
};

void add_report_options(CLI::App& command, ReportOptions& options);

// The files that they are.
std::vector<std::string> report_files(const ReportOptions& options);

// Before the work: throws Error(kIo) naming the folder if a report can't be written there.
void check_report_options(const ReportOptions& options);

// Writes what was asked for. Throws Error(kIo).
void write_reports(const ReportOptions& options, const converter::ReportData& report);

}  // namespace octobert::apps

#endif  // OCTOBERT_APPS_REPORT_H_
