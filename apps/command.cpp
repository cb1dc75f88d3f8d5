#include "apps/command.h"

#include <fmt/format.h>

#include <charconv>
#include <cstdio>
#include <filesystem>
#include <map>
#include <system_error>

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

void require_not_empty(const CLI::App& command, std::initializer_list<const char*> options) {
  for (const char* name : options) {
    const CLI::Option* option = command.get_option(name);
    if (option->count() > 0 && option->as<std::string>().empty()) throw CLI::ValidationError(name, "is empty");
  }
}

namespace {

bool same_file(const std::filesystem::path& a, const std::filesystem::path& b) {
  std::error_code error;
  if (std::filesystem::equivalent(a, b, error)) return true;
  const auto one = std::filesystem::weakly_canonical(a, error), other = std::filesystem::weakly_canonical(b, error);
  return !one.empty() && one == other;
}

}  // namespace

void require_outputs_apart(const std::vector<std::string>& outputs, const std::vector<std::string>& inputs,
                           const std::string& checkpoint) {
  for (size_t i = 0; i < outputs.size(); ++i) {
    const std::string& output = outputs[i];
    if (output.empty()) continue;
    for (size_t j = i + 1; j < outputs.size(); ++j) {
      if (!outputs[j].empty() && same_file(output, outputs[j])) {
        throw CLI::ValidationError(output, "is named for two outputs");
      }
    }
    for (const std::string& other : outputs) {
      const std::filesystem::path folder = std::filesystem::path(other).parent_path();
      if (!folder.empty() && same_file(output, folder)) {
        throw CLI::ValidationError(output, "is named for an output and for the folder of another");
      }
    }
    for (const std::string& input : inputs) {
      if (!input.empty() && same_file(output, input)) throw CLI::ValidationError(output, "is an input too");
    }
    std::error_code error;
    const std::filesystem::path folder = std::filesystem::absolute(output, error).parent_path();
    if (std::filesystem::is_regular_file(output, error) && same_file(folder, checkpoint) &&
        !output.ends_with(".octo") && !output.ends_with(".policy.json")) {
      throw CLI::ValidationError(output, "is a file of the checkpoint");
    }
  }
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
