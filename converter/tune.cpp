#include "converter/tune.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <span>
#include <stdexcept>
#include <utility>

#include "converter/convert.h"
#include "converter/prepare.h"
#include "converter/provenance.h"
#include "converter/report_fill.h"
#include "converter/tune_budget.h"
#include "converter/tune_model.h"
#include "converter/tune_search.h"
#include "converter/tune_texts.h"
#include "engine/engine_access.h"
#include "octobert/error.h"

namespace octobert::converter {
namespace {

using format::Scheme;

// What is switched as one: a member of LayerPlan. In the order in which BERTs are known to hurt; it decides between
// units that are worth the same, and what is looked at first.
struct Part {
  const char* name;
  Scheme LayerPlan::*scheme;
};
constexpr Part kParts[] = {{"ffn2", &LayerPlan::ffn2},
                           {"ffn1", &LayerPlan::ffn1},
                           {"attention_output", &LayerPlan::attention_output},
                           {"qkv", &LayerPlan::qkv},
                           {"scores", &LayerPlan::attention}};  // and context, which goes with it

constexpr size_t kTimedTokens = 512, kTimedRounds = 4;
constexpr size_t kMostTrials = 16;  // of faster options at the end
constexpr size_t kStepsToFinish = 3;

// Attention has no weights of its own to keep as int8.
bool has_option(const Part& part, Scheme scheme) {
  return part.scheme != &LayerPlan::attention || scheme != Scheme::kWeightOnly;
}

class Tuner {
 public:
  Tuner(const std::filesystem::path& checkpoint, const TuneOptions& options)
      : options_(options),
        folder_(checkpoint),
        checkpoint_(checkpoint, options.convert.labels),
        reference_(checkpoint, open_options(options), options.convert.labels),
        layers_(checkpoint_.config().layer_count),
        files_(read_tune_files(options, reference_.engine())) {
    total_ = layers_ * (std::size(kParts) * 4 + 2) + kMostTrials + 11;
    result_.report.warnings = files_.warnings;
    settings_ = resolve_settings(uniform(Scheme::kStatic), nullptr, options.convert.calibration,
                                 !checkpoint_.quantization().empty());
  }

  TuneResult run() {
    calibrate_model();
    step("pack", "every product in every scheme");
    model_.emplace(checkpoint_, reference_.engine(), *calibration_, settings_,
                   [this](size_t done, size_t) { step("pack", fmt::format("layer {}", done)); });
    tuned_.emplace(*model_, files_.tuned.encoded, files_.tuned.sentences);
    held_out_.emplace(*model_, files_.held_out.encoded, files_.held_out.sentences);
    for (const auto* part : {&*tuned_, &*held_out_}) require_entities_found(options_, part->reference_scores());
    measure_times();
    measure_sensitivity();
    search();
    total_ = done_ + kStepsToFinish + 1;  // trials that were not needed are none that are left
    finish();
    done_ = total_;
    step("check", "done");
    return std::move(result_);
  }

 private:
  static OpenOptions open_options(const TuneOptions& options) {
    OpenOptions open;
    open.threads = options.convert.threads;
    open.isa = options.convert.isa;
    return open;
  }

  void step(std::string_view stage, const std::string& item) {
    const ConvertProgress progress{stage, item, std::min(done_++, total_), total_};
    if (options_.convert.progress) options_.convert.progress(progress);
  }

  Plan uniform(Scheme scheme) const {
    return make_plan(std::string(format::scheme_name(static_cast<uint32_t>(scheme))), static_cast<uint32_t>(layers_));
  }

  void calibrate_model() {
    step("calibrate", "texts");
    const CalibrationTexts texts = calibration_texts_of(options_, files_, settings_.hold_out);
    const EncodedTexts encoded = encode_samples(reference_.engine(), texts, settings_.samples, result_.report.warnings);
    calibration_ = calibrate(reference_.engine(), encoded, settings_.gptq);
    calibration_->source = texts.source();
    calibrated_on_ = texts.name();
  }

