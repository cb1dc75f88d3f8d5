// The octobert command: command line in, exit status out.
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <iostream>
#include <new>
#include <sstream>

#include "apps/command.h"
#include "apps/output.h"
#include "octobert/error.h"

namespace octobert::apps {
namespace {

// With a standard stream closed, the next file opened would take its number: the model, or the file being written.
void keep_standard_streams() {
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (::fcntl(fd, F_GETFD) != -1 || errno != EBADF) continue;
    // Standard output for reading only: that nobody takes our output stays an error.
    [[maybe_unused]] const int opened = ::open("/dev/null", fd == STDERR_FILENO ? O_WRONLY : O_RDONLY);
  }
}

// CLI11 takes an argument like "[SEP]" or "[1, 2]" for a list and strips it of its brackets. A NUL at the end, which no
// argument of a process can hold, keeps it from doing so; a transformation of every option takes it away again.
void protect_brackets(std::vector<std::string>& arguments) {
  for (std::string& argument : arguments) {
    if (argument.starts_with('[') && argument.ends_with(']')) argument += '\0';
  }
}

void unprotect_brackets(CLI::App& app) {
  const auto strip = [](std::string value) {
    if (value.ends_with('\0')) value.pop_back();
    return value;
  };
  for (CLI::App* command : app.get_subcommands(nullptr)) {
    for (CLI::Option* option : command->get_options()) option->transform(strip, "");
  }
}

int parse_and_act(int argc, char** argv) {
  CLI::App app("octobert: BERT token classification in 8 bits, on CPUs", "octobert");
  app.set_version_flag("--version", "octobert " OCTOBERT_VERSION);
  app.require_subcommand(1);
  app.get_formatter()->column_width(34);
  app.footer("octobert COMMAND --help shows a command's options, examples and exit status.");
  Action action;
  add_convert(app, action);
  add_tune(app, action);
  add_run(app, action);
  add_tokenize(app, action);
  add_logits(app, action);
  add_verify(app, action);
  add_inspect(app, action);
  add_info(app, action);
  add_bench(app, action);
  unprotect_brackets(app);
  try {
    std::vector<std::string> arguments = repeat_list_options({argv + std::min(argc, 1), argv + argc});
    protect_brackets(arguments);
    std::reverse(arguments.begin(), arguments.end());  // as CLI11 wants them
    app.parse(std::move(arguments));
  } catch (const CLI::ParseError& error) {
    std::ostringstream out, err;
    const bool asked_for = app.exit(error, out, err) == 0;  // --help, --version
    Output output;
    output.text() = out.str();
    output.flush();
    std::cerr << err.str();
    return asked_for ? kExitOk : kExitUsage;
  }
  return action();
}

int guarded_main(int argc, char** argv) {
  try {
    return parse_and_act(argc, argv);
  } catch (const OutputClosed&) {
    return kExitOutputClosed;
  } catch (const Error& error) {
    print_message(error.what());
    return error.code() == ErrorCode::kCheckFailed ? kExitBarNotMet : kExitFailure;
  } catch (const CLI::ParseError& error) {  // found only when the model was at hand
    print_message(error.what());
    return kExitUsage;
  } catch (const std::bad_alloc&) {
    print_message("out of memory");
  } catch (const std::exception& error) {
    print_message(error.what());
  }
  return kExitFailure;
}

}  // namespace
}  // namespace octobert::apps

int main(int argc, char** argv) {
  octobert::apps::keep_standard_streams();
  ::signal(SIGPIPE, SIG_IGN);  // a closed pipe is an error of write(), told by the exit status
  return octobert::apps::guarded_main(argc, argv);
}
