// octobert convert: a HuggingFace checkpoint folder to one packed file.
#include "converter/convert.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "apps/calibration.h"
#include "apps/command.h"
#include "apps/output.h"
#include "apps/progress.h"
#include "apps/report.h"
#include "converter/report_fill.h"
#include "octobert/converter.h"

namespace octobert::apps {
namespace {

struct ConvertFlags {
  std::string checkpoint, output;
  ConvertOptions options;
  std::string labels, policy;
  int weight_bits = 8;
  bool codebook = false;
  bool quiet = false;
  bool no_check = false;
  ReportOptions report;
};

constexpr size_t kWorstShown = 5;

double megabytes(uint64_t bytes) { return static_cast<double>(bytes) / 1e6; }

// The scheme's whole name: --weight-bits and --codebook are details of weight-only.
std::string scheme_of(const ConvertFlags& flags) {
  if (flags.codebook) return "weight-only-codebook";
  return flags.weight_bits == 4 ? "weight-only-int4" : flags.options.scheme;
}

// Sizes, time, agreement with the float model, and the layers that rounding hurts most.
std::string summary(const ConvertReport& report, const ConvertFlags& flags) {
  std::string text = fmt::format("{}: {}, {:.1f} MB from {:.1f} MB in {:.2f} s\n", flags.output,
                                 flags.policy.empty() ? scheme_of(flags) : "as " + flags.policy,
                                 megabytes(report.output_bytes), megabytes(report.source_bytes), report.seconds);
  if (!report.calibration.empty()) text += "calibrated: " + report.calibration_settings + "\n";
  if (report.minus_128_replaced > 0) {
    text += fmt::format("{} int8 weights of -128 became -127\n", report.minus_128_replaced);
  }
  if (report.agreement_tokens == 0) return text;
  text += fmt::format("agreement with the float model: {:.2f} % of {} test tokens\n", 100 * report.agreement,
                      report.agreement_tokens);
  std::vector<LayerSqnr> worst = report.sqnr;
  std::stable_sort(worst.begin(), worst.end(), [](const auto& a, const auto& b) { return a.decibel < b.decibel; });
  worst.resize(std::min(worst.size(), kWorstShown));
  if (!worst.empty()) text += "lowest signal-to-noise ratios (dB):\n";
  for (const LayerSqnr& layer : worst) text += fmt::format("  {:<28} {:6.1f}\n", layer.name, layer.decibel);
  return text;
}

// seen: what calibration has seen, or null.
void write_convert_report(const ConvertReport& done, const converter::Calibration* seen, const ConvertFlags& flags) {
  if (!flags.report.wanted()) return;
  converter::ReportData report;
  report.title = "octobert convert";
  report.model = std::filesystem::path(flags.output).filename().string();
  report.warnings = done.warnings;
  const ModelFile file = ModelFile::open(flags.output);
  converter::add_model_file(file, report);
  if (seen != nullptr) converter::add_activations(*seen, make_bert_model(file), report);
  converter::add_weights(flags.checkpoint, flags.labels, report);
  report.sqnr = done.sqnr;
  if (done.agreement_tokens > 0) {
    report.metrics.push_back({"test texts",
                              "agreement",
                              {},
                              done.agreement,
                              converter::ReportMetric::Unit::kShare,
                              fmt::format("of {} tokens with the float model's label", done.agreement_tokens)});
  }
  write_reports(flags.report, report);
}

int run_convert(const ConvertFlags& flags) {
  check_report_options(flags.report);
  ConvertReport report;
  std::unique_ptr<converter::Calibration> seen;
  {
    Progress progress(flags.quiet);
    ConvertOptions options = flags.options;
    options.labels = flags.labels;
    options.policy = flags.policy;
    options.scheme = scheme_of(flags);
    options.check = !flags.no_check;
    options.progress = [&progress](const ConvertProgress& p) { progress.update(p.stage, p.item, p.done, p.total); };
    report = converter::convert_and_show(flags.checkpoint, flags.output, options, seen);
  }
  for (const std::string& warning : report.warnings) print_message("warning: " + warning);
  write_convert_report(report, seen.get(), flags);
  if (flags.quiet) return kExitOk;
  Output output;
  output.text() = summary(report, flags);
  output.flush();
  return kExitOk;
}

void add_weight_options(CLI::App& command, ConvertFlags& flags) {
  CLI::Option* bits = command.add_option("--weight-bits", flags.weight_bits, "8 (default), or 4 with weight-only")
                          ->check(CLI::IsMember({4, 8}).description(""))
                          ->type_name("4|8");
  command
      .add_option("--group-size", flags.options.group_size,
                  "With 4 bits: inputs that share a scale, a multiple of 8 (default 16)")
      ->needs(bits)
      ->type_name("N");
  command.add_flag("--codebook", flags.codebook, "With 4 bits: 16 values a matrix instead of equal steps")->needs(bits);
  CLI::Option* policy = command.add_option("--policy", flags.policy, "A scheme for each product (octobert tune)")
                            ->type_name("policy.json");
  policy->excludes(command.get_option("--scheme"))->excludes(bits);
}

void check_weight_options(const CLI::App& command, const ConvertFlags& flags) {
  const bool named = command.get_option("--scheme")->count() > 0;
  if (flags.weight_bits == 4 && named && flags.options.scheme != "weight-only") {
    throw CLI::ValidationError("--weight-bits 4", "goes with --scheme weight-only, not " + flags.options.scheme);
  }
  if (command.get_option("--group-size")->count() > 0 && (flags.codebook || flags.weight_bits != 4)) {
    throw CLI::ValidationError("--group-size", "goes with --weight-bits 4 without --codebook");
  }
  if (flags.codebook && flags.weight_bits != 4) throw CLI::ValidationError("--codebook", "goes with --weight-bits 4");
}

constexpr const char* kExamples = R"(Examples:
  octobert convert models/minilm-ner -o ner.octo
  octobert convert my-checkpoint -o my.octo --labels labels.txt --min-agreement 0.995
  octobert convert models/minilm-ner -o reference.octo --scheme float
  octobert convert models/minilm-ner -o static.octo --scheme static --calibrate texts.txt
  octobert convert models/minilm-ner -o small.octo --scheme weight-only --weight-bits 4 --calibrate builtin

The file appears under its name when it is complete and checked; the same input gives the same bytes everywhere.

Exit status: 0; 1 if the checkpoint cannot be read or has a fault; 2 for a wrong command line; 3 if the agreement is
below --min-agreement. In all but the first case no file is written.)";

}  // namespace

