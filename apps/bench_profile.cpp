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

class Profiler {
 public:
  Profiler(const Engine& engine, std::span<const BenchCall> calls)
      : engine_(engine),
        model_(EngineAccess::model(engine)),
        calls_(calls),
        integer_peak_(bench::peak_loop_of(EngineAccess::kernels(engine), /*floats=*/false)),
        float_peak_(bench::peak_loop_of(EngineAccess::kernels(engine), /*floats=*/true)) {
    for (const BenchCall& call : calls) {
      tokens_ += static_cast<double>(call.ids.size());
      most_tokens_ = std::max(most_tokens_, call.ids.size());
      for (size_t i = 1; i < call.offsets.size(); ++i) {
        const double s = call.offsets[i] - call.offsets[i - 1];
        squares_ += s * s;
      }
    }
  }

  void run(double seconds) {
    std::vector<float> logits(most_tokens_ * static_cast<size_t>(engine_.info().label_count));
    BertState state;
    repeat(logits, state, {});  // warm-up
    profile_.reset(layers(), engine_.threads());
    using Clock = std::chrono::steady_clock;
    const auto end = Clock::now() + std::chrono::duration<double>(seconds);
    auto next_turn = Clock::now();
    do {
      repeat(logits, state, {.profile = &profile_});
      ++repetitions_;
      if (Clock::now() < next_turn) continue;
      integer_peak_.turn();
      float_peak_.turn();
      next_turn = Clock::now() + kBetweenPeaks;
    } while (Clock::now() < end);
  }

  int layers() const { return static_cast<int>(model_.layers.size()); }
  double peak(bool floats) const { return (floats ? float_peak_ : integer_peak_).rate(); }

  // Of a repetition, all threads together.
  double milliseconds(int layer, Step step) const {
    return static_cast<double>(profile_.nanoseconds(layer, step)) / repetitions_ * 1e-6;
  }

  Work work(int layer, Step step) const {
    if (layer < 0) return step == Step::kClassifier ? work_of(model_.classifier) : Work{};
    const EncoderLayer& l = model_.layers[static_cast<size_t>(layer)];
    switch (step) {
      case Step::kQkv:
        return work_of(l.qkv);
      case Step::kAttention:
        return {2 * squares_ * model_.config.hidden_size, l.attention == Scheme::kFloat};
      case Step::kAttentionOutput:
        return work_of(l.attention_output);
      case Step::kFfn1:
        return work_of(l.ffn1);
      case Step::kFfn2:
        return work_of(l.ffn2);
      default:
        return {};
    }
  }

 private:
  void repeat(std::span<float> logits, BertState& state, const RunContext& hooks) const {
    for (const BenchCall& call : calls_) {
      const size_t count = call.ids.size() * static_cast<size_t>(engine_.info().label_count);
      EngineAccess::logits(engine_, {call.ids, {}, call.offsets}, logits.first(count), state, hooks);
    }
  }
  Work work_of(const Linear& product) const { return {tokens_ * product.n * product.k, !is_integer(product)}; }

  const Engine& engine_;
  const BertModel& model_;
  std::span<const BenchCall> calls_;
  size_t most_tokens_ = 0;
  double tokens_ = 0, squares_ = 0;  // sums over the texts of a repetition
  bench::PeakTurns integer_peak_, float_peak_;
  Profile profile_;
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

void append_by_operation(const Profiler& p, std::string& out) {
  Line all;
  std::vector<Line> lines(kStepCount);
  for (int s = 0; s < kStepCount; ++s) {
    for (int layer = -1; layer < p.layers(); ++layer) {
      lines[static_cast<size_t>(s)].add(p, layer, static_cast<Step>(s));
      all.add(p, layer, static_cast<Step>(s));
    }
  }
  out += fmt::format("{:<18} {:>9} {:>7} {:>8} {:>7}\n", "operation", "ms", "% time", "GMAC/s", "% peak");
  for (int s = 0; s < kStepCount; ++s) {
    const Line& line = lines[static_cast<size_t>(s)];
    if (line.milliseconds > 0) append_text_line(step_name(static_cast<Step>(s)), line, all.milliseconds, out);
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

void append_json(const Profiler& p, const std::string& shape, std::string& out) {
  for (int layer = -1; layer < p.layers(); ++layer) {
    for (int s = 0; s < kStepCount; ++s) {
      Line line;
      line.add(p, layer, static_cast<Step>(s));
      if (line.milliseconds <= 0) continue;
      nlohmann::ordered_json object = {{"shape", shape},
                                       {"layer", layer < 0 ? nlohmann::ordered_json() : nlohmann::ordered_json(layer)},
                                       {"operation", step_name(static_cast<Step>(s))},
                                       {"ms", line.milliseconds}};
      if (line.macs > 0) object["gmac_per_s"] = line.rate();
      if (line.milliseconds_at_peak > 0) object["share_of_peak"] = line.share();
      out += object.dump() + "\n";
    }
  }
}

}  // namespace

void append_profile(const Engine& engine, const std::string& shape, std::span<const BenchCall> calls, double seconds,
                    bool json, std::string& out) {
  Profiler profiler(engine, calls);
  profiler.run(seconds);
  if (json) return append_json(profiler, shape, out);
  out += fmt::format("\n{}: thread time of a repetition; one thread's peak {:.1f} GMAC/s int8, {:.1f} float\n", shape,
                     profiler.peak(false), profiler.peak(true));
  append_by_operation(profiler, out);
  append_by_layer(profiler, out);
}

}  // namespace octobert::apps