  // Seconds that a part costs in a layer beyond its first option, in each scheme: all layers' switched at once; and the
  // classifier beyond floats.
  void measure_times() {
    step("time", "each product in each scheme");
    std::vector<Plan> plans = {uniform(Scheme::kStatic)};
    for (const Part& part : kParts) {
      for (const Scheme scheme : kTuneSchemes) {
        Plan& plan = plans.emplace_back(plans.front());
        for (LayerPlan& layer : plan.layers) {
          if (has_option(part, scheme)) layer.*part.scheme = scheme;
        }
      }
    }
    for (const Scheme scheme : kTuneSchemes) plans.emplace_back(plans.front()).classifier = scheme;
    const std::vector<double> seconds = tuned_->time(plans, kTimedTokens, kTimedRounds);
    static_seconds_ = seconds.front();
    for (size_t i = 0; i < kTuneSchemes.size(); ++i) {
      if (kTuneSchemes[i] == Scheme::kFloat) continue;  // what uniform() has
      classifier_costs_[i] = seconds[seconds.size() - kTuneSchemes.size() + i] - static_seconds_;
    }
    for (size_t part = 0, at = 1; part < std::size(kParts); ++part) {
      for (size_t scheme = 0; scheme < kTuneSchemes.size(); ++scheme, ++at) {
        costs_[part][scheme] = kTuneSchemes[scheme] == Scheme::kStatic
                                   ? 0
                                   : (seconds[at] - seconds.front()) / static_cast<double>(layers_);
      }
    }
  }

  // Divergence from the float model with one product quantized, the rest in floats; and with all but one.
  void measure_sensitivity() {
    TuneTexts sample(*model_, std::move(files_.sample.encoded), std::move(files_.sample.sentences));
    const Plan floats = float_products(), fastest = uniform(Scheme::kStatic);
    step("sensitivity", "all in floats, all static");
    sample.keep(floats);
    sample.keep(fastest);
    for (size_t unit = 0; unit < classifier_unit() + 1; ++unit) units_.push_back(make_unit(sample, unit));
    if (!searches_classifier()) {  // measured and reported all the same
      std::vector<TuneOption>& options = units_.back().options;
      options.erase(options.begin(), options.end() - 1);
    }
    result_.report.sensitivity_measure = "KL divergence of the label distributions, thousandths of a nat a word";
  }

  // Floats but for the words' table, which all but the float model keep as int8.
  Plan float_products() const {
    Plan plan = uniform(Scheme::kFloat);
    plan.int8_words = true;
    return plan;
  }

  // Units: [part][layer], then the classifier.
  size_t classifier_unit() const { return std::size(kParts) * layers_; }
  bool searches_classifier() const { return worth_searching(classifier_share(checkpoint_.config())); }
  Scheme& product(Plan& plan, size_t unit) const {
    return unit == classifier_unit() ? plan.classifier : plan.layers[unit % layers_].*kParts[unit / layers_].scheme;
  }

  TuneUnit make_unit(TuneTexts& sample, size_t index) {
    const bool classifies = index == classifier_unit();
    const size_t part = index / layers_;
    TuneUnit unit{classifies ? "classifier" : fmt::format("layer.{}.{}", index % layers_, kParts[part].name), {}};
    const Plan floats = float_products();
    const auto divergence = [&](Plan plan, Scheme scheme) {
      product(plan, index) = scheme;
      const double harm = sample.evaluate(plan).mean_divergence();
      return std::isnan(harm) ? std::numeric_limits<double>::infinity() : harm;
    };
    const double others = divergence(uniform(Scheme::kStatic), Scheme::kFloat);
    for (size_t i = 0; i < kTuneSchemes.size(); ++i) {
      const Scheme scheme = kTuneSchemes[i];
      if (!classifies && !has_option(kParts[part], scheme)) continue;
      const bool harmless = scheme == Scheme::kFloat;
      if (!harmless)
        step("sensitivity", fmt::format("{} {}", unit.name, format::scheme_name(static_cast<uint32_t>(scheme))));
      const double harm = harmless ? 0 : divergence(floats, scheme);
      unit.options.push_back({scheme, classifies ? classifier_costs_[i] : costs_[part][i], harm});
      if (harmless) continue;
      ReportSensitivity& row = result_.report.sensitivity.emplace_back();
      row.product = unit.name;
      row.scheme = format::scheme_name(static_cast<uint32_t>(scheme));
      row.alone = 1000 * harm;
      if (scheme == Scheme::kStatic) row.others = 1000 * others;
    }
    return unit;
  }

  Plan plan_of(const Choice& choice) const {
    Plan plan = uniform(Scheme::kStatic);
    for (size_t unit = 0; unit < choice.size(); ++unit) {
      product(plan, unit) = units_[unit].options[choice[unit]].scheme;
    }
    return plan;
  }

  void search() {
    size_t trial = 0;
    TuneSearch search(units_, [&](const Choice& choice) {
      step("search",
           fmt::format("try {}: {} of {} products rolled back", ++trial,
                       std::count_if(choice.begin(), choice.end(), [](size_t o) { return o != 0; }), choice.size()));
      return judge(options_, tuned_->evaluate(plan_of(choice)));
    });
    if (search.run(kMostTrials)) result_.met = hold_elsewhere(search);
    result_.trials = trial;
    choice_ = search.choice();
    add_steps(search);
  }

