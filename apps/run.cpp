// octobert run: texts in, entities out.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <memory>

#include "apps/clipped.h"
#include "apps/command.h"
#include "apps/input.h"
#include "apps/output.h"
#include "apps/render.h"

namespace octobert::apps {
namespace {

struct RunOptions {
  std::string model;
  OpenOptions open;
  InputOptions input;
  TextPolicy policy;
  AnalyzeOptions analyze;
  std::vector<std::string> ignore_labels, min_scores;
  std::string strategy = "words";
  bool json = false, conll = false, clipped = false;
};

// "0.5" or "PER=0.5"; the label is empty in the first form. False if it is neither.
bool parse_min_score(std::string_view argument, std::string& label, float& score) {
  const size_t equals = argument.rfind('=');
  label = equals == argument.npos ? "" : argument.substr(0, equals);
  const std::string_view number = equals == argument.npos ? argument : argument.substr(equals + 1);
  const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), score);
  return error == std::errc() && end == number.data() + number.size() && equals != 0 && score >= 0 && score <= 1;
}

void check_label(std::string_view name, std::span<const std::string> labels, const char* option) {
  for (const std::string& label : labels) {
    // The label, our name of its entities, and the reference's: what follows the first hyphen, whatever precedes it.
    const std::string_view reference_group = std::string_view(label).substr(label.find('-') + 1);
    if (name == label || name == label_group(label) || name == reference_group) return;
  }
  if (name == "O") return;
  throw CLI::ValidationError(
      option, fmt::format("the model has no label \"{}\"; its labels are {} (a text that follows this option goes "
                          "before it, or after --)",
                          name, fmt::join(labels, " ")));
}

// The options that can only be checked with the model at hand.
AnalyzeOptions analyze_options(const RunOptions& options, const Engine& engine) {
  AnalyzeOptions analyze = options.analyze;
  analyze.strategy = parse_strategy(options.strategy);
  analyze.special_tokens_in_text = options.policy.special_tokens;
  analyze.invalid_utf8 = options.policy.invalid_utf8;
  if (!options.ignore_labels.empty()) analyze.ignore_labels.clear();
  for (const std::string& name : options.ignore_labels) {
    if (name.empty()) continue;  // --ignore-labels "": none
    check_label(name, engine.labels(), "--ignore-labels");
    analyze.ignore_labels.push_back(name);
  }
  if (options.analyze.label_scores && !options.json) {
    throw CLI::ValidationError("--label-scores", "the probabilities are fields of --json, which was not given");
  }
  for (const std::string& argument : options.min_scores) {
    std::string label;
    float score = 0;
    parse_min_score(argument, label, score);  // check_usage() has seen that it can be
    if (label.empty()) {
      analyze.min_score = score;
    } else {
      check_label(label, engine.labels(), "--min-score");
      analyze.min_score_by_label.emplace_back(label, score);
    }
  }
  return analyze;
}

class Runner {
 public:
  explicit Runner(const RunOptions& options)
      : options_(options),
        engine_(Engine::open(options.model, options.open)),
        analyze_(analyze_options(options, engine_)),
        text_renderer_(engine_.labels(), colour_wanted(), output_is_terminal()) {}

  void run() {
    TextReader reader(options_.input, options_.policy.invalid_utf8);
    std::vector<InputText> batch;
    while (reader.next(batch)) {
      if (analyze_together(batch)) {
        for (size_t i = 0; i < batch.size(); ++i) print(batch[i], results_[i]);
        output_.flush();
      } else {
        analyze_one_by_one(batch);
      }
    }
    output_.flush();
    if (!options_.clipped) return;
    const std::string clipped = clipped_text(engine_.clipped());
    print_message(clipped.empty() ? "nothing in this model is static: nothing is clipped" : clipped);
  }

 private:
  // False if the texts have to be taken one by one: words, or a fault in one of them.
  bool analyze_together(const std::vector<InputText>& batch) {
    const auto pre_tokenized = [](const InputText& item) { return item.pre_tokenized; };
    if (std::any_of(batch.begin(), batch.end(), pre_tokenized)) return false;
    views_.clear();
    for (const InputText& item : batch) views_.emplace_back(item.text);
    if (results_.size() < batch.size()) results_.resize(batch.size());
    try {
      engine_.analyze(views_, analyze_, std::span(results_).first(batch.size()));
      return true;
    } catch (const Error&) {
      return false;
    }
  }

  void analyze_one_by_one(const std::vector<InputText>& batch) {
    results_.resize(std::max<size_t>(results_.size(), 1));
    for (const InputText& item : batch) {
      try {
        analyze_one(item, results_.front());
      } catch (const Error& error) {
        output_.flush();
        throw Error(error.code(), item.origin + ": " + error.what());
      }
      print(item, results_.front());
    }
    output_.flush();
  }

  void analyze_one(const InputText& item, Analysis& result) {
    if (item.pre_tokenized) {
      views_.assign(item.words.begin(), item.words.end());
      engine_.analyze_words(views_, analyze_, result);
    } else {
      const std::string_view text = item.text;
      engine_.analyze(std::span(&text, 1), analyze_, std::span(&result, 1));
    }
  }

  void print(const InputText& item, const Analysis& analysis) {
    std::string& out = output_.text();
    if (options_.json) {
      render_json(item, analysis, analyze_, engine_.labels(), out);
    } else if (options_.conll || item.pre_tokenized) {
      render_conll(item, analysis, engine_.tokenizer(), analyze_, out);
    } else {
      text_renderer_.render(item.text, analysis, out);
    }
    if (analysis.truncated && !options_.json) print_message(item.origin + ": cut; the rest was not looked at");
  }

