// octobert bench: how fast a model runs here. Repetitions of the shapes are interleaved, so that what else the machine
// does falls on all of them.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cmath>
#include <memory>
#include <nlohmann/json.hpp>

#include "apps/bench_profile.h"
#include "apps/clipped.h"
#include "apps/command.h"
#include "apps/input.h"
#include "apps/output.h"

namespace octobert::apps {
namespace {

struct BenchOptions {
  std::string model, shapes = "1x16,1x128,8x128", ids_file;
  OpenOptions open;
  double seconds = 2;
  bool json = false, profile = false;
};

// What is timed: all its calls, one after the other, are one repetition.
struct Case {
  std::string name;
  std::vector<BenchCall> calls;
  std::vector<double> milliseconds = {};  // one a repetition
  double spent = 0;                       // their sum
};

constexpr size_t kWarmUps = 2;
constexpr size_t kLeastRepetitions = 5;

[[noreturn]] void throw_bad_shape(const std::string& shape) {
  throw CLI::ValidationError("--shapes", "expected TEXTSxTOKENS, as in 8x128, found \"" + shape + "\"");
}

// "8x128" -> 8 texts of 128 tokens. What the ids are does not matter; they are spread over the vocabulary, so that the
// look-up of their rows costs what it does with real texts.
Case make_shape(const std::string& shape, const ModelInfo& info) {
  const char* const end = shape.data() + shape.size();
  int texts = 0, tokens = 0;
  const auto [cross, bad_texts] = std::from_chars(shape.data(), end, texts);
  if (bad_texts != std::errc() || cross == end || *cross != 'x') throw_bad_shape(shape);
  const auto [rest, bad_tokens] = std::from_chars(cross + 1, end, tokens);
  if (bad_tokens != std::errc() || rest != end || texts < 1 || tokens < 1 || texts > 65536) throw_bad_shape(shape);
  if (tokens > info.max_positions) {
    throw Error(ErrorCode::kInvalidInput,
                fmt::format("--shapes: {}: the model takes at most {} tokens", shape, info.max_positions));
  }
  BenchCall call;
  uint32_t state = 1;
  for (int text = 0; text < texts; ++text) {
    for (int token = 0; token < tokens; ++token) {
      state = state * 1664525 + 1013904223;  // Knuth's "quick and dirty" generator, Numerical Recipes 7.1
      call.ids.push_back(static_cast<int32_t>(state % static_cast<uint32_t>(info.vocab_size)));
    }
    call.offsets.push_back(static_cast<int32_t>(call.ids.size()));
  }
  return {shape, {call}};
}

std::vector<Case> make_shapes(std::string_view list, const ModelInfo& info) {
  std::vector<Case> cases;
  while (!list.empty()) {
    const size_t comma = std::min(list.find(','), list.size());
    cases.push_back(make_shape(std::string(list.substr(0, comma)), info));
    list.remove_prefix(std::min(comma + 1, list.size()));
  }
  if (cases.empty()) throw_bad_shape("");
  return cases;
}

// Each line of the file is one call: an array of arrays of ids.
Case read_ids(const std::string& path, const ModelInfo& info) {
  Case out{path, {}};
  LineReader lines(path);
  for (std::string line; lines.next(line, /*wait=*/true) == LineReader::Status::kLine;) {
    if (line.find_first_not_of(" \t") == line.npos) continue;
    const auto value = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
    const std::string origin = lines.origin();
    if (!value.is_array() || value.empty()) {
      throw Error(ErrorCode::kInvalidInput, origin + ": expected a JSON array of arrays of ids");
    }
    BenchCall call;
    for (const auto& text : value) {
      const std::vector<int32_t> ids = parse_id_array(text.dump(), origin, info.vocab_size);
      if (ids.empty() || ids.size() > static_cast<size_t>(info.max_positions)) {
        throw Error(ErrorCode::kInvalidInput,
                    fmt::format("{}: a text of {} ids: expected 1 to {}", origin, ids.size(), info.max_positions));
      }
      call.ids.insert(call.ids.end(), ids.begin(), ids.end());
      call.offsets.push_back(static_cast<int32_t>(call.ids.size()));
    }
    out.calls.push_back(std::move(call));
  }
  if (out.calls.empty()) throw Error(ErrorCode::kInvalidInput, path + ": no calls in it");
  return out;
}

size_t token_count(const Case& what) {
  size_t tokens = 0;
  for (const BenchCall& call : what.calls) tokens += call.ids.size();
  return tokens;
}

class Bench {
 public:
  Bench(const Engine& engine, std::vector<Case> cases) : engine_(engine), cases_(std::move(cases)) {
    size_t most_tokens = 0;
    for (const Case& what : cases_) {
      for (const BenchCall& call : what.calls) most_tokens = std::max(most_tokens, call.ids.size());
    }
    logits_.resize(most_tokens * static_cast<size_t>(engine.info().label_count));
  }

  const std::vector<Case>& cases() const { return cases_; }

  // Every case for at least `seconds`, in turns.
  std::vector<Case>& measure(double seconds) {
    for (size_t i = 0; i < kWarmUps; ++i) {
      for (const Case& what : cases_) repeat(what);
    }
    for (bool busy = true; busy;) {
      busy = false;
      for (Case& what : cases_) {
        if (what.spent >= 1e3 * seconds && what.milliseconds.size() >= kLeastRepetitions) continue;
        what.milliseconds.push_back(repeat(what));
        what.spent += what.milliseconds.back();
        busy = true;
      }
    }
    for (Case& what : cases_) std::sort(what.milliseconds.begin(), what.milliseconds.end());
    return cases_;
  }

