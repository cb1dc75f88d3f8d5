#include "apps/bench_profile.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>

#include "apps/peak.h"
#include "engine/engine_access.h"
#include "engine/linear.h"

namespace octobert::apps {
namespace {

using format::Scheme;

// Turns of the peak take 1.5 ms and let other threads fall asleep, so short repetitions have several for one of them.
constexpr auto kBetweenPeaks = std::chrono::milliseconds(15);

// Multiply-accumulates of a repetition, and whether they are of floats.
struct Work {
  double macs = 0;
  bool floats = false;
};

// What a repetition of `calls` has to compute, by layer (-1: none) and operation.
class WorkOf {
 public:
  WorkOf(const BertModel& model, std::span<const BenchCall> calls) : model_(model) {
    for (const BenchCall& call : calls) {
      tokens_ += static_cast<double>(call.ids.size());
      for (size_t i = 1; i < call.offsets.size(); ++i) {
        const double s = call.offsets[i] - call.offsets[i - 1];
        squares_ += s * s;
      }
    }
  }

  Work operator()(int layer, Step step) const {
    if (layer < 0) return step == Step::kClassifier ? of(model_.classifier) : Work{};
    const EncoderLayer& l = model_.layers[static_cast<size_t>(layer)];
    switch (step) {
      case Step::kQkv:
        return of(l.qkv);
      case Step::kAttention:
        return {2 * squares_ * model_.config.hidden_size, l.attention == Scheme::kFloat};
      case Step::kAttentionOutput:
        return of(l.attention_output);
      case Step::kFfn1:
        return of(l.ffn1);
      case Step::kFfn2:
        return of(l.ffn2);
      default:
        return {};
    }
  }

  int layers() const { return static_cast<int>(model_.layers.size()); }

  // Of products of floats, or of integers; the classifier counts with neither.
  bool has(bool floats) const {
    for (int layer = 0; layer < layers(); ++layer) {
      for (int s = 0; s < kStepCount; ++s) {
        const Work work = (*this)(layer, static_cast<Step>(s));
        if (work.macs > 0 && work.floats == floats) return true;
      }
    }
    return false;
  }

 private:
  Work of(const Linear& product) const { return {tokens_ * product.n * product.k, !is_integer(product)}; }

  const BertModel& model_;
  double tokens_ = 0, squares_ = 0;  // sums over the texts of a repetition
};

class Profiler {
 public:
  Profiler(const Engine& engine, std::span<const BenchCall> calls)
      : engine_(engine),
        calls_(calls),
        work_(EngineAccess::model(engine), calls),
        integer_peak_(loop(/*floats=*/false)),
        float_peak_(loop(/*floats=*/true)) {}

  void run(double seconds) {
    size_t most_tokens = 0;
    for (const BenchCall& call : calls_) most_tokens = std::max(most_tokens, call.ids.size());
    std::vector<float> logits(most_tokens * static_cast<size_t>(engine_.info().label_count));
    BertState state;
    repeat(logits, state, {});  // warm-up
    profile_.reset(layers(), engine_.threads());
    const auto end = Clock::now() + std::chrono::duration<double>(seconds);
    auto next_turn = Clock::now();
    do {
      const auto begin = Clock::now();
      repeat(logits, state, {.profile = &profile_});
      spent_ += Clock::now() - begin;
      ++repetitions_;
      if (Clock::now() < next_turn) continue;
      integer_peak_.turn();
      float_peak_.turn();
      next_turn = Clock::now() + kBetweenPeaks;
    } while (Clock::now() < end);
  }

  int layers() const { return work_.layers(); }
  Work work(int layer, Step step) const { return work_(layer, step); }
  double peak(bool floats) const { return (floats ? float_peak_ : integer_peak_).rate(); }

  // Of a repetition, all threads together.
  double milliseconds(int layer, Step step) const {
    return static_cast<double>(profile_.nanoseconds(layer, step)) / repetitions_ * 1e-6;
  }
  double milliseconds() const {
    return std::chrono::duration<double, std::milli>(spent_).count() / repetitions_ * engine_.threads();
  }

 private:
  using Clock = std::chrono::steady_clock;

  // Null where the model has no use for it: loops of wide floats may lower the clock of what comes after them.
  const bench::PeakLoop* loop(bool floats) const {
    return work_.has(floats) ? bench::peak_loop_of(EngineAccess::kernels(engine_), floats) : nullptr;
  }

  void repeat(std::span<float> logits, BertState& state, const RunContext& hooks) const {
    for (const BenchCall& call : calls_) {
      const size_t count = call.ids.size() * static_cast<size_t>(engine_.info().label_count);
      EngineAccess::logits(engine_, {call.ids, {}, call.offsets}, logits.first(count), state, hooks);
    }
  }

  const Engine& engine_;
  std::span<const BenchCall> calls_;
  WorkOf work_;
  bench::PeakTurns integer_peak_, float_peak_;
  Profile profile_;
  Clock::duration spent_{};
  int repetitions_ = 0;
};

// Sums over layers, or one layer.
struct Line {
  double milliseconds = 0, macs = 0, milliseconds_at_peak = 0;