void add_convert(CLI::App& app, Action& action) {
  auto flags = std::make_shared<ConvertFlags>();
  CLI::App* command = app.add_subcommand("convert", "A HuggingFace checkpoint folder to one packed file");
  command->footer(kExamples);
  command
      ->add_option("CHECKPOINT", flags->checkpoint, "Folder with config.json, model.safetensors, tokenizer.json, ...")
      ->required()
      ->type_name("DIR");
  command->add_option("-o,--output", flags->output, "The packed file")->required()->type_name("M.octo");
  command
      ->add_option(
          "--scheme", flags->options.scheme,
          "dynamic (default): int8 weights and activations; static: the same with ranges fixed by --calibrate; "
          "weight-only: int8 weights; float: the reference")
      ->check(CLI::IsMember({"static", "dynamic", "weight-only", "float"}).description(""))
      ->type_name("static|dynamic|weight-only|float");
  add_weight_options(*command, *flags);
  command->add_option("--labels", flags->labels, "Label names, one a line, instead of the checkpoint's")
      ->type_name("F");
  command
      ->add_option("--min-agreement", flags->options.min_agreement,
                   "Write nothing if a smaller share of the test tokens (0 to 1) gets the float model's label")
      ->check(number_in(0, 1))
      ->type_name("X");
  auto* no_check = command->add_flag("--no-check", flags->no_check, "Do not run the float model beside the new one");
  command->get_option("--min-agreement")->excludes(no_check);
  command->add_flag("--allow-padded-vocabulary", flags->options.allow_padded_vocabulary,
                    "Take embedding rows past the tokenizer's last id (a vocabulary padded to a multiple of 8, say)");
  add_calibration_options(*command, flags->options.calibration);
  add_report_options(*command, flags->report);
  command->add_flag("--quiet", flags->quiet, "No progress and no summary");
  add_threads_option(*command, flags->options.threads);
  add_isa_option(*command, flags->options.isa);
  command->callback([flags, command, &action] {
    check_weight_options(*command, *flags);
    require_not_empty(*command, {"--calibrate", "--policy"});
    std::vector<std::string> outputs = report_files(flags->report);
    outputs.push_back(flags->output);
    require_outputs_apart(outputs, {flags->policy, flags->options.calibration.texts, flags->labels}, flags->checkpoint);
    action = [flags] { return run_convert(*flags); };
  });
}

}  // namespace octobert::apps