  const RunOptions& options_;
  Engine engine_;
  AnalyzeOptions analyze_;
  TextRenderer text_renderer_;
  Output output_;
  std::vector<std::string_view> views_;
  std::vector<Analysis> results_;
};

void check_usage(const RunOptions& options) {
  if (!options.input.documents.empty() && (options.input.jsonl || options.input.words)) {
    throw CLI::ValidationError("--document", "a document is one text: no --jsonl and no --words with it");
  }
  for (const std::string& argument : options.min_scores) {
    std::string label;
    float score = 0;
    if (!parse_min_score(argument, label, score)) {
      throw CLI::ValidationError("--min-score", "expected X or LABEL=X with X from 0 to 1, found " + argument);
    }
  }
}

constexpr const char* kExamples = R"(Examples:
  octobert run model.octo "Angela Merkel met Tim Cook in Berlin."
  tail -f app.log | octobert run model.octo --json
  octobert run model.octo --document letter.txt report.txt --json --min-score 0.5 PER=0.9
  octobert run model.octo --words --file sentences.txt > labels.conll

Output: the text with its entities in colour (on a terminal) or in [brackets LABEL]; with --json a line
  {"text","truncated","entities":[{"label","score","text","bytes":[b,e],"codepoints":[b,e],"utf16":[b,e]}]}
a text (pre-tokenized: "words", "labels" and "scores" too); with --conll, and for pre-tokenized words, lines of
WORD TAB LABEL and an empty line after each text. --min-score and --ignore-labels choose entities; the labels of
pre-tokenized words are the model's own, whatever their scores.

Exit status: 0, or 1 at the first text or file with a fault (the texts before it are answered), 2 for a wrong
command line, 141 when the reader of the output goes away.)";

void add_analysis_options(CLI::App& command, RunOptions& options) {
  AnalyzeOptions& analyze = options.analyze;
  command
      .add_option("--strategy", options.strategy, "How tokens become entities: words (the default), or as transformers")
      ->check(CLI::IsMember({"words", "none", "simple", "first", "average", "max"}).description(""))
      ->type_name("words|none|simple|first|average|max");
  auto* stride =
      command.add_option("--stride", analyze.stride, "Tokens that windows of a long text share")->type_name("N");
  command.add_option("--max-length", analyze.max_length, "Tokens in a window, specials included; default: the model's")
      ->check(CLI::PositiveNumber.description(""))
      ->type_name("N");
  command.add_flag("--truncate", analyze.truncate, "Cut a long text at the window instead of sliding over it")
      ->excludes(stride);
  command.add_option("--ignore-labels", options.ignore_labels, "Labels to leave out; default: O; \"\" for none")
      ->allow_extra_args(false)
      ->type_name("LABEL");
  command.add_option("--min-score", options.min_scores, "Leave out entities below this score (of this label)")
      ->allow_extra_args(false)
      ->type_name("X|LABEL=X");
  command.add_flag("--label-scores", analyze.label_scores, "With --json: the probabilities of all labels");
}

}  // namespace

std::vector<std::string> repeat_list_options(std::vector<std::string> arguments) {
  std::vector<std::string> out;
  bool after_dashes = false;
  for (size_t i = 0; i < arguments.size(); ++i) {
    const std::string& option = arguments[i];
    out.push_back(option);
    after_dashes = after_dashes || option == "--";
    if (after_dashes || (option != "--ignore-labels" && option != "--min-score")) continue;
    const bool scores = option == "--min-score";
    const auto is_value = [&](const std::string& argument) {
      std::string label;
      float score = 0;
      if (scores) return parse_min_score(argument, label, score);
      return !argument.starts_with('-') && argument.find(' ') == argument.npos;
    };
    // The first value whatever it is, so that a wrong one is reported; further ones while they look like it.
    if (i + 1 < arguments.size()) out.push_back(arguments[++i]);
    while (i + 1 < arguments.size() && is_value(arguments[i + 1])) {
      out.push_back(option);
      out.push_back(arguments[++i]);
    }
  }
  return out;
}

void add_run(CLI::App& app, Action& action) {
  auto options = std::make_shared<RunOptions>();
  CLI::App* command = app.add_subcommand("run", "Texts in, entities out");
  command->footer(kExamples);
  command->add_option("MODEL", options->model, "Packed model")->required()->type_name("M.octo");
  add_input_options(*command, options->input);
  auto* words = command->add_flag("--words", options->input.words,
                                  "A line is words with spaces between; one label a word comes out");
  command->get_option("--jsonl")->excludes(words);
  command->add_option("--document", options->input.documents, "Files that are one text each, line breaks and all")
      ->type_name("F");
  add_analysis_options(*command, *options);
  auto* json = command->add_flag("--json", options->json, "One JSON object a text");
  command->add_flag("--conll", options->conll, "Columns: WORD TAB LABEL")->excludes(json);
  command->add_flag("--clipped", options->clipped,
                    "At the end, on standard error: what a static model clipped, by product; a share that grows says "
                    "that the texts are not like those of its calibration");
  add_text_policy(*command, options->policy);
  add_engine_options(*command, options->open);
  command->callback([options, &action] {
    check_usage(*options);
    action = [options] {
      Runner(*options).run();
      return kExitOk;
    };
  });
}

}  // namespace octobert::apps