  // What was tuned on is no proof: where the budget does not hold on the held-out texts, more is rolled back. If it
  // never holds, the search is left at the choice that came closest there.
  bool hold_elsewhere(TuneSearch& search) {
    Choice best = search.choice();
    double best_margin = -std::numeric_limits<double>::infinity();
    do {
      if (!search.verdict().holds) continue;
      step("check", "held-out texts");
      ++looks_;
      const Verdict verdict = judge(options_, held_out_->evaluate(plan_of(search.choice())));
      if (verdict.holds) return true;
      if (verdict.margin <= best_margin) continue;
      best_margin = verdict.margin;
      best = search.choice();
    } while (search.roll_back_further());
    search.choose(std::move(best));
    return false;
  }

  void add_steps(const TuneSearch& search) {
    ReportData& report = result_.report;
    const auto [measure, limit] = budget_measure(options_);
    report.step_measure = measure;
    report.step_budget = 100 * limit;
    Choice choice(units_.size(), 0);
    const auto value = [&, limit = limit]() -> std::optional<double> {
      const auto found = search.measured().find(choice);
      if (found == search.measured().end()) return std::nullopt;
      return 100 * (found->second.margin + limit);
    };
    // As the costs of the products add up; static_seconds_ are with a classifier in floats.
    double seconds = static_seconds_ + units_.back().options.front().seconds;
    report.steps.push_back({"", "", "static", "", seconds, value()});
    for (const TuneMove& move : search.rollbacks()) {
      choice[move.unit] = move.to;
      const TuneUnit& unit = units_[move.unit];
      const auto name = [&](size_t option) {
        return std::string(format::scheme_name(static_cast<uint32_t>(unit.options[option].scheme)));
      };
      seconds += unit.options[move.to].seconds - unit.options[move.from].seconds;
      const bool for_speed = rollback_reason(unit, move.to) == RollbackReason::kSpeed;
      report.steps.push_back(
          {unit.name, name(move.from), name(move.to), for_speed ? "speed" : "accuracy", seconds, value()});
      std::string& list = for_speed ? for_speed_ : for_accuracy_;
      list += (list.empty() ? "" : ", ") + unit.name + " " + name(move.to);
    }
  }

  void finish() {
    const Plan plan = plan_of(choice_);
    result_.measure.tuned = tuned_->evaluate(plan);
    result_.measure.held_out = held_out_->evaluate(plan);
    if (!result_.met) {
      remains_ = what_remains(options_, tuned_->evaluate(float_products()), held_out_->evaluate(float_products()));
    }
    step("time", "the result beside static, dynamic and float");
    const Plan plans[] = {uniform(Scheme::kStatic), uniform(Scheme::kDynamic), float_products(), plan};
    const char* names[] = {"static", "dynamic", "float", "this model"};
    const std::vector<double> seconds = tuned_->time(plans, kTimedTokens, 2 * kTimedRounds);
    result_.timed_tokens = tuned_->timed_tokens(kTimedTokens);
    for (size_t i = 0; i < seconds.size(); ++i) result_.times.push_back({names[i], 1000 * seconds[i]});
    result_.policy = make_policy(plan);
    result_.policy.calibration = settings_;
    result_.policy.calibration_texts = calibration_->source;
    result_.policy.certificate = certificate();
    result_.policy.certificate_of = certificate_subject(
        result_.policy, hash_sources(folder_, source_files(checkpoint_)).combined, checkpoint_.labels());
    step("write", "packed file");
    ConvertOptions convert = options_.convert;
    convert.progress = {};
    convert.policy.clear();
    convert.calibration = {};
    ConvertReport done;
    result_.model = convert_to_memory(folder_, convert, {&result_.policy, &*calibration_}, &done);
    std::vector<std::string>& warnings = result_.report.warnings;
    warnings.insert(warnings.begin(), done.warnings.begin(), done.warnings.end());
    check_packed_file();
  }

  // The proof of the pudding: the packed file itself on the texts that were held out; and what a report shows of it.
  void check_packed_file() {
    step("check", "packed file");
    OpenOptions open = open_options(options_);
    open.executor = std::shared_ptr<Executor>(std::shared_ptr<void>(), &EngineAccess::executor(reference_.engine()));
    const Engine packed = Engine::open_memory(result_.model, open);
    const Comparison comparison =
        compare_models(reference_.engine(), packed, files_.held_out.encoded, files_.held_out.sentences);
    if (comparison.same_label != result_.measure.held_out.same_label) {
      throw std::logic_error("tune: the packed file does not do what was measured");
    }
    ReportData& report = result_.report;
    report.title = "octobert tune";
    if (!result_.met) report.warnings.push_back("The budget is not met: this is the best that was found.");
    if (!remains_.empty()) report.warnings.push_back(remains_ + ".");
    add_model_file(EngineAccess::file(packed), report);
    add_activations(*calibration_, EngineAccess::model(packed), report);
    report_part("held out", files_.held_out, comparison, packed, report);
    report.first_seconds = result_.times.front().milliseconds / 1000;
    report.last_seconds = result_.times.back().milliseconds / 1000;
    for (const TuneResult::Times& time : result_.times) {
      report.metrics.push_back({fmt::format("{} tokens", result_.timed_tokens), time.name, std::nullopt,
                                time.milliseconds, ReportMetric::Unit::kMilliseconds, ""});
    }
  }