  void add(const Profiler& p, int layer, Step step) {
    const Work work = p.work(layer, step);
    milliseconds += p.milliseconds(layer, step);
    macs += work.macs;
    if (p.peak(work.floats) > 0) milliseconds_at_peak += work.macs / p.peak(work.floats) * 1e-6;
  }
  double rate() const { return macs / milliseconds * 1e-6; }  // GMAC/s
  double share() const { return milliseconds_at_peak / milliseconds; }
};

void append_text_line(const std::string& name, const Line& line, double total, std::string& out) {
  out += fmt::format("{:<18} {:>9.3f} {:>7.1f}", name, line.milliseconds, 100 * line.milliseconds / total);
  if (line.macs > 0) out += fmt::format(" {:>8.1f}", line.rate());
  if (line.milliseconds_at_peak > 0) out += fmt::format(" {:>7.1f}", 100 * line.share());
  out += '\n';
}

// The whole call: its time is not the operations' sum.
Line line_of_all(const Profiler& p) {
  Line all;
  for (int layer = -1; layer < p.layers(); ++layer) {
    for (int s = 0; s < kStepCount; ++s) all.add(p, layer, static_cast<Step>(s));
  }
  all.milliseconds = p.milliseconds();
  return all;
}

void append_by_operation(const Profiler& p, std::string& out) {
  const Line all = line_of_all(p);
  Line between{.milliseconds = all.milliseconds};
  out += fmt::format("{:<18} {:>9} {:>7} {:>8} {:>7}\n", "operation", "ms", "% time", "GMAC/s", "% peak");
  for (int s = 0; s < kStepCount; ++s) {
    const auto step = static_cast<Step>(s);
    Line line;
    for (int layer = -1; layer < p.layers(); ++layer) line.add(p, layer, step);
    between.milliseconds -= line.milliseconds;
    if (line.milliseconds > 0) append_text_line(step_name(step), line, all.milliseconds, out);
  }
  constexpr double kShown = 5e-4;  // what does not round to 0.0 % of the time
  if (between.milliseconds >= kShown * all.milliseconds) {
    append_text_line("between steps", between, all.milliseconds, out);
  }
  append_text_line("all", all, all.milliseconds, out);
}

void append_by_layer(const Profiler& p, std::string& out) {
  constexpr Step kShown[] = {Step::kQkv, Step::kAttention, Step::kAttentionOutput, Step::kFfn1, Step::kFfn2};
  out += fmt::format("\n{:<6}", "layer");
  for (const Step step : kShown) out += fmt::format(" {:>16}", step_name(step));
  out += fmt::format(" {:>9} {:>9}\n", "others", "all ms");
  for (int layer = 0; layer < p.layers(); ++layer) {
    out += fmt::format("{:<6}", layer);
    double all = 0, shown = 0;
    for (int s = 0; s < kStepCount; ++s) all += p.milliseconds(layer, static_cast<Step>(s));
    for (const Step step : kShown) {
      shown += p.milliseconds(layer, step);
      out += fmt::format(" {:>16.3f}", p.milliseconds(layer, step));
    }
    out += fmt::format(" {:>9.3f} {:>9.3f}\n", all - shown, all);
  }
}

void append_json_line(const std::string& shape, int layer, const char* operation, const Line& line, std::string& out) {
  nlohmann::ordered_json object = {{"shape", shape},
                                   {"layer", layer < 0 ? nlohmann::ordered_json() : nlohmann::ordered_json(layer)},
                                   {"operation", operation},
                                   {"ms", line.milliseconds}};
  if (line.macs > 0) object["gmac_per_s"] = line.rate();
  if (line.milliseconds_at_peak > 0) object["share_of_peak"] = line.share();
  out += object.dump() + "\n";
}

void append_json(const Profiler& p, const std::string& shape, std::string& out) {
  for (int layer = -1; layer < p.layers(); ++layer) {
    for (int s = 0; s < kStepCount; ++s) {
      Line line;
      line.add(p, layer, static_cast<Step>(s));
      if (line.milliseconds > 0) append_json_line(shape, layer, step_name(static_cast<Step>(s)), line, out);
    }
  }
  append_json_line(shape, -1, "all", line_of_all(p), out);
}

}  // namespace

double multiply_accumulates(const Engine& engine, std::span<const BenchCall> calls) {
  const WorkOf work(EngineAccess::model(engine), calls);
  double sum = 0;
  for (int layer = -1; layer < work.layers(); ++layer) {
    for (int s = 0; s < kStepCount; ++s) sum += work(layer, static_cast<Step>(s)).macs;
  }
  return sum;
}

void append_profile(const Engine& engine, const std::string& shape, std::span<const BenchCall> calls, double seconds,
                    bool json, std::string& out) {
  Profiler profiler(engine, calls);
  profiler.run(seconds);
  if (json) return append_json(profiler, shape, out);
  out += fmt::format("\n{}: thread time of a repetition", shape);
  for (const bool floats : {false, true}) {
    if (profiler.peak(floats) > 0)
      out += fmt::format("; one thread's peak {:.1f} GMAC/s {}", profiler.peak(floats), floats ? "float" : "int8");
  }
  out += '\n';
  append_by_operation(profiler, out);
  append_by_layer(profiler, out);
}

}  // namespace octobert::apps
