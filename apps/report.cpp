#include "apps/report.h"

#include "converter/report_html.h"
#include "converter/tensorboard.h"

namespace octobert::apps {

void add_report_options(CLI::App& command, ReportOptions& options) {
  command.add_option("--report", options.html, "Write a report with charts: DIR/index.html, one page for a browser")
      ->check(CLI::Validator([](const std::string& value) { return value.empty() ? "is empty" : ""; }, ""))
      ->type_name("DIR");
  command
      .add_option("--tensorboard", options.tensorboard, "Write the report's figures as an event file of TensorBoard")
      ->check(CLI::Validator([](const std::string& value) { return value.empty() ? "is empty" : ""; }, ""))
      ->type_name("DIR");
}

std::vector<std::string> report_files(const ReportOptions& options) {
  std::vector<std::string> files;
  const auto add = [&files](const std::string& folder, std::string_view name) {
    if (!folder.empty()) files.push_back((std::filesystem::path(folder) / name).string());
  };
  add(options.html, converter::kReportFile);
  add(options.tensorboard, converter::kTensorboardFile);
  return files;
}

void check_report_options(const ReportOptions& options) {
  if (!options.html.empty()) converter::check_report_folder(options.html, converter::kReportFile);
  if (!options.tensorboard.empty()) {
    converter::check_report_folder(options.tensorboard, converter::kTensorboardFile);
  }
}

void write_reports(const ReportOptions& options, const converter::ReportData& report) {
  if (!options.html.empty()) converter::write_report(options.html, report);
  if (!options.tensorboard.empty()) converter::write_tensorboard(options.tensorboard, report);
}

}  // namespace octobert::apps
