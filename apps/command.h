// What every subcommand shares: exit codes, common options, errors. One file a subcommand; each adds itself to the
// command line and, when it is the one that was chosen, leaves what is to be done in `action`.
#ifndef OCTOBERT_APPS_COMMAND_H_
#define OCTOBERT_APPS_COMMAND_H_

#include <CLI/CLI.hpp>
#include <functional>
#include <initializer_list>
#include <string>
#include <vector>

#include "octobert/engine.h"

namespace octobert::apps {

inline constexpr int kExitOk = 0;
inline constexpr int kExitFailure = 1;         // a file, an input line, the machine: the message says which
inline constexpr int kExitUsage = 2;           // the command line itself
inline constexpr int kExitBarNotMet = 3;       // convert, verify, tune: worse than what was asked for
inline constexpr int kExitOutputClosed = 141;  // the reader of our output went away: 128 + SIGPIPE, as shells have it

using Action = std::function<int()>;

void add_convert(CLI::App& app, Action& action);
void add_tune(CLI::App& app, Action& action);
void add_run(CLI::App& app, Action& action);
void add_tokenize(CLI::App& app, Action& action);
void add_logits(CLI::App& app, Action& action);
void add_verify(CLI::App& app, Action& action);
void add_inspect(CLI::App& app, Action& action);
void add_info(CLI::App& app, Action& action);
void add_bench(CLI::App& app, Action& action);

// `run --ignore-labels A B --min-score 0.5 PER=0.9 TEXT`: the lists' values as options of their own, so that they end
// where they end and a text that follows is a text.
std::vector<std::string> repeat_list_options(std::vector<std::string> arguments);

// How a model is opened. `isa` comes from --isa or the environment variable OCTOBERT_ISA.
void add_engine_options(CLI::App& command, OpenOptions& options);
void add_threads_option(CLI::App& command, int& threads);
void add_isa_option(CLI::App& command, std::string& isa);

// The check of an option's value: a number from low to high. CLI::Range lets "nan" through.
CLI::Validator number_in(double low, double high);

// Both throw CLI::ValidationError: for a name that is given and empty (a shell's variable that is not set, say), and
// for outputs that are each other, an input, or a file of the checkpoint's folder. Empty names of files are left out.
void require_not_empty(const CLI::App& command, std::initializer_list<const char*> options);
void require_outputs_apart(const std::vector<std::string>& outputs, const std::vector<std::string>& inputs,
                           const std::string& checkpoint);

// --special-tokens-in-text and --invalid-utf8.
struct TextPolicy {
  SpecialTokensInText special_tokens = SpecialTokensInText::kKeep;
  InvalidUtf8 invalid_utf8 = InvalidUtf8::kReplace;
};
void add_text_policy(CLI::App& command, TextPolicy& policy);

// A line on standard error: "octobert: <message>".
void print_message(const std::string& message);

}  // namespace octobert::apps

#endif  // OCTOBERT_APPS_COMMAND_H_
