// octobert tune: the fastest form of a model that stays within a budget of accuracy.
#include "converter/tune.h"

#include <fmt/format.h>

#include <filesystem>
#include <memory>
#include <optional>
#include <span>

#include "apps/calibration.h"
#include "apps/command.h"
#include "apps/output.h"
#include "apps/progress.h"
#include "apps/report.h"
#include "converter/calibration_samples.h"
#include "converter/output_file.h"
#include "converter/report_fill.h"

namespace octobert::apps {
namespace {

struct TuneFlags {
  std::string checkpoint, output, policy_out, keep_best, labels;
  std::vector<std::string> texts, conll;
  std::optional<double> max_f1_points, min_agreement;
  converter::TuneOptions options;
  ReportOptions report;
  bool quiet = false;
};

std::filesystem::path policy_path(const TuneFlags& flags, const std::string& model) {
  if (!flags.policy_out.empty()) return flags.policy_out;
  return std::filesystem::path(model).replace_extension(".policy.json");
}

std::string measures(const std::string& name, const converter::Comparison& c) {
  std::string text = fmt::format("  {:<14} {:>8.3f} % of {} words, {:.2f} % of entities, KL divergence {:.2g}\n", name,
                                 100 * c.agreement(), c.words, 100 * c.entity_agreement(), c.mean_divergence());
  if (!c.labelled) return text;
  return text +
         fmt::format(
             "  {:<14} F1 {:.2f} (float {:.2f}); {} entities right to wrong, {} wrong to right, McNemar p = {:.2g}\n",
             "", 100 * c.model.all.f1(), 100 * c.reference.all.f1(), c.paired.lost, c.paired.gained,
             c.paired.p_value());
}

std::string summary(const converter::TuneResult& result, const std::string& written) {
  std::string text = written.empty() ? "nothing is written\n" : written + "\n";
  text += "calibrated on " + result.policy.certificate.at("calibrated_on") + "\n";
  text += "rolled back from static for accuracy: " + result.policy.certificate.at("rolled_back.accuracy") + "\n";
  text += "not static because static is no faster here: " + result.policy.certificate.at("rolled_back.speed") + "\n";
  text += "agreement with the float model:\n" + measures("tuned on", result.measure.tuned) +
          measures("held out", result.measure.held_out);
  text += fmt::format("milliseconds for {} tokens:", result.timed_tokens);
  for (const auto& time : result.times) text += fmt::format("  {} {:.2f}", time.name, time.milliseconds);
  return text + "\n";
}

// A model and its policy: files that can't be written are found before the work, and none appears, or replaces an
// earlier one, without the other.
class ModelAndPolicy {
 public:
  ModelAndPolicy(const TuneFlags& flags, const std::string& model)
      : model_name_(model), policy_name_(policy_path(flags, model)), model_(model), policy_(policy_name_) {}

  // Returns what was written, for people.
  std::string write(const converter::TuneResult& result) {
    const std::string json = converter::policy_json(result.policy);
    model_.append(result.model);
    policy_.append(std::as_bytes(std::span(json)));
    OutputFile::commit_both(policy_, model_);
    return fmt::format("{}: {:.1f} MB; policy in {}", model_name_, static_cast<double>(result.model.size()) / 1e6,
                       policy_name_.string());
  }

