#include "converter/tune_search.h"

#include <algorithm>
#include <limits>
#include <utility>

namespace octobert::converter {
namespace {

struct RankedMove {
  TuneMove move;
  double worth;  // harm removed per second
};

// How much harm a second removes between two options; no time at all, or less than none: infinitely much.
double worth(const TuneOption& from, const TuneOption& to) {
  const double seconds = to.seconds - from.seconds, removed = from.harm - to.harm;
  if (removed <= 0) return -std::numeric_limits<double>::infinity();
  return seconds <= 0 ? std::numeric_limits<double>::infinity() : removed / seconds;
}

// From the first option on, always the one that is worth most; of equals the least harmful.
void add_moves(const TuneUnit& unit, size_t index, std::vector<RankedMove>& moves) {
  for (size_t at = 0;;) {
    size_t best = at;
    double best_worth = -std::numeric_limits<double>::infinity();
    for (size_t to = 0; to < unit.options.size(); ++to) {
      if (to == at || unit.options[to].harm >= unit.options[at].harm) continue;
      const double w = worth(unit.options[at], unit.options[to]);
      if (w < best_worth || (w == best_worth && unit.options[to].harm >= unit.options[best].harm)) continue;
      best = to;
      best_worth = w;
    }
    if (best == at) return;
    moves.push_back({{index, at, best}, best_worth});
    at = best;
  }
}

}  // namespace

double classifier_share(const format::ModelConfig& config) {
  const double hidden = config.hidden_size, inner = config.intermediate_size;
  const double classifier = hidden * config.label_count;
  return classifier / (classifier + config.layer_count * (4 * hidden * hidden + 2 * hidden * inner));
}

bool worth_searching(double share) { return share >= 1.0 / 400; }

RollbackReason rollback_reason(const TuneUnit& unit, size_t option) {
  return unit.options[option].seconds > unit.options.front().seconds ? RollbackReason::kAccuracy
                                                                     : RollbackReason::kSpeed;
}

std::vector<TuneMove> rollback_order(std::span<const TuneUnit> units) {
  std::vector<RankedMove> ranked;
  for (size_t i = 0; i < units.size(); ++i) add_moves(units[i], i, ranked);
  // Along a unit's hull the worth falls, so that its own moves stay in order.
  std::stable_sort(ranked.begin(), ranked.end(),
                   [](const RankedMove& a, const RankedMove& b) { return a.worth > b.worth; });
  std::vector<TuneMove> order;
  for (const RankedMove& move : ranked) order.push_back(move.move);
  return order;
}

TuneSearch::TuneSearch(std::vector<TuneUnit> units, Measure measure)
    : units_(std::move(units)),
      measure_(std::move(measure)),
      order_(rollback_order(units_)),
      choice_(units_.size(), 0) {}

Choice TuneSearch::after(size_t moves) const {
  Choice choice(units_.size(), 0);
  for (size_t i = 0; i < moves; ++i) choice[order_[i].unit] = order_[i].to;
  return choice;
}

const Verdict& TuneSearch::measure(const Choice& choice) {
  const auto found = measured_.find(choice);
  if (found != measured_.end()) return found->second;
  return measured_.emplace(choice, measure_(choice)).first->second;
}

// order_.size() + 1 if not even all of them are enough.
size_t TuneSearch::fewest_moves() {
  if (measure(after(0)).holds) return 0;
  size_t beyond = 0, within = 1;
  while (within < order_.size() && !measure(after(within)).holds) beyond = std::exchange(within, within * 2);
  within = std::min(within, order_.size());
  if (!measure(after(within)).holds) return order_.size() + 1;
  while (within - beyond > 1) {
    const size_t middle = beyond + (within - beyond) / 2;
    (measure(after(middle)).holds ? within : beyond) = middle;
  }
  return within;
}

void TuneSearch::trim(size_t max_trials) {
  struct Trial {
    size_t unit, option;
    double saved;
  };
  std::vector<Trial> trials;
  for (size_t unit = 0; unit < units_.size(); ++unit) {
    const std::vector<TuneOption>& options = units_[unit].options;
    for (size_t option = 0; option < options.size(); ++option) {
      const double saved = options[choice_[unit]].seconds - options[option].seconds;
      if (saved > 0) trials.push_back({unit, option, saved});
    }
  }
  std::stable_sort(trials.begin(), trials.end(), [](const Trial& a, const Trial& b) { return a.saved > b.saved; });
  for (const Trial& trial : trials) {
    const std::vector<TuneOption>& options = units_[trial.unit].options;
    if (options[trial.option].seconds >= options[choice_[trial.unit]].seconds) continue;  // a faster one is taken
    Choice tried = choice_;
    tried[trial.unit] = trial.option;
    if (!measured_.contains(tried) && max_trials-- == 0) return;
    if (measure(tried).holds) choice_ = std::move(tried);
  }
}

Choice TuneSearch::uniform(format::Scheme scheme) const {
  Choice choice;
  for (const TuneUnit& unit : units_) {
    const auto has = [scheme](const TuneOption& option) { return option.scheme == scheme; };
    const auto found = std::find_if(unit.options.begin(), unit.options.end() - 1, has);
    choice.push_back(static_cast<size_t>(found - unit.options.begin()));
  }
  return choice;
}

double TuneSearch::seconds(const Choice& choice) const {
  double sum = 0;
  for (size_t unit = 0; unit < choice.size(); ++unit) sum += units_[unit].options[choice[unit]].seconds;
  return sum;
}

bool TuneSearch::run(size_t max_trials) {
  const size_t moves = fewest_moves();
  if (moves <= order_.size()) {
    choice_ = after(moves);
    trim(max_trials);
    for (const format::Scheme scheme :
         {format::Scheme::kDynamic, format::Scheme::kWeightOnly, format::Scheme::kFloat}) {
      Choice all = uniform(scheme);
      if (seconds(all) < seconds(choice_) && measure(all).holds) choice_ = std::move(all);
    }
    return true;
  }
  for (const auto& [choice, verdict] : measured_) {
    if (verdict.margin > measured_.at(choice_).margin) choice_ = choice;
  }
  return false;
}

bool TuneSearch::roll_back_further() {
  for (const TuneMove& move : order_) {
    const std::vector<TuneOption>& options = units_[move.unit].options;
    if (options[move.to].harm >= options[choice_[move.unit]].harm) continue;
    choice_[move.unit] = move.to;
    measure(choice_);
    return true;
  }
  return false;
}

void TuneSearch::choose(Choice choice) {
  measure(choice);
  choice_ = std::move(choice);
}

std::vector<TuneMove> TuneSearch::rollbacks() const {
  std::vector<TuneMove> moves;
  const auto add = [&](size_t unit) {
    const bool listed = std::any_of(moves.begin(), moves.end(), [&](const TuneMove& m) { return m.unit == unit; });
    if (!listed && choice_[unit] != 0) moves.push_back({unit, 0, choice_[unit]});
  };
  for (const TuneMove& move : order_) add(move.unit);
  for (size_t unit = 0; unit < units_.size(); ++unit) add(unit);  // whose option no move leads to
  return moves;
}

}  // namespace octobert::converter
