// octobert verify: is this copy of the model, on this machine, the one that was made?
#include <fmt/format.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "apps/command.h"
#include "apps/output.h"
#include "engine/verify_vectors.h"

namespace octobert::apps {
namespace {

struct VerifyOptions {
  std::string model;
  OpenOptions open;
  bool json = false;
};

int run_verify(const VerifyOptions& options) {
  OpenOptions open = options.open;
  open.verify_all = true;
  const Engine engine = Engine::open(options.model, open);
  const VectorReport vectors = verify_vectors(engine);
  for (const VectorMismatch& mismatch : vectors.mismatches) {
    print_message(fmt::format("{}: test vector {}: {}", options.model, mismatch.vector, mismatch.message));
  }
  Output output;
  if (options.json) {
    const nlohmann::ordered_json json = {{"file", options.model},
                                         {"isa", engine.isa()},
                                         {"vectors", vectors.vectors},
                                         {"vector_mismatches", vectors.mismatches.size()}};
    output.text() = json.dump() + "\n";
  } else {
    output.text() =
        fmt::format("{}: every checksum right; {} of {} test vectors equal ({} tokens, {})\n", options.model,
                    vectors.vectors - vectors.mismatches.size(), vectors.vectors, vectors.tokens, engine.isa());
  }
  output.flush();
  return vectors.mismatches.empty() ? kExitOk : kExitBarNotMet;
}

constexpr const char* kExamples = R"(Examples:
  octobert verify model.octo

Exit status: 0; 1 if a file has a fault; 2 for a wrong command line; 3 if a test vector comes out different.)";

}  // namespace

void add_verify(CLI::App& app, Action& action) {
  auto options = std::make_shared<VerifyOptions>();
  CLI::App* command = app.add_subcommand("verify", "Replay the file's test vectors; compare with the float model");
  command->footer(kExamples);
  command->add_option("MODEL", options->model, "Packed model")->required()->type_name("M.octo");
  command->add_flag("--json", options->json, "As a JSON object");
  add_engine_options(*command, options->open);
  command->callback([options, &action] { action = [options] { return run_verify(*options); }; });
}

}  // namespace octobert::apps
