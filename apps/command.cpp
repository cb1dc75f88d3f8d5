#include "apps/command.h"

#include <fmt/format.h>

#include <charconv>
#include <cstdio>
#include <map>

namespace octobert::apps {

void add_threads_option(CLI::App& command, int& threads) {
  command.add_option("--threads", threads, "Threads; 0, the default: the physical cores that this process may use")
      ->check(CLI::Range(0, 4096).description(""))
      ->type_name("N");
}

void add_isa_option(CLI::App& command, std::string& isa) {
  command.add_option("--isa", isa, "Instruction set (see `octobert info`); default: the best one there is")
      ->envname("OCTOBERT_ISA")
      ->type_name("NAME");
}

void add_engine_options(CLI::App& command, OpenOptions& options) {
  add_threads_option(command, options.threads);
  add_isa_option(command, options.isa);
  command.add_flag("--allow-other-numerics", options.allow_other_numerics,
                   "Open a file that was made for another version of the arithmetic");
  command.add_flag("--load-into-memory", options.load_into_memory,
                   "Read the file instead of mapping it: safe if someone truncates it meanwhile");
}

CLI::Validator number_in(double low, double high) {
  const auto check = [low, high](const std::string& argument) -> std::string {
    double value = 0;
    const char* const end = argument.data() + argument.size();
    const auto [parsed, error] = std::from_chars(argument.data(), end, value);
    if (error == std::errc() && parsed == end && value >= low && value <= high) return {};  // false for NaN
    return fmt::format("expected a number from {} to {}, found {}", low, high, argument);
  };
  return CLI::Validator(check, "");
}

void add_text_policy(CLI::App& command, TextPolicy& policy) {
  const std::map<std::string, SpecialTokensInText> special = {{"keep", SpecialTokensInText::kKeep},
                                                              {"escape", SpecialTokensInText::kEscape}};
  const std::map<std::string, InvalidUtf8> invalid = {{"replace", InvalidUtf8::kReplace},
                                                      {"error", InvalidUtf8::kError}};
  command
      .add_option("--special-tokens-in-text", policy.special_tokens,
                  "[SEP] and its like typed in the text: keep as that token (default), or escape")
      ->transform(CLI::CheckedTransformer(special).description(""))
      ->type_name("keep|escape");
  command
      .add_option("--invalid-utf8", policy.invalid_utf8,
                  "Bytes that are not UTF-8: replace by U+FFFD (default), or error")
      ->transform(CLI::CheckedTransformer(invalid).description(""))
      ->type_name("replace|error");
}

void print_message(const std::string& message) {
  // One write of the whole line, so that lines of several processes do not mix. Nothing can be done if it fails.
  const std::string line = "octobert: " + message + "\n";
  std::fwrite(line.data(), 1, line.size(), stderr);
  std::fflush(stderr);
}

}  // namespace octobert::apps