 private:
  std::string model_name_;
  std::filesystem::path policy_name_;
  OutputFile model_, policy_;
};

int run_tune(const TuneFlags& flags) {
  check_report_options(flags.report);
  ModelAndPolicy wanted(flags, flags.output);
  std::optional<ModelAndPolicy> best;
  if (!flags.keep_best.empty()) best.emplace(flags, flags.keep_best);
  converter::TuneOptions options = flags.options;
  options.texts.assign(flags.texts.begin(), flags.texts.end());
  options.conll.assign(flags.conll.begin(), flags.conll.end());
  options.min_agreement = flags.min_agreement;
  if (flags.max_f1_points) options.max_f1_loss = *flags.max_f1_points / 100;
  options.convert.labels = flags.labels;
  converter::TuneResult result;
  {
    Progress progress(flags.quiet);
    options.convert.progress = [&progress](const ConvertProgress& p) {
      progress.update(p.stage, p.item, p.done, p.total);
    };
    result = converter::tune(flags.checkpoint, options);
  }
  for (const std::string& warning : result.report.warnings) print_message("warning: " + warning);
  if (!result.met) {
    print_message("no choice of schemes stays within the budget; the best that was found:");
  }
  const std::string written = result.met ? wanted.write(result) : best ? best->write(result) : "";
  const bool kept = result.met || best;
  result.report.model = std::filesystem::path(result.met || !kept ? flags.output : flags.keep_best).filename().string();
  if (!kept) result.report.model += " (not written)";
  if (flags.report.wanted()) {
    converter::add_weights(flags.checkpoint, flags.labels, result.report);
    write_reports(flags.report, result.report);
  }
  if (!flags.quiet || !result.met) {
    Output output;
    output.text() = summary(result, written);
    output.flush();
  }
  return result.met ? kExitOk : kExitBarNotMet;
}

constexpr const char* kExamples = R"(Examples:
  octobert tune my-checkpoint -o my.octo --text texts.txt --min-agreement 0.997
  octobert tune models/minilm-ner -o ner.octo --conll train.tsv --max-f1-loss 0.1 --report tuned
  octobert convert models/minilm-ner -o same.octo --policy ner.policy.json --calibrate train.tsv

Begins with every product in the fastest scheme, static; rolls back to dynamic, weight-only or float what harms most
for the time that it saves, until the budget holds. Every 4th text is held out: neither calibrated on nor tuned on; the
budget must hold there too. Without --calibrate the first --conll file is calibrated on, or, if there is none, the first
--text file. The policy names each product's scheme and the settings of calibration: convert makes the same bytes of it
and the file that was calibrated on, on any machine.

Exit status: 0; 1 if a file has a fault; 2 for a wrong command line; 3 if no choice stays within the budget: nothing is
written then but what --keep-best asks for.)";

void add_budget(CLI::App& command, TuneFlags& flags) {
  command
      .add_option("--text", flags.texts,
                  fmt::format("Texts like those that the model will see: lines, or JSON lines ({})",
                              fmt::join(converter::kJsonLinesEndings, ", ")))
      ->type_name("F");
  auto* conll =
      command.add_option("--conll", flags.conll, "Sentences with labels: WORD TAB LABEL, an empty line after each")
          ->type_name("F");
  command
      .add_option("--max-f1-loss", flags.max_f1_points, "Points of F1 by entity that may be lost: 0.1 is 0.001 of 1")
      ->check(number_in(0, 100))
      ->needs(conll)
      ->type_name("POINTS");
  command
      .add_option("--min-agreement", flags.min_agreement, "Least share (0 to 1) of words with the float model's label")
      ->check(number_in(0, 1))
      ->type_name("X");
}

void check_budget(const TuneFlags& flags) {
  if (flags.texts.empty() && flags.conll.empty()) throw CLI::RequiredError("--text or --conll");
  if (!flags.max_f1_points && !flags.min_agreement) throw CLI::RequiredError("--max-f1-loss or --min-agreement");
}

}  // namespace

void add_tune(CLI::App& app, Action& action) {
  auto flags = std::make_shared<TuneFlags>();
  CLI::App* command = app.add_subcommand("tune", "The fastest form of a model within a budget of accuracy");
  command->footer(kExamples);
  command->add_option("CHECKPOINT", flags->checkpoint, "Folder of the checkpoint, as for convert")
      ->required()
      ->type_name("DIR");
  command->add_option("-o,--output", flags->output, "The packed file")->required()->type_name("M.octo");
  add_budget(*command, *flags);
  command->add_option("--policy-out", flags->policy_out, "The policy; default: M.policy.json beside the model")
      ->type_name("P.json");
  command->add_option("--keep-best", flags->keep_best, "If the budget can't be met: write the best found here")
      ->type_name("M.octo");
  command->add_option("--labels", flags->labels, "Label names, one a line, instead of the checkpoint's")
      ->type_name("F");
  command->add_flag("--allow-padded-vocabulary", flags->options.convert.allow_padded_vocabulary, "As for convert");
  add_calibration_options(*command, flags->options.convert.calibration);
  add_report_options(*command, flags->report);
  command->add_flag("--quiet", flags->quiet, "No progress and no summary");
  add_threads_option(*command, flags->options.convert.threads);
  add_isa_option(*command, flags->options.convert.isa);
  command->callback([flags, command, &action] {
    check_budget(*flags);
    require_not_empty(*command, {"--calibrate", "--policy-out", "--keep-best"});
    std::vector<std::string> inputs = flags->texts;
    inputs.insert(inputs.end(), flags->conll.begin(), flags->conll.end());
    inputs.insert(inputs.end(), {flags->labels, flags->options.convert.calibration.texts});
    std::vector<std::string> outputs = report_files(flags->report);
    outputs.insert(outputs.end(), {flags->output, flags->keep_best, policy_path(*flags, flags->output).string()});
    // Of the two models one is written at most: with --policy-out their policies have one name.
    if (!flags->keep_best.empty() && flags->policy_out.empty()) {
      outputs.push_back(policy_path(*flags, flags->keep_best).string());
    }
    require_outputs_apart(outputs, inputs, flags->checkpoint);
    action = [flags] { return run_tune(*flags); };
  });
}

}  // namespace octobert::apps
