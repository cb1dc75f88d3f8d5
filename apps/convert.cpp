// octobert convert: a HuggingFace checkpoint folder to one packed file.
#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "apps/command.h"
#include "apps/output.h"
#include "apps/progress.h"
#include "octobert/converter.h"

namespace octobert::apps {
namespace {

struct ConvertFlags {
  std::string checkpoint, output;
  ConvertOptions options;
  std::string labels;
  bool quiet = false;
  bool no_check = false;
};

constexpr size_t kWorstShown = 5;

double megabytes(uint64_t bytes) { return static_cast<double>(bytes) / 1e6; }

// Sizes, time, agreement with the float model, and the layers that rounding hurts most.
std::string summary(const ConvertReport& report, const ConvertFlags& flags) {
  std::string text = fmt::format("{}: {}, {:.1f} MB from {:.1f} MB in {:.2f} s\n", flags.output, flags.options.scheme,
                                 megabytes(report.output_bytes), megabytes(report.source_bytes), report.seconds);
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

int run_convert(const ConvertFlags& flags) {
  ConvertReport report;
  {
    Progress progress(flags.quiet);
    ConvertOptions options = flags.options;
    options.labels = flags.labels;
    options.check = !flags.no_check;
    options.progress = [&progress](const ConvertProgress& p) { progress.update(p.stage, p.item, p.done, p.total); };
    report = convert(flags.checkpoint, flags.output, options);
  }
  for (const std::string& warning : report.warnings) print_message("warning: " + warning);
  if (flags.quiet) return kExitOk;
  Output output;
  output.text() = summary(report, flags);
  output.flush();
  return kExitOk;
}

constexpr const char* kExamples = R"(Examples:
  octobert convert models/minilm-ner -o ner.octo
  octobert convert my-checkpoint -o my.octo --labels labels.txt --min-agreement 0.995
  octobert convert models/minilm-ner -o reference.octo --scheme float

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
      ->add_option("--scheme", flags->options.scheme,
                   "dynamic (default): int8 weights and activations; weight-only: int8 weights; float: the reference")
      ->check(CLI::IsMember({"dynamic", "weight-only", "float"}).description(""))
      ->type_name("dynamic|weight-only|float");
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
  command->add_flag("--quiet", flags->quiet, "No progress and no summary");
  add_threads_option(*command, flags->options.threads);
  add_isa_option(*command, flags->options.isa);
  command->callback([flags, &action] { action = [flags] { return run_convert(*flags); }; });
}

}  // namespace octobert::apps