  std::map<std::string, std::string> certificate() const {
    std::map<std::string, std::string> entries;
    for (size_t i = 0; i < files_.hashes.size(); ++i) {
      entries[fmt::format("text.{}", i + 1)] = files_.hashes[i].first + " " + files_.hashes[i].second;
    }
    if (options_.min_agreement) entries["budget.min_agreement"] = fmt::format("{:g}", *options_.min_agreement);
    if (options_.max_f1_loss) entries["budget.max_f1_loss"] = fmt::format("{:g}", *options_.max_f1_loss);
    entries["budget.met"] = result_.met ? "yes" : "no";
    if (!remains_.empty()) entries["budget.remains"] = remains_;
    const auto or_nothing = [](const std::string& list) { return list.empty() ? "nothing" : list; };
    entries["calibrated_on"] = calibrated_on_;
    entries["rolled_back.accuracy"] = or_nothing(for_accuracy_);
    entries["rolled_back.speed"] = or_nothing(for_speed_);
    if (!searches_classifier()) {
      entries["classifier"] =
          fmt::format("float: {:.2g} % of the work, not searched", 100 * classifier_share(checkpoint_.config()));
    }
    entries["held_out.looks"] = std::to_string(looks_);
    entries["trials"] = std::to_string(result_.trials);
    add_measures("tuned.", files_.tuned.encoded.ids.size(), result_.measure.tuned, entries);
    add_measures("held_out.", files_.held_out.encoded.ids.size(), result_.measure.held_out, entries);
    for (const TuneResult::Times& time : result_.times) {
      entries["milliseconds." + time.name] = fmt::format("{:.2f}", time.milliseconds);
    }
    entries["milliseconds.of"] = fmt::format("{} tokens, {}, {} threads", result_.timed_tokens,
                                             reference_.engine().isa(), reference_.engine().threads());
    return entries;
  }

  static void add_measures(const std::string& prefix, size_t tokens, const Comparison& comparison,
                           std::map<std::string, std::string>& entries) {
    entries[prefix + "tokens"] = std::to_string(tokens);
    entries[prefix + "words"] = std::to_string(comparison.words);
    entries[prefix + "agreement"] = fmt::format("{:.5f}", comparison.agreement());
    entries[prefix + "entity_agreement"] = fmt::format("{:.5f}", comparison.entity_agreement());
    entries[prefix + "kl_divergence"] = fmt::format("{:.3g}", comparison.mean_divergence());
    if (!comparison.labelled) return;
    entries[prefix + "f1.float"] = fmt::format("{:.5f}", comparison.reference.all.f1());
    entries[prefix + "f1.model"] = fmt::format("{:.5f}", comparison.model.all.f1());
    entries[prefix + "entities.lost"] = std::to_string(comparison.paired.lost);
    entries[prefix + "entities.gained"] = std::to_string(comparison.paired.gained);
    entries[prefix + "mcnemar_p"] = fmt::format("{:.3g}", comparison.paired.p_value());
  }

  const TuneOptions& options_;
  const std::filesystem::path folder_;
  const Checkpoint checkpoint_;
  const FloatModel reference_;
  const size_t layers_;
  TuneFiles files_;
  CalibrationSettings settings_;
  std::optional<Calibration> calibration_;
  std::optional<TuneModel> model_;
  std::optional<TuneTexts> tuned_, held_out_;
  double static_seconds_ = 0;
  double costs_[std::size(kParts)][kTuneSchemes.size()] = {};
  double classifier_costs_[kTuneSchemes.size()] = {};
  std::vector<TuneUnit> units_;  // [part][layer], then the classifier
  Choice choice_;
  std::string calibrated_on_;             // "builtin", or the file's name without its folder
  std::string for_accuracy_, for_speed_;  // "layer.3.ffn2 dynamic, ...", by rollback_reason()
  std::string remains_;                   // of the loss, with every product in floats, where the budget is not met
  size_t looks_ = 0, done_ = 0, total_ = 1;
  TuneResult result_;
};

}  // namespace

TuneResult tune(const std::filesystem::path& checkpoint, const TuneOptions& options) {
  check_budget(options);
  return Tuner(checkpoint, options).run();
}

}  // namespace octobert::converter