 private:
  double repeat(const Case& what) {
    const auto begin = std::chrono::steady_clock::now();
    for (const BenchCall& call : what.calls) {
      const size_t count = call.ids.size() * static_cast<size_t>(engine_.info().label_count);
      engine_.logits({call.ids, {}, call.offsets}, std::span(logits_).first(count), workspace_);
    }
    return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count();
  }

  const Engine& engine_;
  std::vector<Case> cases_;
  std::vector<float> logits_;
  Workspace workspace_;
};

// The time at this share of the way from the fastest repetition to the slowest; `sorted` is not empty.
double quantile(const std::vector<double>& sorted, double share) {
  return sorted[static_cast<size_t>(std::lround(share * static_cast<double>(sorted.size() - 1)))];
}

nlohmann::ordered_json result_of(const Case& what, const BenchOptions& options, const Engine& engine) {
  const double median = quantile(what.milliseconds, 0.5);
  const auto tokens = token_count(what);
  return {{"model", options.model},
          {"shape", what.name},
          {"isa", engine.isa()},
          {"threads", engine.threads()},
          {"calls", what.calls.size()},
          {"tokens", tokens},
          {"repetitions", what.milliseconds.size()},
          {"median_ms", median},
          {"min_ms", what.milliseconds.front()},
          {"p90_ms", quantile(what.milliseconds, 0.9)},
          {"p99_ms", quantile(what.milliseconds, 0.99)},
          {"tokens_per_s", static_cast<double>(tokens) / median * 1e3},
          {"gmac_per_s", multiply_accumulates(engine, what.calls) / median * 1e-6}};
}

int run_bench(const BenchOptions& options) {
  const Engine engine = Engine::open(options.model, options.open);
  std::vector<Case> cases = options.ids_file.empty() ? make_shapes(options.shapes, engine.info())
                                                     : std::vector<Case>{read_ids(options.ids_file, engine.info())};
  Bench bench(engine, std::move(cases));
  Output output;
  if (!options.json) {
    output.text() += fmt::format("{}: {}, {} threads\n{:<16} {:>10} {:>10} {:>10} {:>10} {:>12} {:>9}\n", options.model,
                                 engine.isa(), engine.threads(), "texts x tokens", "median ms", "min", "p90", "p99",
                                 "tokens/s", "GMAC/s");
  }
  for (const Case& what : bench.measure(options.seconds)) {
    auto r = result_of(what, options, engine);
    if (options.json) {
      if (const auto clipped = engine.clipped(); !options.ids_file.empty() && !clipped.empty())
        r["clipped"] = clipped_json(clipped);
      output.text() += json_line(r);
    } else {
      output.text() +=
          fmt::format("{:<16} {:>10.3f} {:>10.3f} {:>10.3f} {:>10.3f} {:>12.0f} {:>9.1f}\n", what.name,
                      r["median_ms"].get<double>(), r["min_ms"].get<double>(), r["p90_ms"].get<double>(),
                      r["p99_ms"].get<double>(), r["tokens_per_s"].get<double>(), r["gmac_per_s"].get<double>());
    }
  }
  // Of real texts only: the shapes' ids are arbitrary.
  if (!options.json && !options.ids_file.empty()) output.text() += clipped_text(engine.clipped());
  if (options.profile) {
    for (const Case& what : bench.cases()) {
      append_profile(engine, what.name, what.calls, options.seconds, options.json, output.text());
    }
  }
  output.flush();
  return kExitOk;
}

constexpr const char* kExamples = R"(Examples:
  octobert bench model.octo --threads 1
  octobert bench model.octo --shapes 1x27,32x27 --seconds 5 --json
  octobert bench model.octo --ids calls.jsonl
  octobert bench model.octo --threads 1 --shapes 1x128 --profile

--ids: each line is one call, an array of arrays of ids; a repetition runs all lines. With --json one object a shape:
median_ms, min_ms, p90_ms, p99_ms (of a repetition), tokens_per_s and gmac_per_s (from the median; useful work only:
the encoder's matrix products, attention included), and what was measured.

--profile adds, for each shape, the time by operation and layer, and what share of the processor's peak each product
reaches; the peak (multiply-accumulates from registers alone) is measured between repetitions. "all" is the time of the
whole call, of all threads; "between steps" is what of it no operation has: threads that wait or are woken, checks.
With --json one object an operation and layer, and one of "all".

Exit status: 0; 1 if a file has a fault or the model does not take the shape; 2 for a wrong command line.)";

}  // namespace

void add_bench(CLI::App& app, Action& action) {
  auto options = std::make_shared<BenchOptions>();
  CLI::App* command = app.add_subcommand("bench", "How fast a model runs here");
  command->footer(kExamples);
  command->add_option("MODEL", options->model, "Packed model")->required()->type_name("M.octo");
  auto* shapes =
      command->add_option("--shapes", options->shapes, "Default: 1x16,1x128,8x128")->type_name("TEXTSxTOKENS,...");
  command->add_option("--ids", options->ids_file, "Measure these calls instead")
      ->type_name("F.jsonl")
      ->excludes(shapes);
  command->add_option("--seconds", options->seconds, "Time for each shape at least; default: 2")
      ->check(number_in(0, 86400))
      ->type_name("X");
  command->add_flag("--profile", options->profile, "Where the time goes, by operation and layer");
  command->add_flag("--json", options->json, "One JSON object a shape");
  add_engine_options(*command, options->open);
  command->callback([options, &action] { action = [options] { return run_bench(*options); }; });
}

}  // namespace octobert::apps
