// octobert info: what this machine has and what would be used.
#include <fmt/format.h>

#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <thread>

#include "apps/command.h"
#include "apps/output.h"
#include "kernels/cpu.h"
#include "octobert/engine.h"

namespace octobert::apps {
namespace {

struct InfoFlags {
  OpenOptions open;  // --isa and OCTOBERT_ISA
  bool json = false;
};

std::string cpu_name() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    // x86 names the model; AArch64 gives numbers for it, and its "CPU part" says the most.
    if (!line.starts_with("model name") && !line.starts_with("CPU part")) continue;
    const size_t colon = line.find(": ");
    if (colon != line.npos) return line.substr(colon + 2);
  }
  return "unknown";
}

// The instruction set that an engine opened with these options would use. Throws Error(kInvalidInput).
std::string used_isa(const std::vector<IsaInfo>& isas, const std::string& asked_for) {
  std::string best, names;
  for (const IsaInfo& isa : isas) {
    if (isa.available) best = isa.name;
    if (isa.available && isa.name == asked_for) return asked_for;
    if (isa.available) names += " " + isa.name;
  }
  if (asked_for.empty()) return best;
  throw Error(ErrorCode::kInvalidInput,
              fmt::format("instruction set \"{}\" is not available here; available:{}", asked_for, names));
}

int run_info(const InfoFlags& flags) {
  const std::vector<IsaInfo> isas = compiled_isas();
  const CacheSizes caches = detect_cache_sizes();
  const int threads = usable_cores();
  Output output;
  if (flags.json) {
    nlohmann::ordered_json json = {{"version", OCTOBERT_VERSION}, {"cpu", cpu_name()}};
    json["isa"] = used_isa(isas, flags.open.isa);
    for (const IsaInfo& isa : isas) json["compiled"].push_back({{"name", isa.name}, {"available", isa.available}});
    json["threads"] = threads;
    json["logical_cpus"] = std::thread::hardware_concurrency();
    json["cache_bytes"] = {{"l1d", caches.l1d}, {"l2", caches.l2}, {"l3", caches.l3}};
    output.text() = json_line(json);
  } else {
    std::string& out = output.text();
    out += fmt::format("octobert {}\nCPU: {}\ncaches: L1d {} KiB, L2 {} KiB, L3 {} KiB\n", OCTOBERT_VERSION, cpu_name(),
                       caches.l1d / 1024, caches.l2 / 1024, caches.l3 / 1024);
    out += fmt::format("threads: {} (physical cores that this process may use, of {} logical CPUs)\n", threads,
                       std::thread::hardware_concurrency());
    out += "instruction sets of this build:\n";
    for (const IsaInfo& isa : isas) {
      out += fmt::format("  {:<14} {}\n", isa.name, isa.available ? "available" : "not on this machine");
    }
    out += fmt::format("used: {}\n", used_isa(isas, flags.open.isa));
  }
  output.flush();
  return kExitOk;
}

constexpr const char* kExamples = R"(Examples:
  octobert info
  OCTOBERT_ISA=avx2 octobert info --json

Exit status: 0; 1 if the instruction set asked for is not available here; 2 for a wrong command line.)";

}  // namespace

void add_info(CLI::App& app, Action& action) {
  auto flags = std::make_shared<InfoFlags>();
  CLI::App* command = app.add_subcommand("info", "This machine: CPU, instruction sets, threads");
  command->footer(kExamples);
  command->add_flag("--json", flags->json, "As a JSON object");
  add_isa_option(*command, flags->open.isa);
  command->callback([flags, &action] { action = [flags] { return run_info(*flags); }; });
}

}  // namespace octobert::apps
